//! The demo: what it probes, how it probes, and how it tells.

pub mod plan;
pub mod report;
pub mod run;
pub mod services;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use self::{
    plan::Plan,
    services::{Service, services},
};
use intune_filter_tests::{
    cargo::binary, cargo::root, namespace::run, probe::Transport, records::Records, resolver::Kind,
    testbed::Setup,
};

/// The configuration that the demo runs with.
#[must_use]
pub fn config() -> PathBuf {
    root().join("config/demo.yaml")
}

/// Services, plan and setup of the demo.
#[derive(Debug)]
pub struct Demo {
    /// The services that it probes.
    pub services: Vec<Service>,
    /// Questions and probes.
    pub plan: Plan,
    /// Testbed.
    pub setup: Setup,
}

impl Demo {
    /// The demo of the services that `intune-filter endpoints list` lists with a configuration.
    pub fn new(config: &Path, resolver: Kind) -> Result<Self> {
        let text = fs::read_to_string(config)
            .with_context(|| format!("cannot read {}", config.display()))?;
        let mut list = Command::new(binary()?);
        list.arg("--config").arg(config).args(["--json", "endpoints", "list"]);
        let list = serde_json::from_str(&run(&mut list)?).context("endpoints list is no JSON")?;
        let services = services(&list)?;
        let mut records = Records::default();
        let plan = Plan::new(&services, &mut records);
        let [tcp, udp] = [Transport::Tcp, Transport::Udp].map(|transport| plan.ports(transport));
        let setup = Setup { config: text, resolver, records, tcp, udp, ..Setup::default() };
        Ok(Self { services, plan, setup })
    }
}
