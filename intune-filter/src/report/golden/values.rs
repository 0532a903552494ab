//! Provides values that several shapes contain.

use std::{fmt::Debug, net::IpAddr, str::FromStr};

use intune_filter_ebpf::abi::TransportProtocol;
use jiff::Timestamp;

use crate::{
    config::Config,
    events::{Denied, Flow, Traffic, ZoneName},
    policy::{Difference, Grant, Leaf, Setting},
    ports::PerProtocol,
};

/// Configuration with every key, none at its default.
const EVERYTHING: &str = r#"
interfaces: [{name: eth1, mode: tc, vlans: [0, 20]}]
unlisted_clients: allow
other_vlans: deny
to_gateway: {tcp: [22], udp: [53, "60000-60009"]}
boot: closed
warm_up: 90s
icmp_echo: false
manage_offloads: false
clients:
- name: devices
  on: eth1.20
  networks: [10.0.0.0/24, "fd00::/64"]
  services: [site]
  mode: audit
  on_deny: drop
  inbound: allow
  devices_per_address: 7
dns:
  resolvers: [10.0.0.1, "fd00::1"]
  unlisted: forward
  resolve: false
  allow_private: [198.18.0.0/15]
  ttl: {min: 61s, max: 36h, grace: 0s}
region: europe
edition: 2023-09
cloud: china
domains: [contoso.com]
country: [de, co.uk]
catalogue: {legacy: true, observed: [autopilot]}
services:
- {id: site, title: The site, allow_broad: true, fqdns: ["*.a.test"], tcp: [80, "90-99"]}
- id: two
  rules:
  - {id: one, cidrs: [192.0.2.0/24], udp: [53]}
  - {id: two, fqdns: [b.test], tcp: [1-65535]}
limits: {queries: off, flows: {rate: 3, burst: 4}}
dhcp_servers: [10.9.9.9]
nat64: ["64:ff9b::/96"]
metrics: {listen: off}
paths: {catalogue: /a/catalogue}
"#;

/// Configuration with the required keys alone.
const LEAST: &str = "
interfaces: [{name: lan}]
clients: [{name: all, networks: [10.0.0.0/24]}]
dns: {resolvers: [10.0.0.1]}
";

fn config(text: &str) -> Config {
    Config::parse("test", text).unwrap()
}

pub fn full_config() -> Config {
    config(EVERYTHING)
}

pub fn least_config() -> Config {
    config(LEAST)
}

pub fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub fn time() -> Timestamp {
    "2026-08-21T12:34:56Z".parse().unwrap()
}

pub fn place() -> ZoneName {
    ZoneName { interface: Some("eth1".into()), vlan: 20 }
}

pub fn traffic() -> Traffic {
    Traffic { packets_out: 1, bytes_out: 60, packets_in: 2, bytes_in: 3000 }
}

pub fn full_flow() -> Flow {
    Flow {
        client: address("10.20.0.10"),
        client_port: 50_000,
        destination: address("192.0.2.1"),
        protocol: "tcp".into(),
        port: Some(443),
        name: Some("a.example".into()),
        service: Some("web".into()),
        group: Some("devices".into()),
        audited: true,
        inbound: true,
        place: place(),
    }
}

pub fn sparse_flow() -> Flow {
    Flow {
        client: address("fd00::10"),
        client_port: 0,
        destination: address("2001:db8::1"),
        protocol: "icmpv6".into(),
        port: None,
        name: None,
        service: None,
        group: None,
        audited: false,
        inbound: false,
        place: ZoneName::default(),
    }
}

pub fn full_denial() -> Denied {
    Denied {
        client: Some(address("10.20.0.10")),
        destination: Some(address("192.0.2.9")),
        protocol: "tcp".into(),
        port: Some(22),
        client_port: Some(50_001),
        reason: "port".into(),
        name: Some("a.example".into()),
        qtype: Some("HTTPS".into()),
        service: Some("web".into()),
        group: Some("devices".into()),
        audited: true,
        inbound: true,
        place: place(),
    }
}

/// Ports of TCP and UDP.
pub fn ports<P, T>(tcp: &[&str], udp: &[&str]) -> PerProtocol<T>
where
    P: FromStr<Err: Debug>,
    T: FromIterator<P> + Default,
{
    let read = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
    let mut ports = PerProtocol::from_fn(|_| T::default());
    ports[TransportProtocol::Tcp] = read(tcp);
    ports[TransportProtocol::Udp] = read(udp);
    ports
}

pub fn full_difference() -> Difference {
    let grant = |group: &str, clients: Option<&str>, destination: &str, tcp: &[&str]| Grant {
        group: group.into(),
        clients: clients.map(str::to_owned),
        destination: destination.into(),
        ports: ports(tcp, &["123"]),
    };
    let setting = |key: &str, from, to| Setting { key: key.into(), from, to };
    Difference {
        opens: vec![grant("devices", None, "*.a.test", &["80", "90-99"])],
        closes: vec![grant("guests", Some("10.0.0.0/24 on eth1.20"), "any", &[])],
        settings: vec![
            setting("region", Leaf::Nothing, Leaf::Text("europe".into())),
            setting("icmp_echo", Leaf::Flag(true), Leaf::Flag(false)),
            setting("limits.flows.rate", Leaf::Number(100), Leaf::Number(3)),
            setting(
                "dns.resolvers",
                Leaf::List(vec![Leaf::Text("10.0.0.1".into())]),
                Leaf::List(Vec::new()),
            ),
        ],
    }
}
