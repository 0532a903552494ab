//! What nothing judges: interfaces that are missing, and those that `boot: closed` does not keep
//! out although it should.

use anyhow::Result;
use serde::Serialize;
use serde_json::Value;

use crate::{
    boot_guard::{self, TABLE},
    config::{Boot, Config},
    kernel::Pins,
    system::netlink::Snapshot,
};

/// What becomes of the gate of `boot: closed` without a daemon.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct BootGate {
    /// Whether its table is there; `None` if that cannot be told.
    pub table: Option<bool>,
    /// The configured interfaces that nothing judges now, or would as soon as they appear.
    pub unjudged: Vec<String>,
}

impl BootGate {
    /// The gate that a configuration wants; `None` if it wants none.
    ///
    /// # Errors
    /// The kernel does not tell what is enforced.
    pub fn look(config: &Config, pins: Option<&Pins>, snapshot: &Snapshot) -> Result<Option<Self>> {
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
        Ok(Some(Self { table: boot_guard::presence(), unjudged }))
    }

    /// What is open although it should be shut, in one sentence.
    #[must_use]
    pub fn open(&self, daemon_runs: bool) -> Option<String> {
        if self.table != Some(false) || (daemon_runs && self.unjudged.is_empty()) {
            return None;
        }
        let open = if self.unjudged.is_empty() {
            "what vanishes and returns before a daemon runs is".to_owned()
        } else {
            format!("nothing judges {} either:", self.unjudged.join(", "))
        };
        Some(format!(
            "boot: closed is NOT kept: there is no table inet {TABLE} of nftables, and {open} open"
        ))
    }
}

/// What the daemon tells of interfaces that are not there.
#[must_use]
pub fn missing(details: Option<&Value>) -> String {
    let missing = details.and_then(|details| details["missing_interfaces"].as_array());
    let names: Vec<&str> = missing.into_iter().flatten().filter_map(Value::as_str).collect();
    if names.is_empty() {
        return String::new();
    }
    format!("missing, and attached to when they appear: {}\n\n", names.join(", "))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_open_is_named() {
        let gate = |table, unjudged: &[&str]| BootGate {
            table,
            unjudged: unjudged.iter().map(ToString::to_string).collect(),
        };
        for daemon_runs in [true, false] {
            let open = gate(Some(false), &["eth1", "eth2"]).open(daemon_runs).unwrap();
            assert!(open.ends_with("nothing judges eth1, eth2 either: open"), "{open}");
            assert_eq!(gate(Some(true), &["eth1"]).open(daemon_runs), None);
            assert_eq!(gate(None, &["eth1"]).open(daemon_runs), None, "nobody knows");
        }
        let open = gate(Some(false), &[]).open(false).unwrap();
        assert!(open.ends_with("returns before a daemon runs is open"), "{open}");
        assert_eq!(gate(Some(false), &[]).open(true), None, "the daemon makes it anew");
    }

    #[test]
    fn missing_interfaces_are_named() {
        let told = |names: Value| missing(Some(&json!({ "missing_interfaces": names })));
        assert_eq!(missing(None) + &told(json!([])), "");
        assert!(told(json!(["lan9"])).contains("they appear: lan9\n"));
    }
}
