//! Modes: each enforces the same, is told, taken over, changed and taken off.

use std::{collections::BTreeMap, path::PathBuf, process::Command};

use anyhow::{Context as _, Result, ensure};
use intune_filter_tests::{
    laboratory::{Laboratory, Setup},
    namespace::run,
    network::LAN,
    pins,
    site::{self, CONFIG, MODES, eventually, in_mode, tcp},
    xdp::PassAll,
};

fn laboratory(mode: &str) -> Result<Laboratory> {
    Laboratory::create(&Setup { config: in_mode(CONFIG, mode), ..site::setup() })
}

/// Checks what `status` says of the interface.
fn expect_mode(laboratory: &Laboratory, mode: &str) -> Result<()> {
    let status = laboratory.filter.json(&["status"])?;
    let interface = &status["interfaces"][0];
    ensure!(interface["attached"] == true, "{interface}");
    ensure!(interface["mode"] == mode, "expected {mode}: {interface}");
    Ok(())
}

/// The kernel's ids of what is pinned for each link. Without TCX that of TC is a program.
fn links(laboratory: &Laboratory) -> Result<BTreeMap<PathBuf, u64>> {
    pins::ids(&laboratory.filter.pins(), "links")
}

/// The names of what is pinned of a kind, in their order; of links without the interface's.
fn pinned(laboratory: &Laboratory, kind: &str) -> Result<Vec<String>> {
    let pins = pins::pins(&laboratory.filter.pins(), kind)?;
    let names = pins.iter().map(|pin| {
        let name = pin.file_name().context("a pin has a name")?.to_string_lossy();
        Ok(name.trim_start_matches("eth1-").to_owned())
    });
    let mut names = names.collect::<Result<Vec<_>>>()?;
    names.sort();
    Ok(names)
}

/// The hooks that links are pinned for.
fn hooks(laboratory: &Laboratory) -> Result<Vec<String>> {
    pinned(laboratory, "links")
}

/// The hooks of a mode.
const fn hooks_of(mode: &str) -> [&'static str; 2] {
    if mode.len() == "tc".len() { ["egress", "tc_ingress"] } else { ["egress", "ingress"] }
}

/// The programs that are pinned.
fn programs(laboratory: &Laboratory) -> Result<Vec<String>> {
    pinned(laboratory, "programs")
}

/// The programs that a daemon loads which starts in a mode.
const fn programs_of(mode: &str) -> [&'static str; 3] {
    let [egress, ingress] = hooks_of(mode);
    [egress, "explain", ingress]
}

/// Whether an XDP program is on the LAN interface.
fn has_xdp(laboratory: &Laboratory) -> Result<bool> {
    let gateway = laboratory.network.gateway.name();
    let mut command = Command::new("ip");
    Ok(run(command.args(["-details", "-netns", gateway, "link", "show", LAN]))?
        .contains("prog/xdp"))
}

#[test]
fn every_mode_enforces_the_same() -> Result<()> {
    for mode in MODES {
        let mut laboratory = laboratory(mode)?;
        laboratory.filter.start()?;
        laboratory.expect_verdicts().with_context(|| mode.to_owned())?;
        expect_mode(&laboratory, mode)?;
        ensure!(hooks(&laboratory)? == hooks_of(mode), "{mode}: {:?}", hooks(&laboratory)?);
        ensure!(programs(&laboratory)? == programs_of(mode), "{:?}", programs(&laboratory)?);
        ensure!(has_xdp(&laboratory)? == (mode != "tc"), "{mode}: XDP is not as expected");
        let mut scrape = laboratory.network.gateway.command("curl");
        let metrics = run(scrape.args(["--silent", "--max-time", "10", "127.0.0.1:9469/metrics"]))?;
        let line = format!("intune_filter_enforced{{interface=\"eth1\",mode=\"{mode}\"}} 1");
        ensure!(metrics.contains(&line), "no {line} in\n{metrics}");
    }
    Ok(())
}

