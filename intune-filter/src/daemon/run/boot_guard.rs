//! The gate of `boot: closed` in the daemon's life: shut at its start, opened for what it attaches.

use std::time::Instant;

use super::Daemon;
use crate::{
    boot_guard::{self, Changes, GuardRules},
    config::{Boot, Config},
    control::Client,
    daemon::config_source::ConfigSource,
    report::GateStatus,
    system::netlink::Snapshot,
};

/// Keeps clients out until programs are attached, if the configuration says so. A failure is no
/// reason not to attach them. A daemon that runs keeps its own gate.
pub(super) fn shut(config: &Config, source: &ConfigSource<'_>) {
    let mut paths = config.paths.clone();
    (source.adjust)(&mut paths);
    if Client::connect(&paths.runtime_dir).is_some_and(|client| !is_here(&client)) {
        return;
    }
    if let Err(error) = boot_guard::shut(config, &paths) {
        log::error!("{error:#}");
    }
}

/// The same by a configuration of which only a part can be read: a table that is there may know
/// of more.
pub(super) fn shut_by_part(config: &Config, source: &ConfigSource<'_>) {
    if boot_guard::presence() != Some(true) {
        shut(config, source);
    }
}

/// Whether the daemon at the other end is this process, which has failed to start.
fn is_here(client: &Client) -> bool {
    client.daemon().is_ok_and(|pid| u32::try_from(pid) == Ok(std::process::id()))
}

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
