//! Operates the boot guard while the daemon runs: opens it for attached interfaces.

use std::{mem, time::Instant};

use super::state::Daemon;
use crate::{
    boot_guard::{Changes, GuardRules},
    config::Boot,
    daemon::problems::Code,
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
        let (zones, closed) =
            (self.in_force.config.zones(), self.in_force.config.boot == Boot::Closed);
        let mut strays = mem::take(&mut self.strays);
        let held = strays.observe(&zones, snapshot, |interface| passes(self, interface));
        let told = strays.told(&held, snapshot, closed);
        self.strays = strays;
        self.tell_of_strays(told);
        let gate = closed.then(|| {
            let rules = GuardRules::new(&zones, snapshot, |interface| passes(self, interface));
            GuardRules { held, ..rules }
        });
        self.guard.keep(gate);
    }

    fn tell_of_strays(&mut self, told: String) {
        if told.is_empty() {
            self.problems.clear(Code::InterfaceStray);
        } else if self.problems.add(Code::InterfaceStray, told.clone()) {
            log::error!("{told}");
        }
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
