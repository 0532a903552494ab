//! DNS over TCP with real resolvers: what fits into a segment is learned by the kernel, what does
//! not by the daemon, and either before the client has it.

use std::{
    io::Write as _,
    net::{IpAddr, TcpStream},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use intune_filter_tests::{
    counters::Counters,
    dns::{self, ADDRESS_TYPES, ResponseCode, lookup_over_tcp},
    namespace::run,
    network::{LAN, WAN},
    resolver::Kind,
    site::{self, UNLISTED, WEB, eventually, tcp},
    testbed::{Setup, Testbed},
};

/// A name with more addresses than a segment holds.
const MANY: &str = "many.web.test";
/// How many of each family: the records that are read of an answer at most.
const COUNT: u16 = 64;

fn testbed(kind: Kind) -> Result<(Testbed, [Vec<IpAddr>; 2])> {
    let mut setup = Setup { resolver: kind, ..site::setup() };
    let many = setup.records.add_many(MANY, COUNT);
    let mut testbed = Testbed::create(&setup)?;
    testbed.filter.start()?;
    Ok((testbed, many))
}

/// Asks for a name over TCP and connects to what comes, in both families, of both servers. Answers
/// that the kernel sees whole pass before the daemon has learned the last of many addresses: `whole`
/// ones, and those of so many IPv4 addresses that fit into a segment.
fn resolve_and_connect(testbed: &Testbed, name: &str, whole: bool) -> Result<Duration> {
    let mut slowest = Duration::ZERO;
    for server in testbed.resolver.addresses() {
        for kind in ADDRESS_TYPES {
            let ask = || lookup_over_tcp(server, name, kind, site::ANSWER);
            let asked = Instant::now();
            let answer = testbed.network.client.run(ask)?;
            slowest = slowest.max(asked.elapsed());
            ensure!(answer.code == ResponseCode::NoError, "{name} {kind}: {answer:?}");
            ensure!(!answer.addresses.is_empty(), "{name} {kind}: no address");
            if answer.addresses.len() == usize::from(COUNT) && (whole || kind == ADDRESS_TYPES[0]) {
                testbed.await_learned(&answer.addresses)?;
            }
            for address in answer.addresses {
                testbed.expect_reached(tcp(address, 443))?;
            }
        }
    }
    Ok(slowest)
}

fn small_answers(kind: Kind) -> Result<()> {
    let (testbed, _) = testbed(kind)?;
    for name in WEB {
        resolve_and_connect(&testbed, name, false)?;
    }
    let counters = testbed.filter.counters()?;
    ensure!(counters.get("dns_punted") == 0, "the kernel left something to userspace");
    let denied = counters.since(&Counters::default()).denials();
    ensure!(denied.is_empty(), "denied: {denied}");
    Ok(())
}

#[test]
fn what_dnsmasq_on_the_gateway_answers_over_tcp_is_learned() -> Result<()> {
    small_answers(Kind::Dnsmasq)
}

#[test]
fn what_unbound_beyond_the_gateway_answers_over_tcp_is_learned() -> Result<()> {
    small_answers(Kind::Unbound)
}

fn large_answers(kind: Kind, resolver: impl Fn(&Testbed) -> Result<()>) -> Result<()> {
    let (testbed, many) = testbed(kind)?;
    // As aggregates they would pass whole: from here on segments are what is on the wire.
    resolver(&testbed)?;
    let slowest = resolve_and_connect(&testbed, MANY, false)?;
    let counters = testbed.filter.counters()?;
    let punted = counters.get("dns_punted");
    println!("{kind}: answers over several segments: {punted} held back, slowest {slowest:?}");
    ensure!(punted > 0, "nothing was held back: {counters}");
    ensure!(counters.get("answer_unread") == 0, "something passed unread: {counters}");
    let names = testbed.filter.json(&["names"])?;
    let names = names.as_array().context("a list")?;
    ensure!(names.len() == many.concat().len(), "{} names", names.len());
    Ok(())
}

#[test]
fn the_daemon_reads_what_unbound_answers_in_several_segments() -> Result<()> {
    large_answers(Kind::Unbound, |testbed| {
        testbed.network.internet.ip(&[format!("link set {WAN} gso_max_segs 1")])
    })
}

#[test]
fn the_daemon_reads_what_dnsmasq_answers_in_several_segments() -> Result<()> {
    large_answers(Kind::Dnsmasq, |testbed| {
        testbed.network.gateway.ip(&[format!("link set {LAN} gso_max_segs 1")])
    })
}

/// An aggregate of several segments holds the message whole: the kernel reads it, and passes it
/// without having learned the last of so many addresses.
#[test]
fn an_aggregate_is_read_by_the_kernel() -> Result<()> {
    let (testbed, many) = testbed(Kind::Unbound)?;
    resolve_and_connect(&testbed, MANY, true)?;
    let counters = testbed.filter.counters()?;
    ensure!(counters.get("dns_punted") == 0, "something was held back");
    ensure!(counters.get("answer_deferred") > 0, "the kernel has learned all: {counters}");
    let names = testbed.filter.json(&["names"])?;
    let names = names.as_array().context("a list")?;
    ensure!(names.len() == many.concat().len(), "{} names", names.len());
    Ok(())
}

/// An answer of two kilooctets over UDP, where packets may be that large.
#[test]
fn a_large_answer_over_udp_is_learned() -> Result<()> {
    let (mut testbed, many) = testbed(Kind::Unbound)?;
    // Over IPv6, unbound has the kernel make an answer of pieces of 1,280 octets, which leave as one
    // packet where the interface has room for it. Linux 6.12 drops such a one at a veth with XDP.
    testbed.leave_client_bare();
    let network = &testbed.network;
    network.client.ip(&[format!("link set {WAN} mtu 9000")])?;
    network.gateway.ip(&[LAN, WAN].map(|interface| format!("link set {interface} mtu 9000")))?;
    network.internet.ip(&[WAN, "lo"].map(|interface| format!("link set {interface} mtu 9000")))?;
    // A bare client is judged in generic mode; no packet is to be under way when that begins.
    eventually("the mode is another", || {
        Ok(testbed.filter.json(&["status"])?["interfaces"][0]["mode"] == "generic")
    })?;
    for server in testbed.resolver.addresses() {
        let mut command = network.client.command("dig");
        command.args([&format!("@{server}"), "+short", "+tries=1", "+notcp", "+ignore"]);
        let output = run(command.args(["+bufsize=4096", MANY, "AAAA"]))?;
        let mut addresses: Vec<IpAddr> =
            output.lines().filter_map(|line| line.parse().ok()).collect();
        addresses.sort();
        ensure!(addresses == many[1], "{server}: {output}");
        testbed.await_learned(&addresses)?;
        for address in addresses {
            testbed.expect_reached(tcp(address, 443))?;
        }
    }
    Ok(())
}

/// Without a daemon an answer is late, but comes; and its addresses stay closed.
#[test]
fn an_answer_in_several_segments_comes_without_the_daemon_and_opens_nothing() -> Result<()> {
    let (mut testbed, _) = testbed(Kind::Unbound)?;
    testbed.network.internet.ip(&[format!("link set {WAN} gso_max_segs 1")])?;
    testbed.filter.kill()?;
    let [server, _] = testbed.resolver.addresses();
    let [_, v6] = ADDRESS_TYPES;
    let ask = || lookup_over_tcp(server, MANY, v6, site::ANSWER * 2);
    let answer = testbed.network.client.run(ask)?;
    ensure!(answer.addresses.len() == usize::from(COUNT), "{} addresses", answer.addresses.len());
    for address in answer.addresses.iter().take(2) {
        testbed.expect_denied(tcp(*address, 443))?;
    }
    let counters = testbed.filter.counters()?;
    ensure!(counters.get("answer_unread") > 0, "nothing was counted: {counters}");
    // What fits into a segment is the kernel's to learn.
    resolve_and_connect(&testbed, WEB[0], false).map(drop)
}

#[test]
fn names_of_no_service_are_not_asked_for_over_tcp() -> Result<()> {
    let (testbed, _) = testbed(Kind::Unbound)?;
    for server in testbed.resolver.addresses() {
        for kind in ADDRESS_TYPES {
            let ask = || lookup_over_tcp(server, UNLISTED, kind, site::ANSWER);
            let answer = testbed.network.client.run(ask)?;
            ensure!(answer.code == ResponseCode::NXDomain, "{UNLISTED} {kind}: {answer:?}");
        }
    }
    let counters = testbed.filter.counters()?;
    ensure!(counters.get("dns_unlisted") >= 4, "{counters}");
    Ok(())
}

/// One connection, many questions, several of them at once (RFC 7766 section 6.2.1.1).
#[test]
fn a_connection_carries_many_questions() -> Result<()> {
    let (testbed, _) = testbed(Kind::Unbound)?;
    let [server, _] = testbed.resolver.addresses();
    let addresses = testbed.network.client.run(|| -> Result<Vec<IpAddr>> {
        let mut stream = TcpStream::connect((server, 53))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(site::ANSWER))?;
        let mut addresses = Vec::new();
        for name in WEB {
            let mut queries = Vec::new();
            for kind in ADDRESS_TYPES {
                queries.push(dns::query(name, kind)?);
            }
            let mut both = Vec::new();
            for query in &queries {
                both.extend(dns::framed(query)?);
            }
            stream.write_all(&both)?;
            for _ in &queries {
                let answer = dns::read_message(&mut stream)?;
                let query = queries.iter().find(|query| query.get(..2) == answer.get(..2));
                addresses.extend(dns::parse(query.context("an id of ours")?, &answer)?.addresses);
            }
        }
        Ok(addresses)
    })?;
    ensure!(addresses.len() == 2 * WEB.len(), "got {addresses:?}");
    for address in addresses {
        testbed.expect_reached(tcp(address, 443))?;
    }
    Ok(())
}
