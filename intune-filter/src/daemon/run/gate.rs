//! Operates the boot guard while the daemon runs: opens it for attached interfaces.

use std::time::Instant;

use super::state::Daemon;
use crate::{
    boot_guard::{Changes, GuardRules},
    config::Boot,
    report::GateStatus,
    system::{Interface, netlink::Snapshot},
};

/// Subscribes to changes of the guard's table by others; on failure the table is checked
/// periodically.
pub(super) fn listen() -> Option<Changes> {
    Changes::listen().inspect_err(|error| log::warn!("{error:#}")).ok()
}

impl Daemon<'_> {
    /// Opens the guard for attached interfaces, if there is one.
    pub(super) fn keep_gate(&mut self, snapshot: &Snapshot) {
        self.keep_gate_for(snapshot, |daemon, interface| daemon.reconciler.is_attached(interface));
    }

    /// Shuts the guard for interfaces that are not attached any more, and leaves it open for those that
    /// another daemon has attached.
    pub(super) fn shut_gate(&mut self, snapshot: &Snapshot) {
        let pins = self.kernel.pins();
        self.keep_gate_for(snapshot, |daemon, interface| {
            let is_adopted = || matches!(pins.enforced(interface), Ok(Some(_)));
            daemon.reconciler.is_attached(interface)
                || (!daemon.reconciler.is_known(&interface.name) && is_adopted())
        });
    }

    fn keep_gate_for(&mut self, snapshot: &Snapshot, passes: impl Fn(&Self, &Interface) -> bool) {
        let config = &self.in_force.config;
        let gate = (config.boot == Boot::Closed).then(|| {
            GuardRules::new(&config.zones(), snapshot, |interface| passes(self, interface))
        });
        self.guard.keep(gate);
    }

    /// Verifies the guard's table, and writes it again if it has changed.
    pub(super) fn look_at_gate(&mut self) {
        if !self.guard.verify(Instant::now()) {
            self.keep_gate(&self.seen.clone());
        }
    }

    /// Returns the guard's state for `status`; `None` if it is not configured.
    pub(super) fn gate_status(&self) -> Option<GateStatus> {
        if self.in_force.config.boot == Boot::Open {
            return None;
        }
        let interfaces = self.reconciler.status().into_iter();
        let shut = interfaces.filter(|interface| interface.mode.is_none());
        Some(GateStatus {
            shut: shut.map(|interface| interface.name).collect(),
            owned: self.guard.is_owned(),
            error: self.guard.error().map(str::to_owned),
        })
    }
}
