//! Operates the boot guard while the daemon runs: opens it for attached interfaces.

use std::time::Instant;

use super::state::Daemon;
use crate::{
    boot_guard::{Changes, GuardRules},
    config::Boot,
    report::GateStatus,
    system::netlink::Snapshot,
};

/// Subscribes to changes of the guard's table by others; on failure the table is checked
/// periodically.
pub(super) fn listen() -> Option<Changes> {
    Changes::listen().inspect_err(|error| log::warn!("{error:#}")).ok()
}

impl Daemon<'_> {
    /// Opens the guard for attached interfaces, if there is one.
    pub(super) fn keep_gate(&mut self, snapshot: &Snapshot) {
        let config = &self.in_force.config;
        let gate = (config.boot == Boot::Closed).then(|| {
            GuardRules::new(&config.zones(), snapshot, |interface| {
                self.reconciler.is_attached(interface)
            })
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
