//! Restores the table of names and the kernel's learned addresses after a reboot.

use anyhow::Result;

use super::learner::Learner;
use crate::{
    config::Config,
    kernel::Kernel,
    names::{self, Lives, Names},
    system::clock,
};

/// Enters the addresses of all names that the policy in force has into the kernel, until the names
/// expire. Addresses that the policy lets no name have are forgotten. Returns the number entered.
pub(crate) fn restore(kernel: &Kernel, learner: &mut Learner) -> Result<usize> {
    learner.forget_unacceptable();
    let addresses: Vec<_> = learner.names().addresses().collect();
    let mut entered = 0;
    for address in addresses {
        let (rules, until) = learner.backed(address);
        if rules.is_empty() {
            continue;
        }
        if let Some(versions) = kernel.refresh_host(address, rules, until)? {
            learner.refreshed(address, versions);
            entered += 1;
        }
    }
    Ok(entered)
}

/// Loads the saved table of names, for a kernel with this seed. An unusable file is set aside and logged, and does not prevent
/// the start.
#[must_use]
pub(crate) fn saved_names(config: &Config, seed: u64) -> Names {
    let directory = &config.paths.state_dir;
    let ttl = &config.dns.ttl;
    let lives = Lives {
        most: u64::from(ttl.max.0).saturating_add(ttl.grace.0.into()),
        clock_behind: ttl.grace.0.into(),
    };
    names::load(directory, clock::clocks(), lives, seed).unwrap_or_else(|error| {
        let kept = match names::set_aside(directory) {
            Ok(kept) => format!("it is kept as {}", kept.display()),
            Err(error) => format!("{error:#}"),
        };
        log::warn!("starting without the saved names: {error:#}; {kept}");
        Names::default()
    })
}
