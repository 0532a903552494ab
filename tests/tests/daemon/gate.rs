//! `boot: closed`: as long as nothing judges what clients send, nothing of it is forwarded, and
//! nothing to them; the gateway itself is always reached.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use intune_filter_tests::{
    filter::PATIENCE,
    listeners::Listeners,
    namespace::run,
    network::{CLIENT, GATEWAY, LAN, Network, WAN},
    probe::{ProbeResult, probe},
    site::{self, ANSWER, CONFIG, SILENCE, eventually, tcp, udp},
    testbed::{FOREIGN_PORT, Setup, Testbed},
    unjudged::expect_judged,
    xdp::PassAll,
};
use nix::sys::signal::Signal;

const FOREIGN: [&str; 2] = ["192.0.2.80", "2001:db8:80::1"];
const PRINTER: [&str; 2] = ["192.0.2.5", "2001:db8:9100::5"];

fn config(boot: &str) -> String {
    format!("{CONFIG}boot: {boot}\n")
}

fn testbed(boot: &str) -> Result<Testbed> {
    Testbed::create(&Setup { config: config(boot), ..site::setup() })
}

/// The gateway's tables of nftables.
fn tables(network: &Network) -> Result<String> {
    run(network.gateway.command("nft").args(["list", "tables"]))
}

/// Nothing is forwarded for the client, in either direction, and the gateway is reached.
fn expect_shut(testbed: &Testbed) -> Result<()> {
    let network = &testbed.network;
    let _listeners = Listeners::start(&network.client, [FOREIGN_PORT], [])?;
    for family in 0..2 {
        let gateway = tcp(GATEWAY[family], FOREIGN_PORT);
        testbed.expect_reached(gateway)?;
        for target in [tcp(FOREIGN[family].parse()?, 443), tcp(PRINTER[family].parse()?, 631)] {
            testbed.expect_denied(target)?;
        }
        let inwards = tcp(CLIENT[family], FOREIGN_PORT);
        let outcome = network.internet.run(|| probe(inwards, SILENCE));
        ensure!(outcome == ProbeResult::Silent, "from outside to {inwards}: {outcome:?}");
    }
    Ok(())
}

/// Everything is forwarded: there is neither a filter nor a gate.
fn expect_nothing_filtered(testbed: &Testbed) -> Result<()> {
    for foreign in FOREIGN {
        testbed.expect_reached(tcp(foreign.parse()?, 443))?;
        testbed.expect_reached(udp(foreign.parse()?, 5000))?;
    }
    Ok(())
}

/// Takes the link to the client away and makes it again, under new indices.
pub(crate) fn remake_link(network: &Network) -> Result<()> {
    let ([client4, client6], [gateway4, gateway6]) = (CLIENT, GATEWAY);
    let client = network.client.name();
    network.gateway.ip(&[
        format!("link delete {LAN}"),
        format!("link add {LAN} index 111 type veth peer {WAN} index 112 netns {client}"),
        format!("link set {LAN} up"),
        format!("address add {gateway4}/24 dev {LAN}"),
        format!("address add {gateway6}/64 dev {LAN} nodad"),
    ])?;
    network.client.ip(&[
        format!("link set {WAN} up"),
        format!("address add {client4}/24 dev {WAN}"),
        format!("address add {client6}/64 dev {WAN} nodad"),
        // An advertisement may have come before.
        format!("route replace default via {gateway4}"),
        format!("route replace default via {gateway6}"),
    ])
}

#[test]
fn an_interface_that_returns_while_the_daemon_is_dead_finds_the_gate_shut() -> Result<()> {
    let mut testbed = testbed("closed")?;
    testbed.filter.start()?;
    expect_judged(&testbed)?;
    testbed.filter.kill()?;
    expect_judged(&testbed)?;

    remake_link(&testbed.network)?;
    expect_shut(&testbed)?;
    testbed.filter.start()?;
    expect_judged(&testbed)
}

#[test]
fn without_a_gate_such_an_interface_passes_unjudged() -> Result<()> {
    let mut testbed = testbed("open")?;
    testbed.filter.start()?;
    ensure!(tables(&testbed.network)?.is_empty(), "a table that nobody asked for");
    testbed.filter.kill()?;
    remake_link(&testbed.network)?;
    expect_nothing_filtered(&testbed)
}

#[test]
fn an_interface_that_returns_is_let_in_by_the_daemon_that_attaches_to_it() -> Result<()> {
    let mut testbed = testbed("closed")?;
    testbed.filter.start()?;
    remake_link(&testbed.network)?;
    eventually("the printer is reached", || {
        let target = tcp(PRINTER[0].parse()?, 631);
        Ok(testbed.network.client.run(|| probe(target, ANSWER)) == ProbeResult::Reached)
    })?;
    expect_judged(&testbed)
}

