//! Tests the contents of the maps against values worked out by hand.

use std::collections::BTreeSet;

use intune_filter_ebpf::abi::{
    Limit, MODE_AUDIT, MODE_ENFORCE, MODE_EXEMPT, PORTS, RuleMask, SERVER_DHCP, SERVER_RESOLVER,
    TransportProtocol::{Tcp, Udp},
    UNLISTED_DROP, UNLISTED_FORWARD, UNLISTED_NXDOMAIN, UNLISTED_REFUSE, V6, client_flags,
};

use super::{config, ids, policy};
use crate::{
    config::{Config, OnDeny},
    policy::{info, name_of},
};

#[test]
fn clients_carry_their_zone_and_the_longest_prefix_decides() {
    let text = "\
interfaces: [{name: eth1, vlans: [20, 30]}, {name: eth2}]
clients:
  - {name: wide, networks: [10.0.0.0/8, 'fd00::/16'], services: [core]}
  - {name: narrow, on: eth1.30, networks: [10.1.0.0/16], services: [], mode: audit}
  - {name: single, on: eth1, networks: [10.1.2.3/32], mode: exempt, inbound: allow}
dns: {resolvers: [10.0.0.1]}
";
    let policy = policy(&Config::parse("config.yaml", text).unwrap());
    // One more for the link-local sources of each zone.
    assert_eq!(policy.clients4.len(), 3 + 1 + 2 + 3);
    assert_eq!(policy.clients6.len(), 3 + 3);
    assert!(policy.clients4.iter().all(|prefix| prefix.length >= 32 + 8));
    let group = |zone, source: &str| {
        policy.client(zone, source.parse().unwrap()).map(|client| (client.group, client.mode))
    };
    assert_eq!(group(1, "10.1.9.9"), Some((0, MODE_ENFORCE)));
    assert_eq!(group(2, "10.1.9.9"), Some((1, MODE_AUDIT)));
    assert_eq!(group(3, "10.1.9.9"), Some((0, MODE_ENFORCE)));
    assert_eq!(group(1, "10.1.2.3"), Some((2, MODE_EXEMPT)));
    assert_eq!(group(2, "10.1.2.3"), Some((2, MODE_EXEMPT)));
    assert_eq!(group(3, "10.1.2.3"), Some((0, MODE_ENFORCE)));
    assert_eq!(group(1, "fd00::1"), Some((0, MODE_ENFORCE)));
    assert_eq!(group(1, "11.0.0.1"), None);
    assert_eq!(group(4, "10.1.2.3"), None);
    let single = policy.client(1, "10.1.2.3".parse().unwrap()).unwrap();
    assert_eq!(single.flags, client_flags::INBOUND | client_flags::REJECT);
    let other = policy.client(1, "10.1.9.9".parse().unwrap()).unwrap();
    assert_eq!(other.flags, client_flags::REJECT);
}

#[test]
fn reject_is_a_flag() {
    let mut config = config("[core]", "");
    for (on_deny, flags) in [(OnDeny::Reject, client_flags::REJECT), (OnDeny::Drop, 0)] {
        config.clients[0].on_deny = on_deny;
        let client = policy(&config).client(1, "192.168.0.9".parse().unwrap()).unwrap();
        assert_eq!(client.flags, flags);
    }
}

#[test]
fn networks_have_what_is_around_them() {
    let more = "services: [{id: wide, cidrs: [10.0.0.0/8], tcp: [1]}, \
                {id: narrow, cidrs: [10.1.2.0/24], tcp: [2]}]";
    let policy = policy(&config("[core, wide, narrow]", more));
    let at = |address: &str| ids(&policy, policy.rules_of_address(address.parse().unwrap()));
    assert_eq!(at("10.1.2.3"), ["core/core", "narrow/site", "wide/site"]);
    assert_eq!(at("10.1.3.3"), ["core/core", "wide/site"]);
    assert_eq!(at("10.2.0.1"), ["wide/site"]);
    assert_eq!(at("11.0.0.1"), [""; 0]);
    assert_eq!(at("::ffff:10.1.2.3"), [""; 0]);
}

