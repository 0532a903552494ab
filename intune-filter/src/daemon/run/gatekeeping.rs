//! The gate of `boot: closed` in the daemon's life: shut at its start, opened for what it attaches.

use serde_json::{Value, json};

use super::Daemon;
use crate::{
    config::{Boot, Config},
    daemon::{netlink::Snapshot, source::Source},
    gate::{self, Gate},
};

/// Keeps clients out until programs are attached, if the configuration says so. A failure is no
/// reason not to attach them.
pub(super) fn shut(config: &Config, source: &Source<'_>) {
    let mut paths = config.paths.clone();
    (source.adjust)(&mut paths);
    if let Err(error) = gate::shut(config, &paths) {
        log::error!("{error:#}");
    }
}

impl Daemon<'_> {
    /// Opens the gate for what is attached, if there is one.
    pub(super) fn keep_gate(&mut self, snapshot: &Snapshot) {
        let config = &self.in_force.config;
        let gate = (config.boot == Boot::Closed).then(|| {
            Gate::new(&config.zones(), snapshot, |interface| self.engine.is_attached(interface))
        });
        self.gate.keep(gate);
    }

    /// What `status` tells of the gate: nothing if it is not configured.
    pub(super) fn gate_status(&self) -> Value {
        if self.in_force.config.boot == Boot::Open {
            return Value::Null;
        }
        let interfaces = self.engine.status().into_iter();
        let shut = interfaces.filter(|interface| interface.mode.is_none());
        let shut: Vec<String> = shut.map(|interface| interface.name).collect();
        json!({ "shut": shut, "error": self.gate.error() })
    }
}