#[test]
fn a_daemon_that_cannot_attach_leaves_the_gate_shut_and_detach_opens_it() -> Result<()> {
    let testbed = testbed("closed")?;
    let foreign = PassAll::attach(&testbed.network.gateway, LAN)?;
    let (code, output) = testbed.filter.fail_to_start()?;
    ensure!(code == Some(1), "expected exit code 1, got {code:?}: {output}");
    expect_shut(&testbed)?;
    drop(foreign);
    expect_shut(&testbed)?;
    testbed.filter.succeed(&["detach"])?;
    ensure!(tables(&testbed.network)?.is_empty(), "the table is left");
    expect_nothing_filtered(&testbed)
}

/// The indices that the gate lets pass.
fn judged(network: &Network) -> Result<String> {
    run(network.gateway.command("nft").args(["list", "set", "inet", "intune-filter", "judged"]))
}

#[test]
fn a_start_that_fails_at_one_interface_leaves_the_gate_shut_for_all() -> Result<()> {
    let testbed = testbed("closed")?;
    let gateway = &testbed.network.gateway;
    gateway.ip(&["link add lan2 type veth peer lan3", "link set lan2 up"])?;
    let foreign = PassAll::attach(gateway, "lan2")?;
    let both = config("closed").replace("  - name: eth1\n", "  - name: eth1\n  - name: lan2\n");
    testbed.filter.configure(&both)?;
    let (code, output) = testbed.filter.fail_to_start()?;
    ensure!(code == Some(1) && output.contains("eth1: enforcing"), "{code:?}: {output}");
    let judged = judged(&testbed.network)?;
    ensure!(!judged.contains("elements"), "{judged}");
    expect_shut(&testbed)?;
    drop(foreign);
    expect_shut(&testbed)
}

#[test]
fn a_table_that_lets_pass_what_nobody_judges_any_more_is_shut_by_a_start() -> Result<()> {
    let mut testbed = testbed("closed")?;
    testbed.filter.start()?;
    testbed.filter.kill()?;
    ensure!(judged(&testbed.network)?.contains("elements"), "nothing passes");
    std::fs::remove_dir_all(testbed.filter.pins())?;
    // The kernel takes programs off by itself, a little later.
    eventually("nothing is filtered", || Ok(expect_nothing_filtered(&testbed).is_ok()))?;
    // Enough for nft, and not for programs.
    let (code, output) = testbed.filter.fail_to_start_without(&["sys_admin", "bpf"])?;
    ensure!(code == Some(1), "expected exit code 1, got {code:?}: {output}");
    expect_shut(&testbed)
}

#[test]
fn a_second_daemon_leaves_the_gate_of_the_first_as_it_is() -> Result<()> {
    let mut testbed = testbed("closed")?;
    testbed.filter.start()?;
    let before = listing(&testbed.network).context("no table")?;
    let (code, output) = testbed.filter.fail_to_start()?;
    ensure!(code == Some(1) && !output.contains("NOT kept"), "{code:?}: {output}");
    ensure!(listing(&testbed.network) == Some(before), "the table has changed");
    let first = testbed.filter.output();
    ensure!(!first.contains("making it anew"), "{first}");
    expect_judged(&testbed)
}

#[test]
fn detach_opens_the_gate_of_a_running_daemon() -> Result<()> {
    let mut testbed = testbed("closed")?;
    testbed.filter.start()?;
    testbed.filter.succeed(&["detach"])?;
    ensure!(testbed.filter.daemon()?.wait(PATIENCE)?.success(), "the daemon failed");
    ensure!(tables(&testbed.network)?.is_empty(), "the table is left");
    remake_link(&testbed.network)?;
    expect_nothing_filtered(&testbed)
}

#[test]
fn a_faulty_configuration_that_says_closed_keeps_clients_out() -> Result<()> {
    let testbed = testbed("closed")?;
    testbed.filter.configure(&config("closed").replace("tcp: [631]", "tcp: []"))?;
    let (code, output) = testbed.filter.fail_to_start()?;
    ensure!(code == Some(3), "expected exit code 3, got {code:?}: {output}");
    expect_shut(&testbed)
}

#[test]
fn the_gate_is_shut_for_an_interface_that_is_awaited() -> Result<()> {
    let mut testbed = testbed("closed")?;
    testbed.filter.configure(&config("closed").replace(LAN, "lan9"))?;
    testbed.filter.start()?;
    let status = testbed.filter.json(&["status"])?;
    let shut = &status["daemon"]["gate"]["shut"];
    ensure!(shut.to_string().contains("lan9"), "{status}");
    testbed.filter.kill()?;
    // It appears with nobody there to attach to it.
    testbed.network.rename_lan("lan9")?;
    expect_shut(&testbed)
}