#[test]
fn networks_are_reached_under_nat64_too() {
    let mut config = config("[core]", "");
    config.nat64 = vec!["64:ff9b::/96".parse().unwrap()];
    let policy = policy(&config);
    let at = |address: &str| ids(&policy, policy.rules_of_address(address.parse().unwrap()));
    assert_eq!(at("64:ff9b::10.1.2.3"), ["core/core"]);
    assert_eq!(at("64:ff9b::10.2.2.3"), [""; 0]);
    assert_eq!(at("10.1.2.3"), ["core/core"]);
}

#[test]
fn ports_are_expanded() {
    let policy = policy(&config("[core, regional]", ""));
    assert_eq!(policy.ports.len(), PORTS as usize);
    let at = |protocol, port| ids(&policy, policy.rules_of_port(protocol, port));
    assert_eq!(at(Tcp, 443), ["core/core", "regional/attest"]);
    assert_eq!(at(Tcp, 80), ["core/core"]);
    assert_eq!(at(Udp, 443), [""; 0]);
    assert_eq!(at(Udp, 123), ["regional/everywhere"]);
    assert_eq!(at(Tcp, 123), [""; 0]);
    for (port, hit) in [(4999, false), (5000, true), (5005, true), (5010, true), (5011, false)] {
        assert_eq!(!at(Tcp, port).is_empty(), hit, "{port}");
    }
    assert_eq!(policy.ports.iter().filter(|class| **class != 0).count(), 2 + 11 + 2);
    // Without rules, of two rules, and of either alone.
    assert_eq!(policy.port_classes.len(), 4);
    let distinct: BTreeSet<RuleMask> = policy.port_classes.iter().copied().collect();
    assert_eq!(distinct.len(), policy.port_classes.len());
    assert!(policy.port_classes[0].is_empty());
}

#[test]
fn servers_are_mapped_addresses() {
    let more = "dhcp_servers: [192.168.0.1, 192.168.0.2, 'fd00::2']";
    let policy = policy(&config("[core]", more));
    let of = |address: &str| {
        let address: std::net::IpAddr = address.parse().unwrap();
        policy.servers.get(&V6::from(address)).copied()
    };
    assert_eq!(of("192.168.0.1"), Some(SERVER_RESOLVER | SERVER_DHCP));
    assert_eq!(of("::ffff:192.168.0.2"), Some(SERVER_DHCP));
    assert_eq!(of("fd00::2"), Some(SERVER_DHCP));
    assert_eq!(policy.servers.len(), 3);
}

