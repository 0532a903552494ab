//! PPP on the clients' side: packets without Ethernet headers, on an interface that comes and goes with
//! each call.

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use intune_filter_tests::{
    namespace::run,
    network::{CLIENT, LAN},
    ppp::PppLink,
    probe::{ProbeResult, probe},
    resolver::Kind,
    site::{self, ANSWER, CONFIG, SILENCE, eventually, in_mode, tcp, udp},
    testbed::{Setup, Testbed},
    unjudged::{expect_judged, nothing_passes_unjudged},
};

use crate::layer3;

/// Addresses of no service.
const FOREIGN: [&str; 2] = ["192.0.2.80", "2001:db8:80::1"];

fn dialled(config: &str) -> Result<(Testbed, PppLink)> {
    let config = config.to_owned();
    let testbed = Testbed::create(&Setup { config, resolver: Kind::Unbound, ..site::setup() })?;
    let link = testbed.network.use_ppp()?;
    Ok((testbed, link))
}

#[test]
#[ignore = "needs PPP"]
fn a_ppp_client_reaches_what_the_policy_allows_and_nothing_else() -> Result<()> {
    let (mut testbed, _link) = dialled(CONFIG)?;
    for mode in ["native", "generic"] {
        testbed.filter.configure(&in_mode(CONFIG, mode))?;
        let checked = testbed.filter.run(&["check"])?;
        let said = String::from_utf8_lossy(&checked.stderr).into_owned();
        let named = ["interfaces[0].mode", LAN, "layer 3"].iter().all(|word| said.contains(word));
        ensure!(!checked.status.success() && named, "{mode}: {said}");
    }
    testbed.filter.configure(CONFIG)?;
    testbed.filter.start()?;
    layer3::expect_judged(&mut testbed)?;
    // Nothing depends on the daemon.
    testbed.filter.kill()?;
    testbed.expect_verdicts()
}

/// The filter's own answers come back by the same interface; who sends in another's name is not answered.
#[test]
#[ignore = "needs PPP"]
fn denials_are_answered_over_ppp_and_nobody_sends_in_anothers_name() -> Result<()> {
    const STRANGERS: [&str; 2] = ["198.51.100.9", "2001:db8:5::5"];

    let everybody = CONFIG
        .replace("[10.20.0.0/24, \"fd00:20::/64\"]", "[0.0.0.0/0, \"::/0\"]")
        .replace("    services: [web", "    on_deny: reject\n    services: [web");
    let (mut testbed, _link) = dialled(&everybody)?;
    testbed.filter.start()?;
    let client = Arc::clone(&testbed.network.client);
    for family in 0..2 {
        let to = FOREIGN[family].parse()?;
        for target in [tcp(to, 443), udp(to, 5000)] {
            let found = client.run(|| probe(target, ANSWER));
            let counters = testbed.filter.counters()?;
            ensure!(found == ProbeResult::Refused, "{target}: {found:?}, {counters}");
        }
        let told =
            testbed.filter.json(&["explain", &CLIENT[family].to_string(), FOREIGN[family]])?;
        ensure!(told["reason"] == "destination", "{told}");
    }
    let counters = testbed.filter.counters()?;
    ensure!(counters.get("destination") >= 4, "{counters}");

    client.ip(&STRANGERS.map(|stranger| format!("address add {stranger} dev lo")))?;
    for (stranger, to) in STRANGERS.into_iter().zip(["192.0.2.5", "2001:db8:9100::5"]) {
        let before = testbed.filter.counters()?;
        // Of everybody else's the policy allows it.
        let mut ping = client.command("ping");
        let answered = run(ping.args(["-n", "-c", "1", "-W", "1", "-I", stranger, to]));
        ensure!(answered.is_err(), "a forgery was answered: {answered:?}");
        let counted = testbed.filter.counters()?.since(&before);
        ensure!(counted.get("source_interface") == 1, "{counted}");
        run(client.command("ping").args(["-n", "-c", "1", "-W", "5", to]))?;
    }
    Ok(())
}

/// A call ends and the next one begins: the interface is another one of the same name.
#[test]
#[ignore = "needs PPP"]
fn the_interface_of_the_next_call_is_judged_from_its_first_packet() -> Result<()> {
    let (mut testbed, mut link) = dialled(&format!("{CONFIG}boot: closed\n"))?;
    testbed.filter.start()?;
    expect_judged(&testbed)?;
    for _ in 0..2 {
        let before = testbed.network.gateway.ifindex(LAN)?;
        let mut next = None;
        nothing_passes_unjudged(&mut testbed, |testbed| {
            link.hang_up()?;
            eventually("the interface is missed", || {
                Ok(testbed.filter.json(&["status"])?["interfaces"][0]["attached"] == false)
            })?;
            next = Some(testbed.network.dial()?);
            Ok(())
        })?;
        link = next.context("it was dialled")?;
        ensure!(testbed.network.gateway.ifindex(LAN)? != before, "the interface did not change");
    }
    testbed.expect_verdicts()?;

    // While no daemon is there to attach it, the gate is shut.
    testbed.filter.kill()?;
    link.hang_up()?;
    let _link = testbed.network.dial()?;
    for target in [tcp("192.0.2.5".parse()?, 631), tcp(FOREIGN[0].parse()?, 443)] {
        let found = testbed.network.client.run(|| probe(target, SILENCE));
        ensure!(found == ProbeResult::Silent, "{target}: {found:?}");
    }
    testbed.filter.start()?;
    testbed.expect_verdicts()
}
