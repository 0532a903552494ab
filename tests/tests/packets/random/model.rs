//! The site, read by hand: who may send what where, and who may ask for which names, by each of the
//! two policies that take turns.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;

use super::reading::{Flow, Reading, TCP, UDP};

/// Whose packets may reach what.
struct Group {
    interface: &'static str,
    vlan: u16,
    sources: [&'static str; 2],
    /// The rules' letters.
    rules: &'static str,
}

const fn group(
    interface: &'static str,
    vlan: u16,
    sources: [&'static str; 2],
    rules: &'static str,
) -> Group {
    Group { interface, vlan, sources, rules }
}

const GROUPS: [Group; 7] = [
    group("eth1", 0, ["10.20.0.0/24", "fd00:20::/64"], "wpt"),
    group("eth1", 0, ["10.20.1.0/24", "fd00:20:0:1::/64"], "wp"),
    group("eth1", 0, ["10.20.2.0/24", "fd00:20:0:2::/64"], "wp"),
    group("eth1", 0, ["10.20.3.0/24", "fd00:20:0:3::/64"], "wp"),
    group("eth1", 0, ["10.20.4.0/24", "fd00:20:0:4::/64"], "wp"),
    group("eth1", 20, ["10.21.0.0/24", "fd00:21::/64"], "wp"),
    group("eth2", 0, ["10.22.0.0/24", "fd00:22::/64"], "o"),
];

struct Rule {
    letter: char,
    networks: [&'static str; 2],
    tcp: &'static [u16],
    udp: &'static [u16],
}

const RULES: [Rule; 4] = [
    Rule {
        letter: 'w',
        networks: ["198.51.100.0/24", "2001:db8:100::/48"],
        tcp: &[80, 443],
        udp: &[],
    },
    Rule {
        letter: 'p',
        networks: ["198.51.101.0/24", "2001:db8:101::/48"],
        tcp: &[5223],
        udp: &[5223],
    },
    Rule { letter: 't', networks: ["198.51.102.0/24", "2001:db8:102::/48"], tcp: &[], udp: &[123] },
    Rule { letter: 'o', networks: ["203.0.113.0/24", "2001:db8:200::/48"], tcp: &[443], udp: &[] },
];

/// Rule by which hosts reach the clients of a group.
struct InboundRule {
    /// Interface and VLAN of the group.
    zone: (&'static str, u16),
    clients: [&'static str; 2],
    /// Policies that have it.
    policies: Policies,
    rule: Rule,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Policies {
    Both,
    First,
    Second,
}

const REJECTED: [&str; 2] = ["10.20.4.0/24", "fd00:20:0:4::/64"];
const TAGGED: [&str; 2] = ["10.21.0.0/24", "fd00:21::/64"];
const NEAR: [&str; 2] = ["20.0.0.0/24", "2a01:111::/64"];
const RANGE: [u16; 10] = [7000, 7001, 7002, 7003, 7004, 7005, 7006, 7007, 7008, 7009];

/// Those of services, and those with networks and ports of their own.
const INBOUND: [InboundRule; 7] = [
    inbound("eth1", 0, REJECTED, Policies::Both, of_service(3)),
    inbound("eth1", 0, REJECTED, Policies::Second, of_service(0)),
    inbound("eth1", 0, REJECTED, Policies::Second, of_service(1)),
    inbound("eth1", 0, REJECTED, Policies::Both, own(&[22], &[])),
    inbound("eth1", 0, REJECTED, Policies::First, own(&[], &RANGE)),
    inbound("eth1", 20, TAGGED, Policies::First, of_service(0)),
    inbound("eth1", 20, TAGGED, Policies::First, of_service(1)),
];

const fn inbound(
    interface: &'static str,
    vlan: u16,
    clients: [&'static str; 2],
    policies: Policies,
    rule: Rule,
) -> InboundRule {
    InboundRule { zone: (interface, vlan), clients, policies, rule }
}

const fn of_service(number: usize) -> Rule {
    let Rule { letter, networks, tcp, udp } = RULES[number];
    Rule { letter, networks, tcp, udp }
}

const fn own(tcp: &'static [u16], udp: &'static [u16]) -> Rule {
    Rule { letter: 'i', networks: NEAR, tcp, udp }
}

const AUDITED: [&str; 2] = ["10.20.1.0/24", "fd00:20:0:1::/64"];
const EXEMPT: [&str; 2] = ["10.20.2.0/24", "fd00:20:0:2::/64"];
const SERVERS: [&str; 2] = ["10.20.3.0/24", "fd00:20:0:3::/64"];
const RESOLVERS: [&str; 4] = ["10.20.0.1", "fd00:20::1", "192.0.2.53", "2001:db8:53::53"];
const DHCP_SERVERS: [&str; 2] = ["192.0.2.67", "2001:db8:53::67"];

/// Destination of a frame, if it has an IP header.
pub fn destination(frame: &[u8]) -> Option<IpAddr> {
    Some(Reading::of(frame)?.destination)
}

/// Source of a frame, if it has an IP header.
pub fn source(frame: &[u8]) -> Option<IpAddr> {
    Some(Reading::of(frame)?.source)
}

/// Whether an interface has a zone for a VLAN.
pub fn has_zone(interface: &str, vlan: u16) -> bool {
    vlan == 0 || interface == "eth1" && vlan == 20
}

/// Whether frames of a VLAN pass unjudged: the second policy denies the tags of no zone.
pub fn is_unmanaged(second: bool, interface: &str, vlan: u16) -> bool {
    !second && !has_zone(interface, vlan)
}

/// Whether frames of a VLAN are denied for it.
pub fn is_other(second: bool, interface: &str, vlan: u16) -> bool {
    second && !has_zone(interface, vlan)
}

/// Whether a group's packets pass whatever they are.
pub fn is_exempt(interface: &str, vlan: u16, client: IpAddr) -> bool {
    (interface, vlan) == ("eth1", 0) && within(&EXEMPT, client)
}

/// Whether a group is audited: the second policy audits no group.
pub fn is_audited(second: bool, interface: &str, vlan: u16, client: IpAddr) -> bool {
    !second && (interface, vlan) == ("eth1", 0) && within(&AUDITED, client)
}

/// Whether a group lets packets in that answer nothing.
pub fn is_server(interface: &str, vlan: u16, client: IpAddr) -> bool {
    (interface, vlan) == ("eth1", 0) && within(&SERVERS, client)
}

/// Whether it is a resolver that may be asked.
pub fn is_resolver(address: IpAddr) -> bool {
    RESOLVERS.contains(&address.to_string().as_str())
}

/// The letters of a client's rules.
fn letters(second: bool, interface: &str, vlan: u16, client: IpAddr) -> &'static str {
    let group = GROUPS.iter().position(|group| {
        group.interface == interface && group.vlan == vlan && within(&group.sources, client)
    });
    match group {
        Some(0) if second => "to",
        Some(group) => GROUPS[group].rules,
        None => "",
    }
}

/// Whether a rule lets a host reach a port of a client, if `sends` says that the host is one that may send
/// by networks.
pub fn is_let_in(
    second: bool,
    zone: (&str, u16),
    client: IpAddr,
    (protocol, port): (u8, u16),
    sends: impl Fn(&[&str; 2]) -> bool,
) -> bool {
    let other = if second { Policies::First } else { Policies::Second };
    INBOUND.iter().any(|inbound| {
        let ports = match protocol {
            TCP => inbound.rule.tcp,
            UDP => inbound.rule.udp,
            _ => &[],
        };
        inbound.zone == zone
            && within(&inbound.clients, client)
            && inbound.policies != other
            && ports.contains(&port)
            && sends(&inbound.rule.networks)
    })
}

/// Whether the policy lets a flow go on that its remote has opened under another one.
pub fn is_let_in_still(second: bool, interface: &str, flow: &Flow) -> bool {
    let zone = (interface, flow.vlan);
    is_exempt(interface, flow.vlan, flow.client)
        || is_server(interface, flow.vlan, flow.client)
        // The rule is asked, and not its networks: the address may have been a name's.
        || is_let_in(second, zone, flow.client, (flow.protocol, flow.client_port), |_| true)
}

/// Whether the policy lets a flow go on that another one has opened.
pub fn may_go_on(second: bool, interface: &str, flow: &Flow) -> bool {
    let (vlan, client) = (flow.vlan, flow.client);
    let ports = |rule: &Rule| match flow.protocol {
        TCP => rule.tcp.contains(&flow.remote_port),
        UDP => rule.udp.contains(&flow.remote_port),
        _ => true,
    };
    let letters = letters(second, interface, vlan, client);
    is_exempt(interface, vlan, client)
        || is_audited(second, interface, vlan, client)
        || is_server(interface, vlan, client)
        || RULES.iter().any(|rule| letters.contains(rule.letter) && ports(rule))
}

/// Whether a client may ask for a name. A host of the link may ask for what any group of its zone may.
pub fn may_ask(second: bool, interface: &str, vlan: u16, client: IpAddr, name: &str) -> bool {
    let link_local = match client {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    let letters = match (link_local, interface, vlan) {
        (false, ..) => letters(second, interface, vlan, client),
        (true, "eth1", 0) if second => "wpto",
        (true, "eth1", 0) => "wpt",
        (true, "eth1", _) => "wp",
        (true, ..) => "o",
    };
    let name = name.to_ascii_lowercase();
    let is_part = name
        .strip_suffix(".blob.example")
        .is_some_and(|label| label.starts_with("part") && !label.contains('.'));
    let letter = match name.as_str() {
        "portal.core.example" => 'w',
        "push.core.example" => 'p',
        "time.example" => 't',
        "other.example" => 'o',
        _ if is_part || name.ends_with(".apps.core.example") => 'w',
        _ => return false,
    };
    letters.contains(letter)
}

impl Reading {
    /// Whether it is for a DHCP server of the configuration's.
    pub fn is_to_dhcp_server(&self) -> bool {
        self.protocol == UDP
            && matches!(self.port(), Some(67 | 547))
            && DHCP_SERVERS.iter().any(|server| self.destination == address(server))
    }

    /// Whether it may pass for one of the sender's rules, whose networks `is_in` knows.
    pub fn is_allowed(
        &self,
        second: bool,
        interface: &str,
        is_in: impl Fn(&[&str; 2], IpAddr) -> bool,
    ) -> bool {
        let letters = letters(second, interface, self.vlan, self.source);
        let echo = match self.source {
            IpAddr::V4(_) => self.protocol == 1 && self.payload.first() == Some(&8),
            IpAddr::V6(_) => self.protocol == 58 && self.payload.first() == Some(&128),
        };
        !self.is_later()
            && RULES.iter().any(|rule| {
                let has = |ports: &[u16]| self.port().is_some_and(|port| ports.contains(&port));
                letters.contains(rule.letter)
                    && is_in(&rule.networks, self.destination)
                    && (echo
                        || (self.protocol == TCP && has(rule.tcp))
                        || (self.protocol == UDP && has(rule.udp)))
            })
    }
}

/// Whether one of the networks has the address.
pub fn within(networks: &[&str], address: IpAddr) -> bool {
    networks.iter().any(|network| network.parse::<IpNet>().expect("a constant").contains(&address))
}

fn address(text: &str) -> IpAddr {
    text.parse().expect("a constant")
}

/// Whether an address is the gateway's or no host's: its own, those of its loopback, the broadcasts
/// of its networks, and addresses that are not forwarded at all.
pub fn is_gateways(address: IpAddr) -> bool {
    const OWN: [&str; 9] = [
        "10.20.0.1/32",
        "10.20.99.1/32",
        "169.254.0.1/32",
        "172.31.0.1/32",
        "127.0.0.0/8",
        "fd00:20::1/128",
        "fd00:20:0:99::1/128",
        "fd00:31::1/128",
        "::1/128",
    ];
    const BROADCASTS: [Ipv4Addr; 4] = [
        Ipv4Addr::new(10, 20, 0, 255),
        Ipv4Addr::new(10, 20, 99, 255),
        Ipv4Addr::new(169, 254, 255, 255),
        Ipv4Addr::new(172, 31, 0, 3),
    ];
    within(&OWN, address)
        || match address {
            IpAddr::V4(v4) => {
                BROADCASTS.contains(&v4)
                    || v4.is_unspecified()
                    || v4.is_broadcast()
                    || v4.is_multicast()
            }
            IpAddr::V6(v6) => {
                v6.is_unicast_link_local()
                    || v6.is_unspecified()
                    || v6.is_multicast()
                    // Addresses of the subnets' routers, which Linux answers for (RFC 4291, 2.6.1).
                    || v6.octets()[8..] == [0; 8]
            }
        }
}