#[test]
fn settings() {
    let settings = policy(&config("[core]", "")).settings;
    assert_eq!(settings.dns_unlisted, UNLISTED_NXDOMAIN);
    assert_eq!((settings.ttl_min, settings.ttl_max, settings.ttl_grace), (60, 86_400, 30));
    assert_eq!((settings.allow_unlisted_clients, settings.to_gateway), (0, 0));
    assert_eq!(settings.icmp_echo, 1);
    assert_eq!((settings.root.globs, settings.root.below), (0, RuleMask::EMPTY));
    // A hundred in a second, and as many at once as in ten.
    let limit = Limit { interval: 10_000_000, window: 10_000_000_000 };
    assert_eq!((settings.limit_queries, settings.limit_flows), (limit, limit));
    assert_eq!((settings.zone_queries, settings.zone_flows), (limit, limit));

    let text = "\
interfaces: [{name: eth1}]
clients: [{name: a, networks: [10.0.0.0/8], services: [core, every]}]
dns: {resolvers: [10.0.0.1], unlisted: forward, ttl: {min: 1s, max: 2s, grace: 0s}}
unlisted_clients: allow
to_gateway: policy
icmp_echo: false
limits: {queries: off, flows: {rate: 2, burst: 3}}
services: [{id: every, allow_broad: true, fqdns: ['*', 'printer*'], tcp: [1]}]
";
    let mut config = Config::parse("config.yaml", text).unwrap();
    let compiled = policy(&config);
    let settings = compiled.settings;
    assert_eq!(settings.dns_unlisted, UNLISTED_FORWARD);
    assert_eq!((settings.ttl_min, settings.ttl_max, settings.ttl_grace), (1, 2, 0));
    assert_eq!((settings.allow_unlisted_clients, settings.to_gateway), (1, 1));
    assert_eq!(settings.icmp_echo, 0);
    assert_eq!(settings.limit_queries, Limit::default());
    let flows = Limit { interval: 500_000_000, window: 1_500_000_000 };
    assert_eq!(settings.limit_flows, flows);
    assert_eq!((settings.root.globs, settings.root.inner), (1, 0));
    assert_eq!(ids(&compiled, settings.root.below), ["every/site"]);
    let told: Vec<&str> = compiled.warnings.iter().map(|warning| warning.key.as_str()).collect();
    assert_eq!(told, ["dns.unlisted", "unlisted_clients"]);

    config.dns.unlisted = crate::config::DnsUnlisted::Drop;
    assert_eq!(policy(&config).settings.dns_unlisted, UNLISTED_DROP);
    config.dns.unlisted = crate::config::DnsUnlisted::Refuse;
    assert_eq!(policy(&config).settings.dns_unlisted, UNLISTED_REFUSE);
}

#[test]
fn answers_follow_the_configuration() {
    let mut config = config("[core]", "");
    let accepts =
        |config: &Config, address: &str| policy(config).accepts_answer(address.parse().unwrap());
    assert!(!accepts(&config, "10.30.0.10"));
    assert!(accepts(&config, "8.8.8.8"));
    config.dns.allow_private = vec!["10.30.0.0/16".parse().unwrap()];
    assert!(accepts(&config, "10.30.0.10"));
    assert!(!accepts(&config, "10.31.0.10"));
    assert!(!accepts(&config, "fd00::1"));
}

#[test]
fn names_behind_the_numbers() {
    let policy = policy(&config("[core]", ""));
    let rules = policy.rule_titles();
    let groups = policy.group_titles();
    assert_eq!((rules.len(), groups.len()), (192, 255));
    assert_eq!(name_of(&rules[0]), "core/core");
    assert_eq!(name_of(&rules[1]), "");
    assert_eq!(name_of(&groups[0]), "lan");
    assert_eq!(name_of(&info(&"\u{e9}".repeat(60))), "\u{e9}".repeat(48));
    assert_eq!(name_of(&info(&"a".repeat(96))), "a".repeat(96));
}

#[test]
fn link_local_sources_may_ask_what_some_group_of_their_zone_may() {
    let text = "\
interfaces: [{name: eth1, vlans: [20, 30]}]
clients:
  - {name: a, on: eth1.20, networks: [10.0.0.0/8, '::/0', 169.254.0.0/24], services: [core]}
  - {name: b, on: eth1.20, networks: [10.1.0.0/16], services: [regional]}
  - {name: c, on: eth1.30, networks: [0.0.0.0/0], services: [regional]}
dns: {resolvers: [10.0.0.1]}
";
    let policy = policy(&Config::parse("config.yaml", text).unwrap());
    let [a, b, c] = [0, 1, 2].map(|group| policy.groups[group].rules);
    assert!(!a.is_empty() && !c.is_empty() && !a.intersects(&c));
    for address in ["169.254.0.7", "169.254.9.9", "fe80::7", "febf::1"] {
        let link = |zone| policy.client(zone, address.parse().unwrap()).unwrap();
        assert_eq!(link(1).rules, a | b, "{address}");
        assert_eq!(link(2).rules, c, "{address}");
        assert_eq!((link(1).group, link(1).mode, link(1).flags), (255, MODE_ENFORCE, 0));
    }
    assert_eq!(policy.client(1, "fec0::1".parse().unwrap()).unwrap().group, 0);
    let warned = policy.warnings.iter().any(|error| error.key == "clients[0].networks[2]");
    assert!(warned, "{:?}", policy.warnings);
}

