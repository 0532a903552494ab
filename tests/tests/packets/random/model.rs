//! The site, read by hand, and frames, read by another library: what may pass where nothing has
//! happened yet.

use std::net::{IpAddr, Ipv4Addr};

use etherparse::{LaxNetSlice, LaxSlicedPacket};
use intune_filter_ebpf::abi::Reason;
use intune_filter_tests::testrun::filter::Place;
use ipnet::IpNet;

const TCP: u8 = 6;
const UDP: u8 = 17;

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

const EXEMPT: [&str; 2] = ["10.20.2.0/24", "fd00:20:0:2::/64"];
const SERVERS: [&str; 2] = ["10.20.3.0/24", "fd00:20:0:3::/64"];
const RESOLVERS: [&str; 4] = ["10.20.0.1", "fd00:20::1", "192.0.2.53", "2001:db8:53::53"];
const DHCP_SERVERS: [&str; 2] = ["192.0.2.67", "2001:db8:53::67"];

/// What a frame says, as far as it matters here.
struct Reading {
    vlan: u16,
    source: IpAddr,
    destination: IpAddr,
    protocol: u8,
    payload: Vec<u8>,
    /// Whether it is a fragment other than a first one.
    is_later: bool,
}

impl Reading {
    fn of(frame: &[u8]) -> Option<Self> {
        // The library takes this type for a tag's; to Linux it is unknown.
        const FOREIGN_TAG: [u8; 2] = [0x91, 0];
        let is_tagged = matches!(frame.get(12..14)?, [0x81, 0] | [0x88, 0xa8]);
        if frame.get(if is_tagged { 16..18 } else { 12..14 })? == FOREIGN_TAG {
            return None;
        }
        let packet = LaxSlicedPacket::from_ethernet(frame).ok()?;
        let vlan = packet.vlan_ids().first().map_or(0, |id| id.value());
        match packet.net? {
            LaxNetSlice::Ipv4(ip) => Some(Self {
                vlan,
                source: ip.header().source_addr().into(),
                destination: ip.header().destination_addr().into(),
                protocol: ip.payload().ip_number.0,
                payload: ip.payload().payload.to_vec(),
                is_later: ip.header().fragments_offset().value() != 0,
            }),
            LaxNetSlice::Ipv6(ip) => {
                let header = ip.header();
                let behind = frame.windows(40).position(|window| window == header.slice())? + 40;
                let payload = frame.get(behind..)?;
                let payload = payload.get(..header.payload_length().into()).unwrap_or(payload);
                let (protocol, payload, is_later) =
                    behind_extensions(header.next_header().0, payload)?;
                Some(Self {
                    vlan,
                    source: header.source_addr().into(),
                    destination: header.destination_addr().into(),
                    protocol,
                    payload: payload.to_vec(),
                    is_later,
                })
            }
            LaxNetSlice::Arp(_) => None,
        }
    }

    fn port(&self) -> Option<u16> {
        Some(u16::from_be_bytes(*self.payload.get(2..)?.first_chunk()?))
    }
}

/// Where a frame goes, if it is one with an IP header.
pub fn destination(frame: &[u8]) -> Option<IpAddr> {
    Some(Reading::of(frame)?.destination)
}

/// Whether a frame may pass for this reason where no flow is known and nothing was learned.
pub fn may_pass(place: Place, frame: &[u8], reason: Reason) -> bool {
    match reason {
        Reason::Unmanaged => return true,
        // Another protocol than IP, or to where a router never forwards.
        Reason::Link => {
            return Reading::of(frame).is_none_or(|reading| {
                is_gateways(reading.destination) || reading.is_to_dhcp_server()
            });
        }
        Reason::GatewaySent => return matches!(place, Place::EgressOfGateway(_)),
        _ => {}
    }
    let Some(reading) = Reading::of(frame) else { return false };
    match (place, reason) {
        (Place::Ingress(interface), Reason::Policy) => reading.is_allowed(interface),
        (Place::Ingress("eth1"), Reason::Exempt) => within(&EXEMPT, reading.source),
        (Place::Ingress(_), Reason::Gateway) => is_gateways(reading.destination),
        (Place::Ingress(_), Reason::DnsQuery) => {
            matches!(reading.protocol, UDP | TCP)
                && !reading.is_later
                && reading.port() == Some(53)
                && RESOLVERS.iter().any(|resolver| reading.destination == address(resolver))
        }
        (Place::Egress("eth1"), Reason::Exempt) => within(&EXEMPT, reading.destination),
        (Place::Egress("eth1"), Reason::Inbound) => within(&SERVERS, reading.destination),
        _ => false,
    }
}

impl Reading {
    fn is_to_dhcp_server(&self) -> bool {
        self.protocol == UDP
            && matches!(self.port(), Some(67 | 547))
            && DHCP_SERVERS.iter().any(|server| self.destination == address(server))
    }

    fn is_allowed(&self, interface: &str) -> bool {
        let group = GROUPS.iter().find(|group| {
            group.interface == interface
                && group.vlan == self.vlan
                && within(&group.sources, self.source)
        });
        let Some(group) = group.filter(|_| !self.is_later) else { return false };
        let echo = match self.source {
            IpAddr::V4(_) => self.protocol == 1 && self.payload.first() == Some(&8),
            IpAddr::V6(_) => self.protocol == 58 && self.payload.first() == Some(&128),
        };
        RULES.iter().any(|rule| {
            let has = |ports: &[u16]| self.port().is_some_and(|port| ports.contains(&port));
            group.rules.contains(rule.letter)
                && within(&rule.networks, self.destination)
                && (echo
                    || (self.protocol == TCP && has(rule.tcp))
                    || (self.protocol == UDP && has(rule.udp)))
        })
    }
}

/// What stands behind IPv6 extension headers, and whether it is a later fragment's
/// (RFC 8200, section 4; RFC 4302; the headers of RFC 6275, 7401 and 5533 look alike).
fn behind_extensions(mut next: u8, mut payload: &[u8]) -> Option<(u8, &[u8], bool)> {
    loop {
        let octets = |unit: usize, more: usize| Some((usize::from(*payload.get(1)?) + more) * unit);
        let length = match next {
            0 | 43 | 60 | 135 | 139 | 140 => octets(8, 1)?,
            51 => octets(4, 2)?,
            44 => 8,
            _ => return Some((next, payload, false)),
        };
        let is_later_fragment =
            next == 44 && u16::from_be_bytes(*payload.get(2..)?.first_chunk()?) >> 3 != 0;
        next = *payload.first()?;
        payload = payload.get(length..)?;
        if is_later_fragment {
            // No header begins here, whatever the next one is called.
            return Some((next, payload, true));
        }
    }
}

fn within(networks: &[&str], address: IpAddr) -> bool {
    networks.iter().any(|network| network.parse::<IpNet>().expect("a constant").contains(&address))
}

fn address(text: &str) -> IpAddr {
    text.parse().expect("a constant")
}

/// Whether it is an address that only the gateway itself, or nobody, answers for: its own, those
/// of its loopback, the broadcasts of its networks, and whatever is not forwarded at all.
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
