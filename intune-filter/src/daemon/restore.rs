//! Enters the saved table of names into fresh maps: what a reboot has taken away.

use anyhow::Result;

use super::learner::Learner;
use crate::kernel::Kernel;

/// Enters the addresses of all names that the policy in force still has, as long as the names live.
/// Those that it does not let a name have are forgotten. Returns how many were entered.
pub fn restore(kernel: &Kernel, learner: &mut Learner) -> Result<usize> {
    learner.forget_unacceptable();
    let addresses: Vec<_> = learner.names().addresses().collect();
    let mut entered = 0;
    for address in addresses {
        let (rules, until) = learner.vouched(address);
        if rules == 0 {
            continue;
        }
        if let Some(versions) = kernel.refresh_host(address, rules, until)? {
            learner.refreshed(address, versions);
            entered += 1;
        }
    }
    Ok(entered)
}
