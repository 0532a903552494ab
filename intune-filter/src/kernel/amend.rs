//! Changes a learned address by the kernel's own program, which alone can change an element that
//! answers are refreshing, and return the element as it was then.

use std::{mem::size_of, net::IpAddr};

use anyhow::{Context as _, Result, bail};
use aya::{TestRun as _, TestRunOptions, programs::Xdp};
use intune_filter_ebpf::abi::{Host, HostUpdate, Operation, RuleMask, UpdateStatus, V6};

use super::{Kernel, load::AMEND, pod};

/// Attempts at an address that answers are refreshing at the same time.
const ATTEMPTS: usize = 64;

/// Result of a change to a learned address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Amended {
    /// Success.
    Done {
        /// Version before a refresh; 0 if the address was absent. Without meaning for other
        /// changes.
        before: u64,
        /// Element after the change; for a removal, the request.
        host: Host,
    },
    /// The address is not in the table.
    Absent,
    /// The address was refreshed since it had the expected version, or it expires later than
    /// required.
    Changed,
    /// The table has no room for the address, or not for its owner's.
    Full,
    /// Answers kept refreshing the address during all attempts.
    Busy,
}

/// Program that changes learned addresses.
pub(super) struct Amender<'a>(&'a Xdp);

impl Kernel {
    pub(super) fn amender(&self) -> Result<Amender<'_>> {
        let program = self
            .ebpf
            .program(AMEND)
            .with_context(|| format!("the BPF object has no program {AMEND}"))?;
        let program = program.try_into();
        Ok(Amender(program.with_context(|| format!("the program {AMEND} is not XDP"))?))
    }
}

impl Amender<'_> {
    /// Adds rules to an address, and prolongs it: as an answer does.
    pub(super) fn refresh(
        &self,
        address: IpAddr,
        rules: RuleMask,
        expires: u64,
        owner: u64,
    ) -> Result<Amended> {
        let host = Host { rules, expires, owner, ..Host::default() };
        self.insist(Operation::Refresh, address, 0, host)
    }

    /// Restricts an address to `rules`, and its expiry to `expires` in nanoseconds of
    /// CLOCK_BOOTTIME; only while it has the `expected` version, unless that is 0.
    pub(super) fn narrow(
        &self,
        address: IpAddr,
        expected: u64,
        rules: RuleMask,
        expires: u64,
    ) -> Result<Amended> {
        let host = Host { rules, expires, ..Host::default() };
        self.insist(Operation::Restrict, address, expected, host)
    }

    /// Removes an address that expires before `before`, in nanoseconds of CLOCK_BOOTTIME.
    pub(super) fn remove(&self, address: IpAddr, before: u64) -> Result<Amended> {
        let host = Host { expires: before, ..Host::default() };
        self.insist(Operation::Remove, address, 0, host)
    }

    fn insist(
        &self,
        operation: Operation,
        address: IpAddr,
        expected: u64,
        host: Host,
    ) -> Result<Amended> {
        let amendment = HostUpdate {
            address: V6::from(address),
            operation: operation as u32,
            family: if address.is_ipv4() { 4 } else { 6 },
            expected,
            host,
        };
        for _ in 0..ATTEMPTS {
            let amended = self.run(amendment)?;
            if amended != Amended::Busy {
                return Ok(amended);
            }
        }
        Ok(Amended::Busy)
    }

    fn run(&self, amendment: HostUpdate) -> Result<Amended> {
        let frame = octets(&amendment);
        let mut after = [0; size_of::<HostUpdate>()];
        let result = self
            .0
            .test_run(TestRunOptions {
                data_in: Some(&frame),
                data_out: Some(&mut after),
                ..TestRunOptions::default()
            })
            .context("cannot run the program that amends learned addresses")?;
        if result.data_size_out as usize != after.len() {
            bail!("the program that amends learned addresses returned another frame");
        }
        let amended = pod::split_first::<HostUpdate>(&after);
        let (amendment, _) = amended.context("an amendment has its own size")?;
        Ok(match UpdateStatus::from_number(result.return_value) {
            Some(UpdateStatus::Done) => {
                Amended::Done { before: amendment.expected, host: amendment.host }
            }
            Some(UpdateStatus::Absent) => Amended::Absent,
            Some(UpdateStatus::Changed) => Amended::Changed,
            Some(UpdateStatus::Full) => Amended::Full,
            Some(UpdateStatus::Busy) => Amended::Busy,
            None => {
                bail!("the program that amends learned addresses returned {}", result.return_value)
            }
        })
    }
}

const fn octets(amendment: &HostUpdate) -> [u8; size_of::<HostUpdate>()] {
    // SAFETY: the type has this size and no padding, and an array of octets takes any octets.
    unsafe { *(&raw const *amendment).cast::<[u8; size_of::<HostUpdate>()]>() }
}
