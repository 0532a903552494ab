//! Debian's and Ubuntu's packages: asking what the archive has, and installing without a question.

use std::{path::Path, process::Command};

use anyhow::Result;

use crate::{
    command::{self, say, succeeds},
    packages::Tool,
};

/// Reads the archive's lists anew.
pub(super) fn update() -> Result<()> {
    let mut apt = command::root_command("reading the package lists", "apt-get")?;
    apt.args(["--quiet", "-o", "DPkg::Lock::Timeout=120", "update"]);
    if let Err(error) = command::run(&mut apt) {
        // One unreachable source of somebody else's is no reason to stop: the rest is read.
        say(&format!("{error:#}; going on with the lists that are here"));
    }
    Ok(())
}

/// The packages in a release, as apt writes that.
pub(super) fn of_release(packages: &[&str], release: &str) -> Vec<String> {
    packages.iter().map(|package| format!("{package}={release}.*")).collect()
}

/// Whether the archive has the packages and they can be installed without removing anything.
pub(super) fn offers(packages: &[String]) -> bool {
    succeeds(Command::new("apt-get").args(["--simulate"]).args(options()).args(packages))
}

/// Installs the packages.
pub(super) fn install(packages: &[String]) -> Result<()> {
    if packages.is_empty() {
        return Ok(());
    }
    let mut apt = command::root_command("installing packages", "env")?;
    // needrestart, on Ubuntu, asks which services to restart.
    apt.args(["DEBIAN_FRONTEND=noninteractive", "NEEDRESTART_SUSPEND=1", "apt-get", "--quiet"]);
    apt.args(["-o", "DPkg::Lock::Timeout=120", "-o", "Dpkg::Options::=--force-confold"]);
    apt.args(["-o", "Dpkg::Use-Pty=0"]);
    apt.args(options()).args(packages);
    command::run(&mut apt)
}

/// Stops the services that the packages of `tools` have just started: tests run the programs
/// themselves, and the machine's own name resolution stays as it is.
pub(super) fn silence(tools: &[&Tool]) {
    if !Path::new("/run/systemd/system").exists() {
        return;
    }
    for service in tools.iter().flat_map(|tool| tool.services) {
        let stopped = command::root_command("stopping a service", "systemctl")
            .and_then(|mut systemctl| command::run(systemctl.args(["disable", "--now", service])));
        if let Err(error) = stopped {
            say(&format!("{error:#}: {service} goes on running"));
        }
    }
}

fn options() -> [&'static str; 4] {
    ["install", "--yes", "--no-remove", "--no-install-recommends"]
}