#[test]
fn a_reload_makes_and_removes_the_gate() -> Result<()> {
    let mut testbed = testbed("open")?;
    testbed.filter.start()?;
    for (boot, expected) in [("closed", true), ("open", false)] {
        testbed.filter.configure(&config(boot))?;
        testbed.filter.daemon()?.signal(Signal::SIGHUP)?;
        eventually("the gate is as configured", || {
            Ok(tables(&testbed.network)?.contains("intune-filter") == expected)
        })
        .with_context(|| testbed.filter.output())?;
        expect_judged(&testbed)?;
    }
    Ok(())
}

#[test]
fn a_rollback_leaves_the_gate_of_the_configuration_before() -> Result<()> {
    let mut testbed = testbed("closed")?;
    testbed.filter.start()?;
    let trial = testbed.directory.write("trial.yaml", &config("open"))?;
    let trial = trial.to_str().context("a path of ours is text")?;
    testbed.filter.succeed(&["apply", trial, "--confirm", "10m"])?;
    ensure!(!tables(&testbed.network)?.contains("intune-filter"), "the gate is there");
    // The daemon goes back before it ends, and nobody looks afterwards.
    testbed.filter.stop()?;
    ensure!(tables(&testbed.network)?.contains("intune-filter"), "the gate is not back");
    expect_judged(&testbed)
}

/// Listing of the gate's table by nft.
fn listing(network: &Network) -> Option<String> {
    let mut nft = network.gateway.command("nft");
    run(nft.args(["--stateless", "list", "table", "inet", "intune-filter"])).ok()
}

fn nft(network: &Network, arguments: &[&str]) -> Result<String> {
    run(network.gateway.command("nft").args(arguments))
}

#[test]
fn what_others_do_to_the_gate_is_undone_within_a_second() -> Result<()> {
    let mut testbed = testbed("closed")?;
    testbed.filter.start()?;
    let network = &testbed.network;
    let before = listing(network).context("no table")?;
    for (number, damage) in [
        &["flush", "ruleset"][..],
        &["delete", "table", "inet", "intune-filter"],
        // The table is still there then, and keeps nobody out.
        &["flush", "table", "inet", "intune-filter"],
        &["flush", "set", "inet", "intune-filter", "clients"],
    ]
    .into_iter()
    .enumerate()
    {
        // Where the table is owned, nft flushes the others, and is refused this one.
        let allowed = nft(network, damage).is_ok();
        let begun = Instant::now();
        while listing(network).as_ref() != Some(&before) {
            ensure!(begun.elapsed() < Duration::from_secs(1), "{damage:?}: still not back");
        }
        let passed = begun.elapsed();
        let status = testbed.filter.json(&["status"])?;
        let owned = status["daemon"]["gate"]["owned"] == true;
        ensure!(allowed != owned || damage[1] == "ruleset", "{damage:?}: {allowed}, {status}");
        println!("{damage:?}: back after {passed:?}, owned: {owned}");
        // What follows another loss is waited for, as in a fight.
        let calm = Duration::from_secs(u64::from(number < 3) * 5);
        std::thread::sleep(calm);
    }
    expect_judged(&testbed)
}

#[test]
fn whoever_flushes_again_and_again_is_not_fought_at_the_same_pace() -> Result<()> {
    let mut testbed = testbed("closed")?;
    testbed.filter.start()?;
    let begun = Instant::now();
    let mut flushed = 0;
    while begun.elapsed() < Duration::from_secs(8) {
        nft(&testbed.network, &["flush", "ruleset"])?;
        flushed += 1;
    }
    // Twice as long each time: at once, and after 0.2, 0.6, 1.4, 3 and 6.2 s.
    let made = testbed.filter.output().matches("making it anew").count();
    ensure!(flushed > 3 * made && made <= 7, "flushed {flushed} times, and made anew {made} times");
    testbed.filter.json(&["status"])?;
    eventually("the gate is back", || Ok(listing(&testbed.network).is_some()))
}

#[test]
fn what_is_open_without_a_daemon_is_named() -> Result<()> {
    let mut testbed = testbed("closed")?;
    testbed.filter.start()?;
    testbed.filter.kill()?;
    let told = |command| testbed.filter.succeed(&[command]);
    for command in ["check", "status"] {
        ensure!(!told(command)?.contains("NOT kept"), "{}", told(command)?);
    }
    nft(&testbed.network, &["flush", "ruleset"])?;
    ensure!(listing(&testbed.network).is_none(), "nobody owns the table any more");
    for command in ["check", "status"] {
        let text = told(command)?;
        ensure!(text.contains("what vanishes and returns before a daemon runs is open"), "{text}");
    }
    remake_link(&testbed.network)?;
    for command in ["check", "status"] {
        let text = told(command)?;
        ensure!(text.contains("NOT kept") && text.contains("judges eth1 either: open"), "{text}");
    }
    let status = testbed.filter.json(&["status"])?;
    let expected = serde_json::json!({"table": false, "unjudged": ["eth1"]});
    ensure!(status["gate"] == expected, "{status}");
    expect_nothing_filtered(&testbed)
}
