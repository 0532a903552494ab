//! The site that the tables are about: a gateway's interfaces, its configuration, who is who.

use std::net::IpAddr;

use anyhow::Result;
use intune_filter::{
    catalogue::Catalogue,
    config::Config,
    kernel::{Devices, ResolverDevices, Senders},
    policy::RuleBits,
};

use super::datagram::CLIENT_MAC;
use crate::namespace::Namespace;

/// An interface with an untagged zone and one of VLAN 20.
pub const LAN: &str = "eth1";
/// An interface with another zone.
pub const OTHER: &str = "eth2";
/// The interface towards everything else.
pub const WAN: &str = "eth0";
/// The VLAN id of [`LAN`]'s second zone.
pub const VLAN: u16 = 20;

/// Numbers that rules of the site have before any policy: in each word of a mask, its lowest and its
/// highest bit among them.
const RULES: [(&str, u8); 4] =
    [("core/web", 64), ("core/push", 191), ("time/ntp", 128), ("other/web", 63)];

const CATALOGUE: &str = "
services:
  - id: core
    title: Core
    source: {document: D, section: S}
    default: true
    rules:
      - id: web
        fqdns: [portal.core.example, '*.apps.core.example', 'part*.blob.example']
        cidrs: [198.51.100.0/24, '2001:db8:100::/48']
        tcp: [80, 443]
      - id: push
        fqdns: [push.core.example]
        cidrs: [198.51.101.0/24, '2001:db8:101::/48']
        tcp: [5223]
        udp: [5223]
  - id: time
    title: Time
    source: {document: D, section: S}
    default: true
    rules:
      - {id: ntp, fqdns: [time.example], cidrs: [198.51.102.0/24, '2001:db8:102::/48'], udp: [123]}
  - id: other
    title: Other
    source: {document: D, section: S}
    default: false
    rules:
      - {id: web, fqdns: [other.example], cidrs: [203.0.113.0/24, '2001:db8:200::/48'], tcp: [443]}
";

const CONFIG: &str = "
interfaces:
  - {name: eth1, vlans: [0, 20]}
  - {name: eth2}
clients:
  - name: lan
    on: eth1.0
    networks: [10.20.0.0/24, 'fd00:20::/64']
    services: [core, time]
    on_deny: drop
  - name: audited
    on: eth1.0
    networks: [10.20.1.0/24, 'fd00:20:0:1::/64']
    services: [core]
    mode: audit
  - name: exempt
    on: eth1.0
    networks: [10.20.2.0/24, 'fd00:20:0:2::/64']
    services: [core]
    mode: exempt
  - name: servers
    on: eth1.0
    networks: [10.20.3.0/24, 'fd00:20:0:3::/64']
    services: [core]
    inbound: allow
    on_deny: drop
  - name: rejected
    on: eth1.0
    networks: [10.20.4.0/24, 'fd00:20:0:4::/64']
    services: [core]
    on_deny: reject
  - name: tagged
    on: eth1.20
    networks: [10.21.0.0/24, 'fd00:21::/64']
    services: [core]
    on_deny: drop
  - name: others
    on: eth2
    networks: [10.22.0.0/24, 'fd00:22::/64']
    services: [other]
    on_deny: drop
dhcp_servers: [192.0.2.67, '2001:db8:53::67']
limits: {queries: off, flows: off}
";

const RESOLVERS: &str = "[10.20.0.1, 'fd00:20::1', 192.0.2.53, '2001:db8:53::53']";

/// Numbers of the rules, to be kept by whatever policy comes first.
///
/// # Panics
/// If a constant is none.
#[must_use]
pub fn rule_bits() -> RuleBits {
    RULES.map(|(id, bit)| (id.parse().expect("a constant"), bit)).into()
}

/// The catalogue of the tables.
#[must_use]
pub fn catalogue() -> Catalogue {
    Catalogue::parse([("catalogue.yaml", CATALOGUE)]).unwrap_or_else(|error| panic!("{error}"))
}

/// The configuration of the tables, with further keys of its `dns` and of its own.
#[must_use]
pub fn config(dns: &str, more: &str) -> Config {
    changed_config(dns, more, |text| text)
}

