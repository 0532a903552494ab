//! Takes from the kernel's addresses what no name backs any more: an address with its last name, a
//! rule with the last name that gave it.

use std::net::IpAddr;

use anyhow::Result;
use intune_filter_ebpf::abi::{Host, RuleMask};

use super::{learner::Learner, reports::Reports};
use crate::{
    kernel::{HostTables, Kernel},
    names::refresh_tracker::Decision,
    system::clock,
};

/// Number of addresses per call.
const BATCH_MAX: usize = 4096;

/// Forgets names that have expired, and takes away what they alone gave to addresses.
///
/// # Errors
/// A map cannot be read or written, or the reports cannot be read.
pub fn forget_expired(kernel: &Kernel, reports: &mut impl Reports) -> Result<()> {
    reports.learner().expire(clock::boot_time());
    forget_due(kernel, reports)
}

/// Takes from the addresses that are due what no name backs.
///
/// What the kernel has learned from an answer stays until userspace has read of that answer, or
/// until the address expires by itself. An answer that is just being learned from loses nothing.
///
/// # Errors
/// A map cannot be read or written, or the reports cannot be read.
pub fn forget_due(kernel: &Kernel, reports: &mut impl Reports) -> Result<()> {
    let due = reports.learner().tracker().due(BATCH_MAX);
    if due.is_empty() {
        return Ok(());
    }
    let tables = kernel.host_tables()?;
    let mut disputed = Vec::new();
    for address in due {
        // Right before: an address that is refreshed often is known for moments only.
        reports.catch_up()?;
        disputed.extend(
            narrow(kernel, &tables, reports.learner(), address)?.map(|host| (address, host)),
        );
    }
    if disputed.is_empty() {
        return Ok(());
    }
    // Either the reports are on their way, or they are lost. Programs that run now may still
    // report.
    kernel.wait_for_programs()?;
    for (address, before) in disputed {
        reports.catch_up()?;
        if let Some(host) = narrow(kernel, &tables, reports.learner(), address)?
            && host.version == before.version
            && let Some(host) =
                kernel.narrow_host(address, host.version, RuleMask::ALL, u64::MAX)?
        {
            reports.learner().tracker().resync(address, &host, clock::boot_time());
        }
    }
    Ok(())
}

/// Takes from an address what no name backs. Returns the kernel's entry if userspace does not know
/// every answer that refreshed it.
fn narrow(
    kernel: &Kernel,
    tables: &HostTables,
    learner: &mut Learner,
    address: IpAddr,
) -> Result<Option<Host>> {
    let Some(host) = tables.get(address)? else {
        learner.tracker().forget(address);
        return Ok(None);
    };
    match learner.decide(address, &host, clock::boot_time()) {
        Decision::Resync => return Ok(Some(host)),
        Decision::Leave => learner.tracker().done(address),
        Decision::Restrict { rules, until } => {
            if kernel.narrow_host(address, host.version, rules, until)?.is_some() {
                learner.tracker().done(address);
            }
        }
    }
    Ok(None)
}
