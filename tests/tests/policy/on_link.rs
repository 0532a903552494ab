//! `networks: on-link`: prefixes of the LAN come and go, and their clients are in the group while they
//! are there, whether a daemon runs or not.

use std::{
    fs,
    net::{IpAddr, Ipv6Addr},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use intune_filter_tests::{
    network::{LAN, WAN},
    prog_test_run::{Datagram, datagram::patched},
    responder::RESPONDER,
    site::{self, eventually, tcp},
    testbed::{Setup, Testbed},
    transfer::{Transfer, echo_on},
    wire::Wire,
};
use serde_json::Value;

/// Time in which a new prefix's clients are to be in the group.
const SOON: Duration = Duration::from_secs(2);

/// Port of the service `web` on which the remotes send back what they receive.
const ECHO: u16 = 443;

/// Prefixes that come later, and their client.
const NEW: [&str; 2] = ["10.21.0", "fd00:21::"];
const NEW_CLIENT: [&str; 2] = ["10.21.0.10", "fd00:21::10"];

fn config() -> String {
    site::CONFIG.replace("[10.20.0.0/24, \"fd00:20::/64\"]", "on-link")
}

fn start(config: String) -> Result<Testbed> {
    let mut setup = Setup { config, ..site::setup() };
    setup.tcp.remove(&ECHO);
    let mut testbed = Testbed::create(&setup)?;
    echo_on(&testbed, ECHO)?;
    testbed.network.internet.ip(&[
        "route add 10.21.0.0/24 via 172.31.0.1 table local",
        "route add fd00:21::/64 via fd00:31::1 table local",
    ])?;
    testbed.filter.start()?;
    Ok(testbed)
}

/// The provider gives another prefix: the gateway has it, then the client.
fn add_prefix(testbed: &Testbed) -> Result<()> {
    let [new4, new6] = NEW;
    let [client4, client6] = NEW_CLIENT;
    testbed.network.gateway.ip(&[
        format!("address add {new4}.1/24 dev {LAN}"),
        format!("address add {new6}1/64 dev {LAN} nodad"),
    ])?;
    testbed.network.client.ip(&[
        format!("address add {client4}/24 dev {WAN}"),
        format!("address add {client6}/64 dev {WAN} nodad"),
        // New connections have the new source, and those that are there keep theirs.
        format!("route replace default via {new4}.1 src {client4}"),
        format!("route replace default via {new6}1 src {client6}"),
    ])
}

/// The prefix before it is gone from the gateway.
fn remove_old(testbed: &Testbed) -> Result<()> {
    let [gateway4, gateway6] = intune_filter_tests::network::GATEWAY;
    testbed.network.gateway.ip(&[
        format!("address del {gateway4}/24 dev {LAN}"),
        format!("address del {gateway6}/64 dev {LAN}"),
    ])
}

/// New connections have the old source again.
fn use_old_source(testbed: &Testbed) -> Result<()> {
    let [old4, old6] = intune_filter_tests::network::CLIENT;
    let [new4, new6] = NEW;
    testbed.network.client.ip(&[
        format!("route replace default via {new4}.1 src {old4}"),
        format!("route replace default via {new6}1 src {old6}"),
    ])
}

fn status(testbed: &Testbed) -> Result<Value> {
    testbed.filter.json(&["status"])
}

fn groups_of(status: &Value, network: &str) -> Option<Vec<String>> {
    let all = status["on_link"].as_array()?;
    let prefix = all.iter().find(|one| one["network"] == network)?;
    let groups = prefix["groups"].as_array()?.iter();
    Some(groups.filter_map(|group| group.as_str().map(str::to_owned)).collect())
}

/// The client of the new prefix resolves a fresh name, and connects.
fn enrols(testbed: &Testbed, name: &str) -> Result<()> {
    for address in testbed.resolve_at(RESPONDER[0], name)? {
        testbed.expect_reached(tcp(address, 80))?;
    }
    Ok(())
}

#[test]
fn a_prefix_that_changes_takes_its_clients_along() -> Result<()> {
    let testbed = start(config())?;
    testbed.expect_reached(tcp("192.0.2.5".parse()?, 631))?;
    let [web4, web6] = testbed.resolve_at(RESPONDER[0], "1.web.test")?;
    let mut transfers =
        [Transfer::begin(&testbed, web4, ECHO)?, Transfer::begin(&testbed, web6, ECHO)?];
    let before = status(&testbed)?;

    add_prefix(&testbed)?;
    let added = Instant::now();
    enrols(&testbed, "2.web.test")?;
    let took = added.elapsed();
    println!("the first client of the new prefix was through after {} ms", took.as_millis());
    ensure!(took < SOON, "{took:?}");
    for transfer in &mut transfers {
        transfer.goes_on()?;
    }
    let clients = testbed.filter.json(&["clients"])?;
    let clients = clients.as_array().context("a list")?;
    for new in NEW_CLIENT {
        let client = clients.iter().find(|one| one["client"] == new);
        ensure!(client.is_some_and(|one| one["group"] == "devices"), "{new}: {clients:?}");
    }
    eventually("status tells of the new prefix", || {
        Ok(groups_of(&status(&testbed)?, "fd00:21::/64") == Some(vec!["devices".into()]))
    })?;
    let after = status(&testbed)?;
    ensure!(after["generation"] == before["generation"], "nothing was loaded: {after}");
    let digest = |status: &Value| status["configuration"]["digest"].clone();
    ensure!(digest(&after) == digest(&before) && digest(&after).is_string(), "{after}");
    ensure!(after["warnings"].as_array().is_none_or(Vec::is_empty), "{after}");

    remove_old(&testbed)?;
    use_old_source(&testbed)?;
    let removed = Instant::now();
    testbed.expect_denied(tcp(web4, 80))?;
    testbed.expect_denied(tcp(web6, 80))?;
    let took = removed.elapsed();
    ensure!(took < SOON * 2, "{took:?}");
    let counters = testbed.filter.counters()?;
    ensure!(counters.get("unlisted_client") > 0, "{counters:?}");
    eventually("status no longer has the old prefix", || {
        Ok(groups_of(&status(&testbed)?, "fd00:20::/64").is_none())
    })?;
    for line in [
        "fd00:21::/64 is on-link behind eth1, in devices",
        "fd00:20::/64 is no longer on-link behind eth1",
    ] {
        eventually("the log tells of it", || Ok(testbed.filter.output().contains(line)))?;
    }
    Ok(())
}

#[test]
fn a_dead_daemon_neither_locks_out_nor_lets_out() -> Result<()> {
    let mut testbed = start(config())?;
    let [_, web] = testbed.resolve_at(RESPONDER[0], "1.web.test")?;
    let mut transfer = Transfer::begin(&testbed, web, ECHO)?;
    testbed.filter.kill()?;
    add_prefix(&testbed)?;
    enrols(&testbed, "2.web.test")?;
    transfer.goes_on()?;
    remove_old(&testbed)?;
    use_old_source(&testbed)?;
    testbed.expect_denied(tcp(web, 80))?;

    // The next daemon judges as before, and ends no flow of what is on-link.
    testbed.network.gateway.ip(&["address add fd00:20::1/64 dev eth1 nodad"])?;
    let mut other = Transfer::begin(&testbed, web, ECHO)?;
    testbed.filter.start()?;
    other.goes_on()?;
    add_prefix_again(&testbed)?;
    enrols(&testbed, "3.web.test")
}

/// New connections have the new source again.
fn add_prefix_again(testbed: &Testbed) -> Result<()> {
    let [new4, new6] = NEW;
    let [client4, client6] = NEW_CLIENT;
    testbed.network.client.ip(&[
        format!("route replace default via {new4}.1 src {client4}"),
        format!("route replace default via {new6}1 src {client6}"),
    ])
}

/// What a verbose daemon says when it reads the machine's state.
const READING: &str = "reading interfaces and addresses";

/// The daemon's time on a CPU, in clock ticks.
fn ticks(id: u32) -> Result<u64> {
    let text = fs::read_to_string(format!("/proc/{id}/stat"))?;
    let (_, fields) = text.rsplit_once(')').context("a command in brackets")?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let [user, system] =
        [11, 12].map(|at| fields.get(at).and_then(|ticks| ticks.parse::<u64>().ok()));
    Ok(user.context("user time")? + system.context("system time")?)
}

#[test]
fn a_prefix_that_flaps_keeps_the_daemon_from_nothing() -> Result<()> {
    let mut testbed = start(config())?;
    testbed.filter.stop()?;
    testbed.filter.be_verbose();
    testbed.filter.start()?;
    let [_, web] = testbed.resolve_at(RESPONDER[0], "1.web.test")?;
    let mut transfer = Transfer::begin(&testbed, web, ECHO)?;
    let id = testbed.filter.daemon()?.id();
    let generation = status(&testbed)?["generation"].clone();
    let count =
        |testbed: &Testbed, text: &str| testbed.filter.output().matches(text).count() as u64;
    let (readings, lines) = (count(&testbed, READING), count(&testbed, "fd00:29::/64 is"));
    let (begin, done) = (ticks(id)?, AtomicBool::new(false));
    let started = Instant::now();
    let changes = thread::scope(|scope| -> Result<u32> {
        let flaps = scope.spawn(|| -> Result<u32> {
            let mut changes = 0;
            while !done.load(Ordering::Relaxed) || changes < 300 {
                let next = Instant::now() + Duration::from_millis(10);
                let what = ["add", "del"][changes as usize % 2];
                let change = format!("address {what} fd00:29::1/64 dev {LAN} nodad");
                testbed.network.gateway.ip(&[change])?;
                changes += 1;
                thread::sleep(next.saturating_duration_since(Instant::now()));
            }
            Ok(changes)
        });
        let until = started + Duration::from_secs(4);
        let mut result = Ok(());
        while result.is_ok() && Instant::now() < until {
            result = transfer.goes_on();
        }
        done.store(true, Ordering::Relaxed);
        let changes = flaps.join().map_err(|_| anyhow::anyhow!("a panic"))?;
        result.and(changes)
    })?;
    let (elapsed, used) = (started.elapsed(), ticks(id)? - begin);
    let readings = count(&testbed, READING) - readings;
    let lines = count(&testbed, "fd00:29::/64 is") - lines;
    println!("{changes} changes in {elapsed:?}: {readings} readings, {used} ticks, {lines} lines");
    // Five in a second, and those that are made anyway.
    ensure!(readings > 0 && readings <= elapsed.as_secs() * 6 + 8, "{readings} in {elapsed:?}");
    ensure!(lines <= 4 + elapsed.as_secs(), "{lines} lines:\n{}", testbed.filter.output());
    let after = status(&testbed)?;
    ensure!(after["generation"] == generation, "nothing was loaded: {after}");
    Ok(())
}

#[test]
fn a_prefix_in_no_group_is_told_of_with_the_remedy() -> Result<()> {
    let testbed = start(site::CONFIG.to_owned())?;
    add_prefix(&testbed)?;
    let says = "fd00:21::/64 is on-link behind eth1, and in no group: its clients are denied; expected \
                it, or on-link, in networks of a group";
    let tells = |value: &Value| {
        let warnings = value["warnings"].as_array().cloned().unwrap_or_default();
        warnings.iter().any(|warning| warning.as_str().is_some_and(|text| text.contains(says)))
    };
    ensure!(tells(&status(&testbed)?), "{}", status(&testbed)?);
    ensure!(groups_of(&status(&testbed)?, "fd00:21::/64") == Some(Vec::new()));
    let checked = testbed.filter.json(&["check"])?;
    ensure!(tells(&checked), "{checked}");
    eventually("the log tells of it", || Ok(testbed.filter.output().contains(says)))?;

    testbed.filter.configure(&config())?;
    let applied = testbed.filter.succeed(&["reload"])?;
    ensure!(applied.contains("on-link on eth1"), "{applied}");
    ensure!(!tells(&status(&testbed)?), "{}", status(&testbed)?);
    enrols(&testbed, "2.web.test")
}

#[test]
fn commands_know_what_is_on_link() -> Result<()> {
    let mut testbed = start(config())?;
    let shown = testbed.filter.json(&["config", "show"])?;
    ensure!(shown["configuration"]["clients"][0]["networks"][0] == "on-link", "{shown}");
    let explained = |testbed: &Testbed, client: &str| {
        testbed.filter.json(&["explain", client, "192.0.2.5:631"])
    };
    let group = |value: &Value| value["client_group"].as_str().map(str::to_owned);
    for (client, expected) in
        [("10.20.0.77", Some("devices")), ("10.29.0.77", None), ("192.0.2.7", None)]
    {
        let told = explained(&testbed, client)?;
        ensure!(group(&told).as_deref() == expected, "{client}: {told}");
    }
    let name = testbed.filter.json(&["explain", "fd00:20::77", "9.web.test:443"])?;
    ensure!(group(&name).as_deref() == Some("devices"), "{name}");
    let checked = testbed.filter.json(&["check"])?;
    ensure!(groups_of(&checked, "10.20.0.0/24") == Some(vec!["devices".into()]), "{checked}");

    // Nothing is loaded: the configuration judges, with the machine's addresses.
    testbed.filter.succeed(&["detach"])?;
    testbed.filter.daemon()?.wait(site::ANSWER * 4)?;
    for (client, expected) in [("10.20.0.77", Some("devices")), ("10.29.0.77", None)] {
        let told = testbed.filter.json(&["explain", client, "192.0.2.5:631"])?;
        ensure!(group(&told).as_deref() == expected, "{client}: {told}");
    }
    testbed.filter.configure(&config().replace("eth1", "eth9"))?;
    let checked = testbed.filter.succeed(&["check"])?;
    ensure!(checked.contains("what is on-link behind eth9 is not known"), "{checked}");
    Ok(())
}

#[test]
fn a_resolver_that_becomes_a_neighbour_is_told_of_and_ends_nothing() -> Result<()> {
    let testbed = start(config().replace("203.0.113.53", "10.21.0.53"))?;
    let says = "10.21.0.53 is on-link (10.21.0.0/24) behind eth1";
    add_prefix(&testbed)?;
    let told = status(&testbed)?["warnings"].to_string();
    ensure!(told.contains(says), "{told}");
    eventually("the log tells of it", || Ok(testbed.filter.output().contains(says)))?;
    testbed.filter.succeed(&["reload"])?;
    enrols(&testbed, "2.web.test")
}

/// A router advertisement with a prefix, as any client can send it.
fn advertise(testbed: &Testbed, prefix: Ipv6Addr) -> Result<()> {
    let mut rest = vec![0; 8];
    // Prefix information: on-link and autonomous, for an hour.
    rest.extend([3, 4, 64, 0xc0, 0, 0, 14, 16, 0, 0, 14, 16, 0, 0, 0, 0]);
    rest.extend(prefix.octets());
    let [source, to]: [IpAddr; 2] = ["fe80::66".parse()?, "ff02::1".parse()?];
    let message = Datagram::new(source, to).hop_limit(255).icmp(134, 0, [64, 0, 0, 0], &rest);
    let frame = patched(message.frame(), 0, &[0x33, 0x33, 0, 0, 0, 1]);
    testbed.network.client.run(|| Wire::open(WAN)?.send(&frame))
}

fn routes(testbed: &Testbed) -> Result<String> {
    let mut command = testbed.network.gateway.command("ip");
    Ok(String::from_utf8(command.args(["-6", "route", "show", "dev", LAN]).output()?.stdout)?)
}

#[test]
fn a_clients_advertisement_adds_nothing_unless_the_gateway_takes_it_and_takes_from_no_group()
-> Result<()> {
    const PRINTERS: &str = "  - name: printers\n    networks: [\"2001:db8:77::/64\"]\n    services: [clock]\n\
                            dns:\n";
    let testbed = start(config().replacen("dns:\n", PRINTERS, 1))?;
    let taken = |status: &Value| status["warnings"].to_string().contains("router advertisements");
    advertise(&testbed, "2001:db8:66::".parse()?)?;
    // The next one would be seen: the first was not taken.
    testbed.network.gateway.sysctl("ipv6/conf/eth1/accept_ra", "2")?;
    ensure!(taken(&status(&testbed)?), "{}", status(&testbed)?);
    ensure!(!routes(&testbed)?.contains("2001:db8:66::"), "{}", routes(&testbed)?);
    for prefix in ["2001:db8:67::", "2001:db8:77::"] {
        let prefix: Ipv6Addr = prefix.parse()?;
        eventually("the gateway has taken it", || {
            advertise(&testbed, prefix)?;
            thread::sleep(Duration::from_millis(20));
            Ok(routes(&testbed)?.contains(&prefix.to_string()))
        })?;
    }
    let group = |client: &str| -> Result<Option<String>> {
        let told = testbed.filter.json(&["explain", client, "[2001:db8:9100::5]:631"])?;
        Ok(told["client_group"].as_str().map(str::to_owned))
    };
    // It is the group that the client has on this interface anyway; another group's addresses stay its.
    ensure!(group("2001:db8:67::9")?.as_deref() == Some("devices"));
    ensure!(group("2001:db8:77::9")?.as_deref() == Some("printers"));
    Ok(())
}

/// A route by hand makes a prefix on-link as an address does, of whatever table; a route by a router, out
/// of another device, or to nowhere does not.
#[test]
fn a_prefix_that_a_route_makes_on_link_is_told_of() -> Result<()> {
    let testbed = start(site::CONFIG.to_owned())?;
    let before = status(&testbed)?["on_link"].as_array().map_or(0, Vec::len);
    testbed.network.gateway.ip(&[
        "route add 10.77.0.0/24 dev eth1",
        "route add fd00:77::/64 dev eth1",
        "route add 10.78.0.0/24 dev eth1 table 78 proto bird",
        "route add 10.79.0.0/24 via 10.20.0.10 dev eth1",
        "route add fd00:79::/64 via fd00:20::10 dev eth1",
        "route add 10.80.0.0/24 dev lo",
        "route add blackhole 10.81.0.0/24",
        "route add 10.20.0.128/25 dev eth1",
    ])?;
    let told = status(&testbed)?;
    for (network, groups) in [
        ("10.77.0.0/24", vec![]),
        ("fd00:77::/64", vec![]),
        ("10.78.0.0/24", vec![]),
        ("10.20.0.128/25", vec!["devices".to_owned()]),
    ] {
        ensure!(groups_of(&told, network).as_ref() == Some(&groups), "{network}: {told}");
    }
    let count = told["on_link"].as_array().map_or(0, Vec::len);
    ensure!(count == before + 4, "{before} before: {told}");
    // The daemon reads routes once a minute, and soon after a change that it hears of.
    testbed.network.gateway.ip(&["address add 10.20.0.99/24 dev eth1"])?;
    for network in ["10.77.0.0/24", "fd00:77::/64", "10.78.0.0/24"] {
        let line = format!("{network} is on-link behind eth1, and in no group");
        eventually("the log warns", || Ok(testbed.filter.output().contains(&line)))?;
    }
    testbed
        .network
        .gateway
        .ip(&["route del 10.77.0.0/24", "address del 10.20.0.99/24 dev eth1"])?;
    let line = "10.77.0.0/24 is no longer on-link behind eth1";
    eventually("the log tells of its end", || Ok(testbed.filter.output().contains(line)))?;
    let output = testbed.filter.output();
    for other in ["10.79.0.0", "fd00:79::", "10.80.0.0", "10.81.0.0"] {
        ensure!(!output.contains(other), "{other}: {output}");
    }
    Ok(())
}
