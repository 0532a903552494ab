//! Finds interfaces that no program judges: missing ones, and those that `boot: closed` does not
//! keep out although it should.

use anyhow::Result;

use crate::{
    boot_guard::{self, TABLE},
    config::{Boot, Config},
    kernel::Pins,
    report::BootGate,
    system::netlink::Snapshot,
};

/// Returns the boot guard's state on the machine; `None` if the configuration wants none.
///
/// # Errors
/// The kernel's state of enforcement cannot be read.
pub(super) fn gate(
    config: &Config,
    pins: Option<&Pins>,
    snapshot: &Snapshot,
) -> Result<Option<BootGate>> {
    if config.boot == Boot::Open {
        return Ok(None);
    }
    let mut unjudged = Vec::new();
    for interface in &config.interfaces {
        let now = snapshot.interface(&interface.name);
        let mode = match (pins, now) {
            (Some(pins), Some(now)) => pins.enforced(now)?,
            _ => None,
        };
        if mode.is_none() {
            unjudged.push(interface.name.clone());
        }
    }
    Ok(Some(BootGate { table: boot_guard::presence(), unjudged }))
}

/// Describes traffic that passes although it should be kept out, in one sentence.
#[must_use]
pub(super) fn open(gate: &BootGate, daemon_runs: bool) -> Option<String> {
    if gate.table != Some(false) || (daemon_runs && gate.unjudged.is_empty()) {
        return None;
    }
    let open = if gate.unjudged.is_empty() {
        "what vanishes and returns before a daemon runs is".to_owned()
    } else {
        format!("nothing judges {} either:", gate.unjudged.join(", "))
    };
    Some(format!(
        "boot: closed is NOT kept: there is no table inet {TABLE} of nftables, and {open} open"
    ))
}

/// Names the missing interfaces, in one sentence.
#[must_use]
pub(super) fn missing(names: &[String]) -> String {
    if names.is_empty() {
        return String::new();
    }
    format!("missing, and attached to when they appear: {}\n\n", names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_open_is_named() {
        let gate = |table, unjudged: &[&str]| BootGate {
            table,
            unjudged: unjudged.iter().map(ToString::to_string).collect(),
        };
        for daemon_runs in [true, false] {
            let said = open(&gate(Some(false), &["eth1", "eth2"]), daemon_runs).unwrap();
            assert!(said.ends_with("nothing judges eth1, eth2 either: open"), "{said}");
            assert_eq!(open(&gate(Some(true), &["eth1"]), daemon_runs), None);
            assert_eq!(open(&gate(None, &["eth1"]), daemon_runs), None, "nobody knows");
        }
        let said = open(&gate(Some(false), &[]), false).unwrap();
        assert!(said.ends_with("returns before a daemon runs is open"), "{said}");
        assert_eq!(open(&gate(Some(false), &[]), true), None, "the daemon makes it anew");
    }

    #[test]
    fn missing_interfaces_are_named() {
        assert_eq!(missing(&[]), "");
        assert!(missing(&["lan9".to_owned()]).contains("they appear: lan9\n"));
    }
}
