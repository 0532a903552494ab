//! Starting where it cannot, and leaving: each says what is the matter and changes nothing, or
//! removes everything.

use anyhow::{Context as _, Result, ensure};
use intune_filter_tests::{
    filter::PATIENCE,
    namespace::run,
    network::{LAN, Network},
    pins,
    site::{self, CONFIG, tcp, udp},
    testbed::Testbed,
    xdp::PassAll,
};

/// Output of `ip` for the LAN interface; names XDP programs.
fn link(network: &Network) -> Result<String> {
    let mut command = std::process::Command::new("ip");
    run(command.args(["-details", "-netns", network.gateway.name(), "link", "show", LAN]))
}

#[test]
fn of_two_daemons_the_second_gives_up_and_the_first_goes_on() -> Result<()> {
    let mut testbed = Testbed::create(&site::setup())?;
    testbed.filter.start()?;
    let before = pins::ids(&testbed.filter.pins(), "links")?;
    let (code, output) = testbed.filter.fail_to_start()?;
    ensure!(code == Some(1), "expected exit code 1, got {code:?}: {output}");
    ensure!(output.contains("another intune-filter"), "does not say why: {output}");
    ensure!(testbed.filter.daemon()?.is_running()?, "the first daemon has ended");
    ensure!(before == pins::ids(&testbed.filter.pins(), "links")?, "the links have changed");
    testbed.expect_verdicts()
}

#[test]
fn a_foreign_xdp_program_is_named_and_left_alone() -> Result<()> {
    let testbed = Testbed::create(&site::setup())?;
    let foreign = PassAll::attach(&testbed.network.gateway, LAN)?;
    let id = foreign.id()?;
    let (code, output) = testbed.filter.fail_to_start()?;
    ensure!(code == Some(1), "expected exit code 1, got {code:?}: {output}");
    for word in [LAN, &id.to_string()] {
        ensure!(output.contains(word), "does not name {word}: {output}");
    }
    ensure!(link(&testbed.network)?.contains(&format!("id {id} ")), "it has been replaced");
    nothing_is_left(&testbed)?;
    // Nothing is attached half-way: neither direction is filtered.
    testbed.expect_reached(tcp("192.0.2.80".parse()?, 443))
}

/// A kernel may refuse a program as it refuses one to a process that lacks the right.
#[test]
fn programs_that_do_not_load_leave_nothing_half_way() -> Result<()> {
    let testbed = Testbed::create(&site::setup())?;
    let without = ["net_admin", "sys_admin"];
    let (code, output) = testbed.filter.fail_to_start_without(&without)?;
    ensure!(code == Some(1), "expected exit code 1, got {code:?}: {output}");
    ensure!(output.contains("does not load the program"), "does not say why: {output}");
    nothing_is_left(&testbed)?;
    testbed.expect_reached(tcp("192.0.2.80".parse()?, 443))
}

#[test]
fn an_interface_that_is_not_there_is_named_and_holds_no_unit_up() -> Result<()> {
    let mut testbed = Testbed::create(&site::setup())?;
    testbed.filter.configure(&CONFIG.replace(LAN, "lan9"))?;
    testbed.filter.begin()?;
    testbed.filter.daemon()?.wait_for("lan9", PATIENCE)?;
    // What would make the interface may be waiting for this unit.
    testbed.filter.wait_until_ready()?;
    let status = testbed.filter.json(&["status"])?;
    ensure!(status["enforcing"] == false, "{status}");
    ensure!(status["daemon"]["missing_interfaces"][0] == "lan9", "{status}");
    let text = testbed.filter.succeed(&["status"])?;
    ensure!(text.contains("missing, and attached to when they appear: lan9"), "{text}");
    testbed.expect_reached(tcp("192.0.2.80".parse()?, 443))?;

    testbed.network.rename_lan("lan9")?;
    testbed.filter.daemon()?.wait_for("lan9: enforcing", PATIENCE)?;
    testbed.expect_verdicts()
}