/// The configuration of [`config`] with its text changed.
#[must_use]
pub fn changed_config(dns: &str, more: &str, change: impl FnOnce(String) -> String) -> Config {
    let text = change(format!("{CONFIG}dns: {{resolvers: {RESOLVERS}{dns}}}\n{more}\n"));
    Config::parse("config.yaml", &text).unwrap_or_else(|errors| panic!("{errors}"))
}

/// The devices that zones send from: their own.
#[must_use]
pub fn senders(devices: &Devices) -> Senders {
    devices.iter().map(|(zone, device)| (*device, *zone)).collect()
}

/// The devices by which the answers of a configuration's resolvers come in, by their indices.
pub(super) fn resolver_devices(
    config: &Config,
    index: impl Fn(&str) -> Result<u32>,
) -> Result<ResolverDevices> {
    let resolvers = config.dns.resolvers.iter();
    let all =
        resolvers.flat_map(|resolver| resolver.via.iter().map(|name| (name, resolver.address)));
    all.map(|(name, address)| Ok((index(name)?, address))).collect()
}

/// Makes the gateway's interfaces, addresses and routes.
pub fn wire(gateway: &Namespace) -> Result<()> {
    gateway.sysctl("ipv6/conf/default/accept_dad", "0")?;
    gateway.sysctl("ipv4/ip_forward", "1")?;
    gateway.sysctl("ipv6/conf/all/forwarding", "1")?;
    gateway.ip(&[
        "link add eth1 type veth peer peer1",
        "link add eth2 type veth peer peer2",
        "link add eth0 type veth peer peer0",
        // In the place of a VLAN device, which not every kernel has.
        "link add eth1.20 type veth peer peer20",
    ])?;
    for peer in ["peer1", "peer2", "peer20"] {
        // Nothing is sent to the gateway but by tests.
        gateway.sysctl(&format!("ipv6/conf/{peer}/disable_ipv6"), "1")?;
    }
    gateway.ip(&[
        "link set eth0 up",
        "link set eth1 up",
        "link set eth2 up",
        "link set eth1.20 up",
        "link set peer0 up",
        "link set peer1 up",
        "link set peer2 up",
        "link set peer20 up",
        "address add 10.20.0.1/24 dev eth1",
        "address add fd00:20::1/64 dev eth1 nodad",
        "address add fe80::1/64 dev eth1 nodad",
        // Own addresses that the maps are not told of.
        "address add 10.20.99.1/24 dev eth1",
        "address add 169.254.0.1/16 dev eth1",
        "address add fd00:20:0:99::1/64 dev eth1 nodad",
        "address add 172.31.0.1/30 dev eth0",
        "address add fd00:31::1/64 dev eth0 nodad",
        "route add default via 172.31.0.2",
        "route add default via fd00:31::2",
        // Where the clients are.
        "route add 10.20.0.0/16 dev eth1",
        "route add fd00:20::/48 dev eth1",
        "route add 10.21.0.0/24 dev eth1.20",
        "route add fd00:21::/64 dev eth1.20",
        "route add 10.22.0.0/24 dev eth2",
        // Of layer 3: the EtherTypes of IPv4 and IPv6 are in the addresses.
        "route add 8.0.20.0/24 dev eth1",
        "route add 2001:db8:86dd:20::/64 dev eth1",
        "route add fd00:22::/64 dev eth2",
    ])?;
    let mac = CLIENT_MAC.map(|octet| format!("{octet:02x}")).join(":");
    let known = |(address, device): &(IpAddr, &str)| {
        format!("neigh add {address} lladdr {mac} nud permanent dev {device}")
    };
    gateway.ip(&neighbours().iter().map(known).collect::<Vec<_>>())
}

/// Clients that the gateway knows as neighbours, all of one hardware address, each with its device.
#[must_use]
pub fn neighbours() -> Vec<(IpAddr, &'static str)> {
    let both = Addresses::both();
    let of = |who: &Addresses| {
        [
            (who.client, LAN),
            (who.neighbour, LAN),
            (who.audited, LAN),
            (who.exempt, LAN),
            (who.server, LAN),
            (who.rejected, LAN),
            (who.tagged, VLAN_DEVICE),
            (who.other, OTHER),
        ]
    };
    both.iter().flat_map(of).collect()
}

/// The gateway's own device behind [`LAN`]'s second zone.
pub const VLAN_DEVICE: &str = "eth1.20";

