//! The systemd unit gives the daemon no more than it needs, and no less: the daemon runs with the
//! unit's capabilities alone.

use std::{fs, process::Command, sync::Arc};

use anyhow::{Context as _, Result};
use intune_filter_tests::{
    directory::Directory,
    filter::{FilterDaemon, PATIENCE},
    network::Network,
    process::Process,
};
use nix::sys::signal::Signal;

/// The unit's `CapabilityBoundingSet=`, as setpriv writes it.
fn bounding_set() -> Result<String> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../config/intune-filter.service");
    let unit = fs::read_to_string(path).context(path)?;
    let names = unit.lines().find_map(|line| line.strip_prefix("CapabilityBoundingSet="));
    let names = names.context("the unit bounds the daemon's capabilities")?;
    let names = names.split_whitespace().map(|name| name.replace("CAP_", "+").to_lowercase());
    Ok(std::iter::once("-all".to_owned()).chain(names).collect::<Vec<_>>().join(","))
}

/// The command that a line of the unit names.
fn command_of(key: &str) -> Result<&'static str> {
    let unit = include_str!("../../../config/intune-filter.service");
    let line = unit.lines().find_map(|line| line.strip_prefix(&format!("{key}=")));
    let command = line.and_then(|line| line.strip_prefix("/usr/bin/intune-filter "));
    command.with_context(|| format!("the unit has no command under {key}"))
}

/// A command of this filter, with the unit's capabilities. The filter's own one is
/// `nsenter --net=... -- intune-filter ...`: the namespace is entered before they are given up.
fn confined(filter: &FilterDaemon, command: &str) -> Result<Command> {
    let plain = filter.command(&[command])?;
    let mut arguments = plain.get_args();
    let mut command = Command::new(plain.get_program());
    command.args(arguments.by_ref().take(2));
    command.args(["setpriv", "--bounding-set", &bounding_set()?, "--inh-caps", "-all", "--"]);
    command.args(arguments);
    Ok(command)
}

#[test]
fn the_units_capabilities_are_enough_to_enforce_adopt_and_reload() -> Result<()> {
    let directory = Arc::new(Directory::create()?);
    let network = Network::create(directory.label())?;
    let config =
        include_str!("../../../config/config.yaml").replace("boot: open ", "boot: closed ");
    let filter = FilterDaemon::new(Arc::clone(&network.gateway), Arc::clone(&directory), &config)?;

    let first =
        Process::spawn("the first daemon", &mut confined(&filter, command_of("ExecStart")?)?)?;
    first.wait_for("ready", PATIENCE)?;
    filter.configure(&config.replace("icmp_echo: true", "icmp_echo: false"))?;
    let reload = command_of("ExecReload")?;
    let output = confined(&filter, reload)?.output()?;
    assert!(output.status.success(), "{output:?}");
    first.wait_for("policy 2 is in force", PATIENCE)?;
    filter.configure("interfaces: [")?;
    let output = confined(&filter, reload)?.output()?;
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    filter.configure(&config)?;
    first.signal(Signal::SIGHUP)?;
    first.wait_for("policy 3 is in force", PATIENCE)?;
    drop(first); // killed

    let second =
        Process::spawn("the second daemon", &mut confined(&filter, command_of("ExecStart")?)?)?;
    second.wait_for("ready", PATIENCE)?;
    let status = filter.json(&["status"])?;
    assert_eq!(status["interfaces"][0]["attached"], true, "{status}");
    let gate = &status["daemon"]["gate"];
    assert_eq!(gate["shut"], serde_json::json!([]), "{gate}");
    assert!(gate["error"].is_null(), "{gate}");
    Ok(())
}

#[test]
fn the_watchdog_outwaits_what_a_command_may_take() -> Result<()> {
    let unit = include_str!("../../../config/intune-filter.service");
    let value = unit.lines().find_map(|line| line.strip_prefix("WatchdogSec="));
    let seconds: u64 = value.and_then(|v| v.strip_suffix('s')).context("WatchdogSec")?.parse()?;
    // `apply` waits so long for its answer, in which the loop may be busy.
    assert!(seconds > 120, "{seconds}");
    Ok(())
}