#[test]
fn a_restart_takes_every_modes_links_over() -> Result<()> {
    for mode in MODES {
        let mut laboratory = laboratory(mode)?;
        laboratory.filter.start()?;
        // Without TCX, the program that is pinned is always the last one.
        let before = pins::has_tcx()?.then(|| links(&laboratory)).transpose()?;
        laboratory.filter.kill()?;
        laboratory.expect_denied(tcp("192.0.2.80".parse()?, 443))?;
        expect_mode(&laboratory, mode)?;
        laboratory.filter.start()?;
        if let Some(before) = before {
            ensure!(links(&laboratory)? == before, "{mode}: the links are others");
        }
        laboratory.expect_verdicts()?;
        laboratory.filter.stop()?;
        laboratory.filter.succeed(&["detach"])?;
        ensure!(hooks(&laboratory)?.is_empty(), "{mode}: links are left");
        laboratory.expect_reached(tcp("192.0.2.80".parse()?, 443))?;
    }
    Ok(())
}

#[test]
fn a_mode_is_changed_by_a_reload_and_by_a_restart() -> Result<()> {
    let mut laboratory = laboratory("native")?;
    laboratory.filter.start()?;
    for mode in ["tc", "generic", "tc", "native"] {
        laboratory.filter.configure(&in_mode(CONFIG, mode))?;
        laboratory.filter.daemon()?.signal(nix::sys::signal::Signal::SIGHUP)?;
        eventually(&format!("the mode is {mode}"), || {
            let status = laboratory.filter.json(&["status"])?;
            Ok(status["interfaces"][0]["mode"] == mode)
        })?;
        eventually("what the other mode has left is gone", || {
            Ok(hooks(&laboratory)? == hooks_of(mode))
        })?;
        let (pinned, hooks) = (programs(&laboratory)?, hooks_of(mode));
        ensure!(hooks.iter().all(|hook| pinned.iter().any(|name| name == hook)), "{pinned:?}");
        laboratory.expect_verdicts().with_context(|| mode.to_owned())?;
    }
    for mode in ["tc", "native"] {
        laboratory.filter.stop()?;
        laboratory.filter.configure(&in_mode(CONFIG, mode))?;
        laboratory.filter.start()?;
        expect_mode(&laboratory, mode)?;
        ensure!(hooks(&laboratory)? == hooks_of(mode), "{:?}", hooks(&laboratory)?);
        laboratory.expect_verdicts().with_context(|| mode.to_owned())?;
    }
    Ok(())
}

#[test]
fn at_tc_a_foreign_xdp_program_is_left_where_it_is() -> Result<()> {
    let mut laboratory = laboratory("tc")?;
    let foreign = PassAll::attach(&laboratory.network.gateway, LAN)?;
    laboratory.filter.start()?;
    laboratory.expect_verdicts()?;
    expect_mode(&laboratory, "tc")?;
    // Another mode cannot be had, and this one stays in force.
    laboratory.filter.configure(&in_mode(CONFIG, "native"))?;
    laboratory.filter.daemon()?.signal(nix::sys::signal::Signal::SIGHUP)?;
    let id = format!("id {}", foreign.id()?);
    eventually("the foreign program is named", || Ok(laboratory.filter.output().contains(&id)))?;
    laboratory.expect_denied(tcp("192.0.2.80".parse()?, 443))?;
    ensure!(hooks(&laboratory)? == hooks_of("tc"), "{:?}", hooks(&laboratory)?);
    Ok(())
}

#[test]
fn what_somebody_takes_off_is_put_back() -> Result<()> {
    if !pins::has_tcx()? {
        // A filter is not watched: nothing tells of it but the interface's whole list of them.
        return Ok(());
    }
    let mut laboratory = laboratory("tc")?;
    laboratory.filter.start()?;
    for hook in hooks_of("tc") {
        let (pin, id) = links(&laboratory)?
            .into_iter()
            .find(|(pin, _)| pin.ends_with(format!("eth1-{hook}")))
            .with_context(|| format!("no link for {hook}"))?;
        run(Command::new("bpftool").args(["link", "detach", "id", &id.to_string()]))?;
        eventually(&format!("{hook} is put back"), || {
            // The pin may go while it is read.
            Ok(links(&laboratory).is_ok_and(|now| now.get(&pin).is_some_and(|now| *now != id)))
        })?;
        laboratory.expect_verdicts().with_context(|| hook.to_owned())?;
    }
    Ok(())
}
