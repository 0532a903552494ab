//! Modes: each enforces the same, is told, taken over, changed and taken off.

use std::{collections::BTreeMap, path::PathBuf, process::Command};

use anyhow::{Context as _, Result, ensure};
use intune_filter_tests::{
    namespace::run,
    network::LAN,
    pins,
    site::{self, CONFIG, MODES, eventually, in_mode, tcp},
    testbed::{Setup, Testbed},
    xdp::PassAll,
};

fn testbed(mode: &str) -> Result<Testbed> {
    Testbed::create(&Setup { config: in_mode(CONFIG, mode), ..site::setup() })
}

/// Checks what `status` says of the interface.
fn expect_mode(testbed: &Testbed, mode: &str) -> Result<()> {
    let status = testbed.filter.json(&["status"])?;
    let interface = &status["interfaces"][0];
    ensure!(interface["attached"] == true, "{interface}");
    ensure!(interface["mode"] == mode, "expected {mode}: {interface}");
    Ok(())
}

/// The kernel's ids of what is pinned for each link. Without TCX that of TC is a program.
fn links(testbed: &Testbed) -> Result<BTreeMap<PathBuf, u64>> {
    pins::ids(&testbed.filter.pins(), "links")
}

/// The names of what is pinned of a kind, in their order; of links without the interface's.
fn pinned(testbed: &Testbed, kind: &str) -> Result<Vec<String>> {
    let pins = pins::pins(&testbed.filter.pins(), kind)?;
    let names = pins.iter().map(|pin| {
        let name = pin.file_name().context("a pin has a name")?.to_string_lossy();
        Ok(name.trim_start_matches("eth1-").to_owned())
    });
    let mut names = names.collect::<Result<Vec<_>>>()?;
    names.sort();
    Ok(names)
}

/// The hooks that links are pinned for.
fn hooks(testbed: &Testbed) -> Result<Vec<String>> {
    pinned(testbed, "links")
}

/// The hooks of a mode.
const fn hooks_of(mode: &str) -> [&'static str; 2] {
    if mode.len() == "tc".len() { ["egress", "tc_ingress"] } else { ["egress", "ingress"] }
}

/// The programs that are pinned.
fn programs(testbed: &Testbed) -> Result<Vec<String>> {
    pinned(testbed, "programs")
}

/// The programs that a daemon loads which starts in a mode.
const fn programs_of(mode: &str) -> [&'static str; 3] {
    let [egress, ingress] = hooks_of(mode);
    [egress, "explain", ingress]
}

/// Whether an XDP program is on the LAN interface.
fn has_xdp(testbed: &Testbed) -> Result<bool> {
    let gateway = testbed.network.gateway.name();
    let mut command = Command::new("ip");
    Ok(run(command.args(["-details", "-netns", gateway, "link", "show", LAN]))?
        .contains("prog/xdp"))
}

#[test]
fn every_mode_enforces_the_same() -> Result<()> {
    for mode in MODES {
        let mut testbed = testbed(mode)?;
        testbed.filter.start()?;
        testbed.expect_verdicts().with_context(|| mode.to_owned())?;
        expect_mode(&testbed, mode)?;
        ensure!(hooks(&testbed)? == hooks_of(mode), "{mode}: {:?}", hooks(&testbed)?);
        eventually("what judges and `explain` are pinned", || {
            Ok(programs(&testbed)? == programs_of(mode))
        })?;
        ensure!(has_xdp(&testbed)? == (mode != "tc"), "{mode}: XDP is not as expected");
        let mut scrape = testbed.network.gateway.command("curl");
        let metrics = run(scrape.args(["--silent", "--max-time", "10", "127.0.0.1:9469/metrics"]))?;
        let line = format!("intune_filter_enforced{{interface=\"eth1\",mode=\"{mode}\"}} 1");
        ensure!(metrics.contains(&line), "no {line} in\n{metrics}");
    }
    Ok(())
}

