//! Tests of the model.

use anyhow::ensure;

use super::*;
use crate::site;
use intune_filter_tests::random::Random;

const SIZES: site::Sizes = site::Sizes { hosts: 256, flows: 256, new_flows: 256, pending: 256 };

fn policy(text: &str) -> ModelPolicy {
    let text = text.replace('~', "\n");
    ModelPolicy::read(&format!(
        "dns: {{resolvers: [203.0.113.53], ttl: {{min: 3s, max: 6s, grace: 2s}}}}\n{text}"
    ))
    .unwrap()
}

fn example() -> ModelPolicy {
    policy(
        "clients:~\
         - {networks: [10.0.0.0/24], services: [web, print]}~\
         - {networks: [10.0.0.9/32], services: [web], mode: exempt}~\
         - {networks: [10.0.1.0/24], services: [print], inbound: allow}~\
         - {networks: [10.0.2.0/24], services: [print], mode: audit}~\
         - {networks: [10.0.3.0/24], services: [print], inbound: [{services: [web]}, \
         {from: [198.51.100.0/24], tcp: [22], udp: ['600-639']}]}~\
         services:~\
         - {id: web, fqdns: ['*.web.test', exact.test], tcp: [443], udp: ['100-200']}~\
         - {id: print, cidrs: [192.0.2.0/28], tcp: [631]}~\
         - {id: unused, cidrs: [192.0.2.16/28], tcp: [443]}",
    )
}

fn sent(source: &str, destination: &str, what: What) -> Packet {
    Packet::new(source.parse().unwrap(), destination.parse().unwrap(), what)
}

fn verdict(packet: &Packet, learned: Verdict) -> Verdict {
    example().judge(packet, |_, _| learned).0
}

#[test]
fn a_packet_passes_by_a_network_and_a_port_of_one_service() {
    let tcp = |remote| What::Tcp {
        local: 1,
        remote,
        flags: intune_filter_tests::prog_test_run::Flags::SYN,
    };
    let udp = |remote| What::Udp { local: 1, remote };
    for (source, destination, what, learned, expected) in [
        ("10.0.0.1", "192.0.2.1", tcp(631), Verdict::Denied, Verdict::Passes),
        // Port and destination are of two services.
        ("10.0.0.1", "192.0.2.1", tcp(443), Verdict::Denied, Verdict::Denied),
        ("10.0.0.1", "192.0.2.16", tcp(443), Verdict::Denied, Verdict::Denied),
        ("10.0.0.1", "198.18.0.1", tcp(443), Verdict::Passes, Verdict::Passes),
        ("10.0.0.1", "198.18.0.1", tcp(443), Verdict::Either, Verdict::Either),
        ("10.0.0.1", "198.18.0.1", udp(200), Verdict::Passes, Verdict::Passes),
        ("10.0.0.1", "198.18.0.1", udp(201), Verdict::Passes, Verdict::Denied),
        ("10.0.0.1", "198.18.0.1", What::Echo { id: 1 }, Verdict::Passes, Verdict::Passes),
        ("10.0.0.1", "192.0.2.1", What::Protocol(47), Verdict::Passes, Verdict::Denied),
        // The longest prefix has the client.
        ("10.0.0.9", "192.0.2.77", tcp(22), Verdict::Denied, Verdict::Passes),
        ("10.0.1.1", "198.18.0.1", tcp(443), Verdict::Passes, Verdict::Denied),
        ("10.0.2.1", "198.18.0.1", tcp(443), Verdict::Denied, Verdict::Passes),
        ("10.9.0.1", "192.0.2.1", tcp(631), Verdict::Passes, Verdict::Denied),
        ("127.0.0.1", "192.0.2.1", tcp(631), Verdict::Passes, Verdict::Denied),
    ] {
        let packet = sent(source, destination, what);
        assert_eq!(verdict(&packet, learned), expected, "{packet}");
    }
}

#[test]
fn what_comes_unasked_passes_to_those_alone_who_want_it() {
    let udp = What::Udp { local: 1, remote: 443 };
    for (client, expected) in [
        ("10.0.0.1", Verdict::Denied),
        ("10.0.0.9", Verdict::Passes),
        ("10.0.1.1", Verdict::Passes),
        ("10.0.2.1", Verdict::Passes),
        ("10.9.0.1", Verdict::Denied),
    ] {
        let packet = Packet { to_client: true, ..sent("192.0.2.1", client, udp.clone()) };
        assert_eq!(verdict(&packet, Verdict::Passes), expected, "{packet}");
    }
}