#[test]
fn an_invalid_configuration_starts_nothing() -> Result<()> {
    let testbed = Testbed::create(&site::setup())?;
    testbed.filter.configure(&CONFIG.replace("tcp: [631]", "tcp: []"))?;
    let (code, output) = testbed.filter.fail_to_start()?;
    ensure!(code == Some(3), "expected exit code 3, got {code:?}: {output}");
    ensure!(output.contains(": services[2].tcp: "), "does not say where: {output}");
    nothing_is_left(&testbed)
}

#[test]
fn an_invalid_configuration_leaves_the_old_one_in_force() -> Result<()> {
    let mut testbed = Testbed::create(&site::setup())?;
    testbed.filter.start()?;
    testbed.filter.stop()?;
    testbed.filter.configure(&CONFIG.replace("tcp: [631]", "tcp: []"))?;
    testbed.filter.start()?;
    let output = testbed.filter.output();
    ensure!(output.contains(": services[2].tcp: "), "does not say where: {output}");
    testbed.expect_verdicts()?;
    // Also where nothing is kept: then without a daemon.
    testbed.filter.stop()?;
    std::fs::remove_dir_all(testbed.directory.path().join("state/last-good"))?;
    let (code, output) = testbed.filter.fail_to_start()?;
    ensure!(code == Some(3), "expected exit code 3, got {code:?}: {output}");
    testbed.expect_verdicts()
}

#[test]
fn a_new_configuration_is_in_force_after_a_restart() -> Result<()> {
    let mut testbed = Testbed::create(&site::setup())?;
    testbed.filter.start()?;
    testbed.expect_verdicts()?;
    testbed.filter.stop()?;
    let printer = "192.0.2.5".parse()?;
    testbed.filter.configure(&CONFIG.replace("web, clock, printer", "web, clock"))?;
    testbed.filter.start()?;
    testbed.expect_denied(tcp(printer, 631))?;
    let [clock, _] = testbed.resolve(site::CLOCK)?;
    testbed.expect_reached(udp(clock, 123))
}

#[test]
fn detach_removes_everything_while_the_daemon_runs() -> Result<()> {
    let mut testbed = Testbed::create(&site::setup())?;
    testbed.filter.start()?;
    testbed.expect_denied(tcp("192.0.2.80".parse()?, 443))?;
    testbed.filter.succeed(&["detach"])?;
    let status = testbed.filter.daemon()?.wait(PATIENCE)?;
    ensure!(status.success(), "the daemon ended with {status}: {}", testbed.filter.output());
    nothing_is_filtered(&testbed)
}

#[test]
fn detach_removes_everything_after_the_daemon_was_killed() -> Result<()> {
    let mut testbed = Testbed::create(&site::setup())?;
    testbed.filter.start()?;
    testbed.filter.kill()?;
    testbed.expect_denied(tcp("192.0.2.80".parse()?, 443))?;
    testbed.filter.succeed(&["detach"])?;
    nothing_is_filtered(&testbed)?;
    // And it can be started again.
    testbed.filter.start()?;
    testbed.expect_verdicts()
}

#[test]
fn detach_where_nothing_is_attached_is_no_error() -> Result<()> {
    let testbed = Testbed::create(&site::setup())?;
    testbed.filter.succeed(&["detach"]).map(drop)
}

/// Neither programs nor pins are left, and what was denied passes, in both directions.
fn nothing_is_filtered(testbed: &Testbed) -> Result<()> {
    nothing_is_left(testbed)?;
    let link = link(&testbed.network)?;
    ensure!(!link.contains("prog/xdp"), "a program is left: {link}");
    testbed.expect_reached(tcp("192.0.2.80".parse()?, 443))?;
    testbed.expect_reached(udp("2001:db8:80::1".parse()?, 5000))
}

fn nothing_is_left(testbed: &Testbed) -> Result<()> {
    for kind in ["links", "programs", "maps"] {
        let left = pins::ids(&testbed.filter.pins(), kind)?;
        ensure!(left.is_empty(), "{kind} are left: {left:?}");
    }
    for direction in ["ingress", "egress"] {
        let mut tc = testbed.network.gateway.command("tc");
        let tc = tc.args(["filter", "show", "dev", LAN, direction]);
        let tc = tc.output().context("cannot run tc")?;
        ensure!(tc.stdout.is_empty(), "left at TC: {}", String::from_utf8_lossy(&tc.stdout));
    }
    Ok(())
}