#[test]
fn what_is_on_link_comes_behind_every_prefix() {
    let text = "\
interfaces: [{name: eth1, vlans: [20, 30]}]
clients:
  - {name: a, on: eth1.20, networks: [on-link, 10.9.0.0/16], services: [core]}
  - {name: b, on: eth1.20, networks: [10.0.0.0/8], services: [regional]}
  - {name: c, on: eth1.30, networks: on-link, services: [regional]}
dns: {resolvers: [10.0.0.1]}
";
    let policy = policy(&Config::parse("config.yaml", text).unwrap());
    let found = |zone, address: &str| {
        let client = policy.client(zone, address.parse().unwrap()).unwrap();
        (client.group, client.flags & client_flags::ON_LINK != 0)
    };
    assert_eq!(found(1, "10.9.0.1"), (0, false));
    assert_eq!(found(1, "10.1.0.1"), (1, false));
    for address in ["11.0.0.1", "192.168.0.1", "2001:db8::1", "fd00::1"] {
        assert_eq!(found(1, address), (0, true), "{address}");
        assert_eq!(found(2, address), (2, true), "{address}");
    }
    for address in ["169.254.0.7", "fe80::7"] {
        assert_eq!(found(2, address), (255, false), "{address}");
    }
    assert!(policy.client(3, "11.0.0.1".parse().unwrap()).is_none());
}

#[test]
fn senders_that_no_router_forwards_are_warned_of() {
    let text = "clients: [{name: a, networks: [10.0.0.0/8], inbound: [{from: [10.9.0.0/16, 'fe80::/10'], \
                tcp: [22]}, {from: [169.254.0.0/16], tcp: [22]}]}]\ninterfaces: [{name: eth1}]\n\
                dns: {resolvers: [192.0.2.53]}\n";
    let warnings = policy(&Config::parse("config.yaml", text).unwrap()).warnings;
    let told: Vec<&str> = warnings.iter().map(|warning| warning.key.as_str()).collect();
    assert_eq!(told, ["clients[0].inbound[0].from[1]", "clients[0].inbound[1].from[0]"]);
    assert!(
        warnings.iter().all(|warning| warning.message.contains("lets nobody in")),
        "{warnings:?}"
    );
}

#[test]
fn ports_of_the_gateway_are_a_list() {
    let text = "to_gateway: {tcp: [22, '8000-8002'], udp: [161]}";
    let policy = policy(&config("[core]", text));
    let expected = [22, 8000, 8001, 8002, 1 << 16 | 161];
    assert_eq!((policy.settings.to_gateway, &policy.gateway_ports[..]), (2, &expected[..]));
}

#[test]
fn a_zone_has_what_an_address_has_unless_the_file_says_otherwise() {
    let settings = |text: &str| policy(&config("[core]", text)).settings;
    let same = settings("limits: {queries: {rate: 10, burst: 20}, flows: off}");
    assert_eq!(same.zone_queries, Limit { interval: 100_000_000, window: 2_000_000_000 });
    assert_eq!(same.zone_queries, same.limit_queries);
    assert_eq!(same.zone_flows, Limit::default());
    let own = settings("limits: {queries: off, zone: {queries: {rate: 1, burst: 2}, flows: off}}");
    assert_eq!(own.zone_queries, Limit { interval: 1_000_000_000, window: 2_000_000_000 });
    assert_eq!((own.limit_queries, own.zone_flows), (Limit::default(), Limit::default()));
}
