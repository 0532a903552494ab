//! The gate of `boot: closed` in the daemon's life: opened for what it attaches.

use std::time::Instant;

use super::state::Daemon;
use crate::{
    boot_guard::{Changes, GuardRules},
    config::Boot,
    report::GateStatus,
    system::netlink::Snapshot,
};

/// Word of what others do to the gate. Without it, it is looked after from time to time.
pub(super) fn listen() -> Option<Changes> {
    Changes::listen().inspect_err(|error| log::warn!("{error:#}")).ok()
}

impl Daemon<'_> {
    /// Opens the gate for what is attached, if there is one.
    pub(super) fn keep_gate(&mut self, snapshot: &Snapshot) {
        let config = &self.in_force.config;
        let gate = (config.boot == Boot::Closed).then(|| {
            GuardRules::new(&config.zones(), snapshot, |interface| {
                self.reconciler.is_attached(interface)
            })
        });
        self.guard.keep(gate);
    }

    /// Looks whether the gate's table is still as it was written, and has it made anew.
    pub(super) fn look_at_gate(&mut self) {
        if !self.guard.verify(Instant::now()) {
            self.keep_gate(&self.seen.clone());
        }
    }

    /// What `status` tells of the gate: nothing if it is not configured.
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