#[test]
fn rules_let_in_their_senders_to_their_ports_of_the_clients() {
    let flags = intune_filter_tests::prog_test_run::Flags::SYN;
    let tcp = |local| What::Tcp { local, remote: 9999, flags };
    let udp = |local| What::Udp { local, remote: 9999 };
    for (source, client, what, learned, expected) in [
        ("198.51.100.1", "10.0.3.1", tcp(22), Verdict::Denied, Verdict::Passes),
        ("198.51.100.1", "10.0.3.1", udp(639), Verdict::Denied, Verdict::Passes),
        ("198.51.100.1", "10.0.3.1", udp(640), Verdict::Denied, Verdict::Denied),
        ("198.51.100.1", "10.0.3.1", udp(22), Verdict::Denied, Verdict::Denied),
        ("198.51.101.1", "10.0.3.1", tcp(22), Verdict::Passes, Verdict::Denied),
        ("198.51.101.1", "10.0.3.1", tcp(443), Verdict::Passes, Verdict::Passes),
        ("198.51.101.1", "10.0.3.1", tcp(443), Verdict::Either, Verdict::Either),
        ("198.51.101.1", "10.0.3.1", tcp(443), Verdict::Denied, Verdict::Denied),
        // A service that the clients may use themselves lets nobody in.
        ("192.0.2.1", "10.0.3.1", tcp(631), Verdict::Passes, Verdict::Denied),
        ("198.51.100.1", "10.0.0.1", tcp(22), Verdict::Passes, Verdict::Denied),
        ("198.51.100.1", "10.0.3.1", What::Echo { id: 1 }, Verdict::Passes, Verdict::Denied),
    ] {
        let packet = Packet { to_client: true, ..sent(source, client, what) };
        assert_eq!(verdict(&packet, learned), expected, "{packet}");
    }
}

#[test]
fn what_a_resolver_sends_unasked_is_for_nobody() {
    let answer = || What::Answer { local: 1, message: Vec::new() };
    for (source, what, expected) in [
        ("203.0.113.53", answer(), Verdict::Denied),
        ("203.0.113.53", What::Udp { local: 1, remote: 53 }, Verdict::Denied),
        ("203.0.113.53", What::Udp { local: 1, remote: 443 }, Verdict::Passes),
        ("203.0.113.99", answer(), Verdict::Passes),
    ] {
        let packet = Packet { to_client: true, ..sent(source, "10.0.1.1", what) };
        assert_eq!(verdict(&packet, Verdict::Passes), expected, "{packet}");
    }
}

#[test]
fn patterns_have_the_names_that_the_pages_say() {
    for (pattern, name, expected) in [
        ("a.test", "a.test", true),
        ("a.test", "b.a.test", false),
        ("*.a.test", "b.a.test", true),
        ("*.a.test", "c.b.a.test", true),
        ("*.a.test", "a.test", false),
        ("*.a.test", "ba.test", false),
        ("h1*.a.test", "h1.a.test", true),
        ("h1*.a.test", "h12.a.test", true),
        ("h1*.a.test", "h2.a.test", false),
        ("h1*.a.test", "h1.b.a.test", false),
        ("*.cdn*.test", "a.b.cdn7.test", true),
    ] {
        assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
    }
}

#[test]
fn names_of_the_groups_services_are_answered_about() {
    let policy = example();
    for (client, name, expected) in [
        ("10.0.0.1", "a.web.test", true),
        ("10.0.0.1", "exact.test", true),
        ("10.0.0.1", "other.test", false),
        ("10.0.1.1", "a.web.test", false),
        ("10.0.2.1", "other.test", true),
        ("10.9.0.1", "a.web.test", false),
    ] {
        assert_eq!(policy.answers(client.parse().unwrap(), name), expected, "{client} {name}");
    }
    assert_eq!(policy.life(1), Duration::from_secs(5));
    assert_eq!(policy.life(4), Duration::from_secs(6));
    assert_eq!(policy.life(60), policy.longest_life());
}

#[test]
fn every_configuration_of_the_soak_is_read_by_the_model_and_by_the_filter() -> Result<()> {
    let mut random = Random::new(1, "configurations");
    for _ in 0..200 {
        let text = site::configuration(&mut random, SIZES);
        ModelPolicy::read(&text)?;
        let parsed = intune_filter::config::Config::parse("soak", &text);
        ensure!(parsed.is_ok(), "{text}{:?}", parsed.err());
    }
    Ok(())
}
