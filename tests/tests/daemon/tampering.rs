//! Interference with a running filter: programs taken off, pins removed, another program in the
//! way, daemons started at once, reloads without end.

use std::{fs, path::PathBuf, process::Command};

use anyhow::{Context as _, Result, ensure};
use intune_filter_tests::{
    filter::{FilterDaemon, PATIENCE},
    namespace::run,
    network::LAN,
    pins,
    process::Process,
    site::{self, CONFIG, eventually, tcp},
    testbed::Testbed,
    xdp::PassAll,
};
use nix::sys::signal::Signal;

fn started() -> Result<Testbed> {
    let mut testbed = Testbed::create(&site::setup())?;
    testbed.filter.start()?;
    Ok(testbed)
}

/// The pins of the links, by the program's name.
fn link(filter: &FilterDaemon, program: &str) -> Result<PathBuf> {
    let links = pins::pins(&filter.pins(), "links")?;
    let is_meant = |path: &PathBuf| path.to_string_lossy().ends_with(&format!("-{program}"));
    links.into_iter().find(is_meant).with_context(|| format!("no link of {program}"))
}

/// The programs that are attached by links. A filter of clsact has none.
fn linked() -> Result<&'static [&'static str]> {
    Ok(if pins::has_tcx()? { &["ingress", "egress"] } else { &["ingress"] })
}

fn is_attached(filter: &FilterDaemon) -> Result<bool> {
    Ok(filter.json(&["status"])?["interfaces"][0]["attached"] == true)
}

#[test]
fn a_program_that_is_taken_off_is_put_back() -> Result<()> {
    for program in linked()? {
        let mut testbed = started()?;
        let link = link(&testbed.filter, program)?;
        run(Command::new("bpftool").args(["link", "detach", "pinned"]).arg(&link))?;
        testbed.filter.daemon()?.wait_for("putting it back", PATIENCE)?;
        eventually("it is attached again", || is_attached(&testbed.filter))?;
        testbed.expect_verdicts()?;
    }
    Ok(())
}

#[test]
fn a_program_whose_pin_is_removed_is_put_back() -> Result<()> {
    for program in linked()? {
        let mut testbed = started()?;
        // Nothing else holds the link, which ends with its pin.
        fs::remove_file(link(&testbed.filter, program)?)?;
        testbed.filter.daemon()?.wait_for("putting it back", PATIENCE)?;
        eventually("it is attached again", || is_attached(&testbed.filter))?;
        testbed.expect_verdicts()?;
    }
    Ok(())
}

#[test]
fn a_program_in_the_way_is_told_of_until_it_is_gone() -> Result<()> {
    let mut testbed = started()?;
    let ingress = link(&testbed.filter, "ingress")?;
    run(Command::new("bpftool").args(["link", "detach", "pinned"]).arg(&ingress))?;
    // The daemon may be faster, and is then in the way itself.
    let foreign = loop {
        match PassAll::attach(&testbed.network.gateway, LAN) {
            Ok(foreign) => break foreign,
            Err(_) => {
                let ingress = link(&testbed.filter, "ingress")?;
                run(Command::new("bpftool").args(["link", "detach", "pinned"]).arg(&ingress))?;
            }
        }
    };
    let told = format!("another XDP program, id {}", foreign.id()?);
    testbed.filter.daemon()?.wait_for(&told, PATIENCE)?;
    let status = testbed.filter.json(&["status"])?;
    ensure!(status["interfaces"][0]["attached"] == false, "{status}");
    ensure!(status["enforcing"] == false, "{status}");
    let error = status["daemon"]["failed_interfaces"][0]["error"].as_str().unwrap_or_default();
    ensure!(error.contains(&told), "{status}");
    drop(foreign);
    eventually("it is attached again", || is_attached(&testbed.filter))?;
    testbed.expect_verdicts()
}

#[test]
fn xdp_cannot_be_turned_off_by_its_interface() -> Result<()> {
    let testbed = started()?;
    let mut command = Command::new("ip");
    command.args(["-netns", testbed.network.gateway.name(), "link", "set", LAN, "xdp", "off"]);
    // The kernel keeps what a link has attached.
    let output = command.output()?;
    ensure!(!output.status.success(), "it has been turned off");
    ensure!(is_attached(&testbed.filter)?, "it is not attached");
    testbed.expect_verdicts()
}

#[test]
fn of_two_daemons_that_start_at_once_one_runs_and_the_other_says_why_not() -> Result<()> {
    let testbed = Testbed::create(&site::setup())?;
    let start = || Process::spawn("intune-filter run", &mut testbed.filter.command(&["run"])?);
    let mut daemons = [start()?, start()?];
    let mut running = [true; 2];
    eventually("one of them has given up", || {
        for (daemon, running) in daemons.iter_mut().zip(&mut running) {
            *running = daemon.is_running()?;
        }
        Ok(running != [true; 2])
    })?;
    ensure!(running != [false; 2], "both have given up");
    let [mut first, mut second] = daemons;
    let (winner, loser) =
        if running[0] { (&mut first, &mut second) } else { (&mut second, &mut first) };
    let status = loser.wait(PATIENCE)?;
    ensure!(status.code() == Some(1), "{status}: {}", loser.output());
    let output = loser.output();
    ensure!(output.contains("another"), "does not say why: {output}");
    winner.wait_for("ready", PATIENCE)?;
    testbed.expect_verdicts()?;
    ensure!(winner.is_running()?, "{}", winner.output());
    Ok(())
}

#[test]
fn a_storm_of_reloads_ends_in_the_last_configuration() -> Result<()> {
    let mut testbed = started()?;
    let generation = |filter: &FilterDaemon| -> Result<u64> {
        filter.json(&["status"])?["generation"].as_u64().context("a generation")
    };
    let before = generation(&testbed.filter)?;
    let printer = tcp("192.0.2.5".parse()?, 631);
    for number in 0..100 {
        // Halves of files among them: whoever writes one does not ask when it is read.
        let config = match number % 3 {
            0 => CONFIG.to_owned(),
            1 => CONFIG.replace("tcp: [631]", "tcp: [443]"),
            _ => CONFIG[..CONFIG.len() / 2].to_owned(),
        };
        testbed.filter.configure(&config)?;
        testbed.filter.daemon()?.signal(Signal::SIGHUP)?;
    }
    testbed.filter.configure(&format!("{CONFIG}icmp_echo: false\n"))?;
    testbed.filter.succeed(&["apply"])?;
    testbed.expect_reached(printer)?;
    testbed.expect_verdicts()?;
    let after = generation(&testbed.filter)?;
    ensure!(after > before, "generation {before}, then {after}");
    let daemon = testbed.filter.daemon()?;
    ensure!(daemon.is_running()?, "{}", daemon.output());
    Ok(())
}