#[test]
fn a_restart_takes_every_modes_links_over() -> Result<()> {
    for mode in MODES {
        let mut testbed = testbed(mode)?;
        testbed.filter.start()?;
        // Without TCX, the program that is pinned is always the last one.
        let before = pins::has_tcx()?.then(|| links(&testbed)).transpose()?;
        testbed.filter.kill()?;
        testbed.expect_denied(tcp("192.0.2.80".parse()?, 443))?;
        expect_mode(&testbed, mode)?;
        testbed.filter.start()?;
        if let Some(before) = before {
            ensure!(links(&testbed)? == before, "{mode}: the links are others");
        }
        testbed.expect_verdicts()?;
        testbed.filter.stop()?;
        testbed.filter.succeed(&["detach"])?;
        ensure!(hooks(&testbed)?.is_empty(), "{mode}: links are left");
        testbed.expect_reached(tcp("192.0.2.80".parse()?, 443))?;
    }
    Ok(())
}

#[test]
fn a_mode_is_changed_by_a_reload_and_by_a_restart() -> Result<()> {
    let mut testbed = testbed("native")?;
    testbed.filter.start()?;
    for mode in ["tc", "generic", "tc", "native"] {
        testbed.filter.configure(&in_mode(CONFIG, mode))?;
        testbed.filter.daemon()?.signal(nix::sys::signal::Signal::SIGHUP)?;
        eventually(&format!("the mode is {mode}"), || {
            let status = testbed.filter.json(&["status"])?;
            Ok(status["interfaces"][0]["mode"] == mode)
        })?;
        eventually("what the other mode has left is gone", || {
            Ok(hooks(&testbed)? == hooks_of(mode))
        })?;
        let (pinned, hooks) = (programs(&testbed)?, hooks_of(mode));
        ensure!(hooks.iter().all(|hook| pinned.iter().any(|name| name == hook)), "{pinned:?}");
        testbed.expect_verdicts().with_context(|| mode.to_owned())?;
    }
    for mode in ["tc", "native"] {
        testbed.filter.stop()?;
        testbed.filter.configure(&in_mode(CONFIG, mode))?;
        testbed.filter.start()?;
        expect_mode(&testbed, mode)?;
        ensure!(hooks(&testbed)? == hooks_of(mode), "{:?}", hooks(&testbed)?);
        testbed.expect_verdicts().with_context(|| mode.to_owned())?;
    }
    Ok(())
}

#[test]
fn at_tc_a_foreign_xdp_program_is_left_where_it_is() -> Result<()> {
    let mut testbed = testbed("tc")?;
    let foreign = PassAll::attach(&testbed.network.gateway, LAN)?;
    testbed.filter.start()?;
    testbed.expect_verdicts()?;
    expect_mode(&testbed, "tc")?;
    // Another mode cannot be had, and this one stays in force.
    testbed.filter.configure(&in_mode(CONFIG, "native"))?;
    testbed.filter.daemon()?.signal(nix::sys::signal::Signal::SIGHUP)?;
    let id = format!("id {}", foreign.id()?);
    eventually("the foreign program is named", || Ok(testbed.filter.output().contains(&id)))?;
    testbed.expect_denied(tcp("192.0.2.80".parse()?, 443))?;
    ensure!(hooks(&testbed)? == hooks_of("tc"), "{:?}", hooks(&testbed)?);
    Ok(())
}

#[test]
fn what_somebody_takes_off_is_put_back() -> Result<()> {
    if !pins::has_tcx()? {
        // A filter is not watched: nothing tells of it but the interface's whole list of them.
        return Ok(());
    }
    let mut testbed = testbed("tc")?;
    testbed.filter.start()?;
    for hook in hooks_of("tc") {
        let (pin, id) = links(&testbed)?
            .into_iter()
            .find(|(pin, _)| pin.ends_with(format!("eth1-{hook}")))
            .with_context(|| format!("no link for {hook}"))?;
        run(Command::new("bpftool").args(["link", "detach", "id", &id.to_string()]))?;
        eventually(&format!("{hook} is put back"), || {
            // The pin may go while it is read.
            Ok(links(&testbed).is_ok_and(|now| now.get(&pin).is_some_and(|now| *now != id)))
        })?;
        testbed.expect_verdicts().with_context(|| hook.to_owned())?;
    }
    Ok(())
}
