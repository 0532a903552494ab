//! Exact names are resolved by the daemon itself: a client that does not ask, since it still knows an
//! address, reaches it.

use std::net::IpAddr;

use anyhow::{Context as _, Result, ensure};
use intune_filter_tests::{
    namespace::run,
    network::CLIENT,
    records::addresses,
    resolver::Kind,
    responder::RESPONDER,
    site::{self, CLOCK, CONFIG, WEB, eventually, tcp, udp},
    testbed::{Setup, Testbed},
};
use serde_json::Value;

/// The site's configuration, with resolution.
fn config() -> String {
    CONFIG.replace("  resolve: false\n", "")
}

/// The same with these resolvers alone.
fn at(resolvers: &[IpAddr]) -> String {
    let lines: String = resolvers.iter().map(|one| format!("    - \"{one}\"\n")).collect();
    let (head, rest) = CONFIG.split_once("    - 10.20.0.1\n").unwrap_or_default();
    let (_, tail) = rest.split_once("  resolve: false\n").unwrap_or_default();
    format!("{head}{lines}{tail}")
}

fn start(setup: &Setup) -> Result<Testbed> {
    let mut testbed = Testbed::create(setup)?;
    testbed.filter.start()?;
    Ok(testbed)
}

/// What `status` tells of it.
fn resolution(testbed: &Testbed) -> Result<Value> {
    Ok(testbed.filter.json(&["status"])?["daemon"]["resolution"].clone())
}

fn wait_for(testbed: &Testbed, state: &str, names: u64) -> Result<()> {
    let what = format!("{names} names are {state}");
    eventually(&what, || Ok(resolution(testbed)?[state] == names))
        .with_context(|| format!("{:#}", resolution(testbed).unwrap_or_default()))
}

/// The names of an address, as `names` tells them.
fn names_of(testbed: &Testbed, address: &str) -> Result<Vec<Value>> {
    let names = testbed.filter.json(&["names"])?;
    let entries = names.as_array().context("a list")?;
    Ok(entries.iter().filter(|entry| entry["address"] == address).cloned().collect())
}

/// A name counts as resolved with the first of its answers: each address comes in its own time.
fn wait_until_learned(testbed: &Testbed, addresses: &[IpAddr]) -> Result<()> {
    for address in addresses {
        let learned = || Ok(!names_of(testbed, &address.to_string())?.is_empty());
        eventually(&format!("{address} is known"), learned)?;
    }
    Ok(())
}

#[test]
fn an_exact_name_is_allowed_before_anybody_asks_and_a_wildcard_is_not() -> Result<()> {
    for resolver in [Kind::Dnsmasq, Kind::Unbound] {
        let setup = Setup { config: at(&resolver.addresses()), resolver, ..site::setup() };
        let testbed = start(&setup)?;
        wait_for(&testbed, "resolved", 1)?;
        let [clock4, clock6] = setup.records.get(CLOCK).context("the clock has addresses")?;
        wait_until_learned(&testbed, &[clock4, clock6])?;
        testbed.expect_reached(udp(clock4, 123))?;
        testbed.expect_reached(udp(clock6, 123))?;
        let known = names_of(&testbed, &clock4.to_string())?;
        ensure!(known[0]["name"] == CLOCK && known[0]["services"][0] == "clock", "{known:?}");
        // On its own ports alone, and a wildcard stands for no name.
        testbed.expect_denied(tcp(clock4, 443))?;
        let [web, _] = setup.records.get(WEB[0]).context("the web has addresses")?;
        testbed.expect_denied(tcp(web, 443))?;
        let text = testbed.filter.succeed(&["status"])?;
        ensure!(text.contains("1 of 1 exact names resolved"), "{text}");
        let scrape = ["--silent", "--max-time", "10", "127.0.0.1:9469/metrics"];
        let metrics = run(testbed.network.gateway.command("curl").args(scrape))?;
        let line = "intune_filter_exact_names{state=\"resolved\"} 1";
        ensure!(metrics.contains(line), "{metrics}");
    }
    Ok(())
}

#[test]
fn an_answer_that_does_not_fit_comes_over_tcp() -> Result<()> {
    let config = config().replace("fqdns: [clock.test]", "fqdns: [clock.test, many.test]");
    let mut setup = Setup { config, ..site::setup() };
    // 28 octets each: more than a resolver sends over UDP to whoever takes 1232.
    let [_, many] = setup.records.add_many("many.test", 60);
    let testbed = start(&setup)?;
    wait_until_learned(&testbed, &many)?;
    for address in many {
        testbed.expect_reached(udp(address, 123))?;
    }
    Ok(())
}

#[test]
fn an_address_that_no_answer_may_give_is_not_learned_here_either() -> Result<()> {
    let config = at(&[RESPONDER[0]]).replace("198.18.0.0/15, \"2001:2::/48\"", "");
    let config = config.replace("[clock.test]", "[7.clock.test, missing.test]");
    let testbed = start(&Setup { config, ..site::setup() })?;
    wait_for(&testbed, "absent", 2)?;
    let [clock, _] = addresses(7);
    testbed.expect_denied(udp(clock, 123))?;
    let names = testbed.filter.json(&["names"])?;
    ensure!(names.as_array().is_some_and(Vec::is_empty), "{names:#}");
    Ok(())
}

#[test]
fn a_resolver_that_is_silent_is_passed_over_for_the_next() -> Result<()> {
    // Nobody answers at the first.
    let config = at(&["203.0.113.99".parse()?, RESPONDER[0]]);
    let config = config.replace("[clock.test]", "[7.clock.test]");
    let testbed = start(&Setup { config, ..site::setup() })?;
    wait_for(&testbed, "resolved", 1)?;
    let [clock, _] = addresses(7);
    wait_until_learned(&testbed, &[clock])?;
    testbed.expect_reached(udp(clock, 123))
}

#[test]
fn a_name_that_a_reload_brings_is_resolved_and_what_expires_is_resolved_again() -> Result<()> {
    let mut setup = Setup { config: config(), ..site::setup() };
    setup.config = setup.config.replace("dns:\n", "dns:\n  ttl: {min: 6s, max: 6s, grace: 2s}\n");
    let testbed = start(&setup)?;
    wait_for(&testbed, "resolved", 1)?;
    let web = WEB[0];
    let changed = setup.config.replace("clock.test]", &format!("clock.test, {web}]"));
    testbed.filter.configure(&changed)?;
    testbed.filter.succeed(&["apply"])?;
    wait_for(&testbed, "resolved", 2)?;
    let [address, _] = setup.records.get(web).context("the web has addresses")?;
    wait_until_learned(&testbed, &[address])?;
    testbed.expect_reached(udp(address, 123))?;
    let answered = || {
        let count = resolution(&testbed)?["answered"].as_u64();
        count.context("a number of answers")
    };
    let before = answered()?;
    // Two names with two addresses each, all of them again.
    eventually("everything was resolved again", || Ok(answered()? >= before + 4))?;
    wait_for(&testbed, "resolved", 2)?;
    testbed.expect_reached(udp(address, 123))?;
    let [client, _] = CLIENT;
    let explained =
        testbed.filter.json(&["explain", &client.to_string(), &format!("{address}:123/udp")])?;
    ensure!(explained["matched"]["value"].as_str().is_some_and(|v| v.contains(web)), "{explained}");
    Ok(())
}