/// Addresses of clients, servers and gateway in one address family.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    /// A client of the group `lan`.
    pub client: IpAddr,
    /// Another client of the group `lan`.
    pub neighbour: IpAddr,
    /// A client of the group `audited`.
    pub audited: IpAddr,
    /// A client of the group `exempt`.
    pub exempt: IpAddr,
    /// A client of the group `servers`, which lets packets in.
    pub server: IpAddr,
    /// A client of the group `rejected`, which is told of denials.
    pub rejected: IpAddr,
    /// A client of the group `tagged`.
    pub tagged: IpAddr,
    /// A client of the group `others`.
    pub other: IpAddr,
    /// A source in no group.
    pub unlisted: IpAddr,
    /// A host on the link that has no other address yet.
    pub link_local: IpAddr,
    /// A destination of core/web.
    pub web: IpAddr,
    /// A destination of core/push.
    pub push: IpAddr,
    /// A destination of time/ntp.
    pub ntp: IpAddr,
    /// A destination of other/web.
    pub foreign: IpAddr,
    /// A destination of no rule, which a DNS answer may teach.
    pub public: IpAddr,
    /// Another one.
    pub public2: IpAddr,
    /// The gateway, which is also a trusted resolver.
    pub gateway: IpAddr,
    /// The gateway, at an address that the maps are not told of.
    pub gateway_by_route: IpAddr,
    /// The gateway's link-local address.
    pub gateway_link_local: IpAddr,
    /// A trusted resolver beyond the gateway.
    pub resolver: IpAddr,
    /// A resolver that is not trusted.
    pub foreign_resolver: IpAddr,
    /// A DHCP server beyond the gateway.
    pub dhcp_server: IpAddr,
}

impl Addresses {
    /// The addresses of both families.
    #[must_use]
    pub fn both() -> [Self; 2] {
        [
            Self::of([
                "10.20.0.10",
                "10.20.0.11",
                "10.20.1.10",
                "10.20.2.10",
                "10.20.3.10",
                "10.20.4.10",
                "10.21.0.10",
                "10.22.0.10",
                "10.20.9.10",
                "169.254.7.7",
                "198.51.100.7",
                "198.51.101.7",
                "198.51.102.7",
                "203.0.113.7",
                "20.0.0.7",
                "20.0.0.8",
                "10.20.0.1",
                "10.20.99.1",
                "169.254.0.1",
                "192.0.2.53",
                "8.8.8.8",
                "192.0.2.67",
            ]),
            Self::of([
                "fd00:20::10",
                "fd00:20::11",
                "fd00:20:0:1::10",
                "fd00:20:0:2::10",
                "fd00:20:0:3::10",
                "fd00:20:0:4::10",
                "fd00:21::10",
                "fd00:22::10",
                "fd00:20:0:9::10",
                "fe80::10",
                "2001:db8:100::7",
                "2001:db8:101::7",
                "2001:db8:102::7",
                "2001:db8:200::7",
                "2a01:111::7",
                "2a01:111::8",
                "fd00:20::1",
                "fd00:20:0:99::1",
                "fe80::1",
                "2001:db8:53::53",
                "2001:4860:4860::8888",
                "2001:db8:53::67",
            ]),
        ]
    }

    fn of(texts: [&str; 22]) -> Self {
        let [
            client,
            neighbour,
            audited,
            exempt,
            server,
            rejected,
            tagged,
            other,
            unlisted,
            link_local,
            web,
            push,
            ntp,
            foreign,
            public,
            public2,
            gateway,
            gateway_by_route,
            gateway_link_local,
            resolver,
            foreign_resolver,
            dhcp_server,
        ] = texts.map(|text| text.parse().expect("a constant"));
        Self {
            client,
            neighbour,
            audited,
            exempt,
            server,
            rejected,
            tagged,
            other,
            unlisted,
            link_local,
            web,
            push,
            ntp,
            foreign,
            public,
            public2,
            gateway,
            gateway_by_route,
            gateway_link_local,
            resolver,
            foreign_resolver,
            dhcp_server,
        }
    }

    /// "IPv4" or "IPv6".
    #[must_use]
    pub const fn family(&self) -> &'static str {
        if self.client.is_ipv4() { "IPv4" } else { "IPv6" }
    }
}
