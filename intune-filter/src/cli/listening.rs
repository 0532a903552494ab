//! Lists the sockets that listen on the gateway's addresses and that `to_gateway` lets clients
//! reach.

use std::{
    collections::BTreeSet,
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use intune_filter_ebpf::abi::TransportProtocol;

use crate::{
    config::{Config, Reached, ToGateway},
    daemon::interfaces::{
        EnforcedInterface,
        devices::{devices_of, own_addresses},
    },
    kernel::WantedMode,
    system::netlink::Snapshot,
};

/// Ports of DNS: queries to resolvers are judged one by one, and other DNS servers are denied.
const DNS: [u16; 2] = [53, 853];

/// Socket that accepts packets from any sender.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Listening {
    protocol: TransportProtocol,
    port: u16,
    address: IpAddr,
}

/// Returns the listening sockets that the clients of each zone reach.
pub(super) fn of_zones(config: &Config, snapshot: &Snapshot) -> Vec<Reached> {
    if config.to_gateway == ToGateway::Policy {
        return Vec::new();
    }
    let mut listening = BTreeSet::new();
    for protocol in TransportProtocol::ALL {
        for name in files(protocol) {
            // Without IPv6 there is no such file.
            let text = fs::read_to_string(format!("/proc/self/net/{name}")).unwrap_or_default();
            listening.extend(text.lines().skip(1).filter_map(|line| read(line, protocol)));
        }
    }
    reached(config, snapshot, &listening)
}

/// The kernel's tables of a protocol's sockets.
const fn files(protocol: TransportProtocol) -> &'static [&'static str] {
    match protocol {
        TransportProtocol::Tcp => &["tcp", "tcp6"],
        TransportProtocol::Udp => &["udp", "udp6"],
    }
}

fn reached(config: &Config, snapshot: &Snapshot, listening: &BTreeSet<Listening>) -> Vec<Reached> {
    let devices = devices_of(&wanted(config), snapshot);
    let own = own_addresses(snapshot);
    let mut zones = Vec::new();
    for zone in config.zones() {
        let Some(device) = devices.get(&zone.number) else { continue };
        let is_reached = |socket: &&Listening| {
            let here = socket.address.is_unspecified() || own.contains(&(*device, socket.address));
            here && !DNS.contains(&socket.port)
                && config.to_gateway.lets_in(socket.protocol, socket.port)
        };
        let sockets: Vec<String> = listening.iter().filter(is_reached).map(text).collect();
        if !sockets.is_empty() {
            zones.push(Reached { zone: zone.to_string(), sockets });
        }
    }
    zones
}

/// Returns the interfaces with their zones, in any mode.
fn wanted(config: &Config) -> Vec<EnforcedInterface> {
    let zones = config.zones();
    let of = |name: &str| {
        let of_interface = zones.iter().filter(|zone| zone.interface == name);
        of_interface.map(|zone| (zone.vlan, zone.number)).collect()
    };
    let interfaces = config.interfaces.iter();
    interfaces
        .map(|interface| EnforcedInterface {
            name: interface.name.clone(),
            mode: WantedMode::Auto,
            zones: of(&interface.name),
            manage_offloads: config.manage_offloads,
            denies_other_vlans: false,
            at_layer3: Vec::new(),
            on_bond: None,
        })
        .collect()
}

fn text(socket: &Listening) -> String {
    let protocol = socket.protocol.as_str();
    let address = match socket.address {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => format!("[{v6}]"),
    };
    format!("{protocol} {address}:{}", socket.port)
}

/// Reads a line such as `0: 0100007F:0016 00000000:0000 0A ...`: addresses are words in the byte
/// order of the host.
fn read(line: &str, protocol: TransportProtocol) -> Option<Listening> {
    /// TCP_LISTEN.
    const LISTENS: &str = "0A";
    /// State TCP_CLOSE, of a UDP socket that is not connected.
    const UNCONNECTED: &str = "07";
    let mut words = line.split_whitespace().skip(1);
    let (address, port) = words.next()?.split_once(':')?;
    let state = words.nth(1)?;
    let takes = match protocol {
        TransportProtocol::Tcp => LISTENS,
        TransportProtocol::Udp => UNCONNECTED,
    };
    if state != takes {
        return None;
    }
    let mut octets = Vec::new();
    for at in (0..address.len()).step_by(8) {
        octets.extend(u32::from_str_radix(address.get(at..at + 8)?, 16).ok()?.to_ne_bytes());
    }
    let address = match octets.len() {
        4 => IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(octets).ok()?)),
        16 => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(octets).ok()?)).to_canonical(),
        _ => return None,
    };
    Some(Listening { protocol, port: u16::from_str_radix(port, 16).ok()?, address })
}

#[cfg(test)]
mod tests {
    use TransportProtocol::{Tcp, Udp};

    use super::*;
    use crate::system::Interface;

    const TCP: &str = "   0: 0100140A:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000";
    const ESTABLISHED: &str = "   1: 0100140A:0016 0A00140A:9C40 01 00000000:00000000 00:00000000";
    const ANY: &str = "   2: 00000000000000000000000000000000:0050 \
                       00000000000000000000000000000000:0000 0A 00000000:00000000";
    const UDP: &str = "   3: 01001FAC:00A1 00000000:0000 07 00000000:00000000 00:00000000 00000000";

    #[test]
    fn lines_of_the_kernels_tables_are_read() {
        let read = |line, protocol| read(line, protocol).map(|socket| text(&socket));
        assert_eq!(read(TCP, Tcp).as_deref(), Some("tcp 10.20.0.1:22"));
        assert_eq!(read(ANY, Tcp).as_deref(), Some("tcp [::]:80"));
        assert_eq!(read(UDP, Udp).as_deref(), Some("udp 172.31.0.1:161"));
        assert_eq!((read(ESTABLISHED, Tcp), read("", Udp), read("0: x", Udp)), (None, None, None));
    }

    #[test]
    fn a_zone_reaches_what_listens_on_its_addresses_and_on_all() {
        let config = |to_gateway: &str| {
            let text = format!(
                "interfaces: [{{name: eth1}}]\nclients: [{{name: a, networks: [10.20.0.0/24]}}]\n\
                 dns: {{resolvers: [10.20.0.1]}}\nto_gateway: {to_gateway}\n"
            );
            Config::parse("config.yaml", &text).unwrap()
        };
        let interface = Interface::bare;
        let snapshot = Snapshot {
            interfaces: vec![interface("eth0", 2), interface("eth1", 3)],
            networks: vec![
                (2, "172.31.0.1/30".parse().unwrap()),
                (3, "10.20.0.1/24".parse().unwrap()),
            ],
            ..Snapshot::default()
        };
        let listening = [(TCP, Tcp), (ANY, Tcp), (UDP, Udp)];
        let listening =
            listening.iter().filter_map(|(line, protocol)| read(line, *protocol)).collect();
        let reached = |to_gateway| reached(&config(to_gateway), &snapshot, &listening);
        let on_eth1 = |sockets: &[&str]| {
            let sockets = sockets.iter().map(ToString::to_string).collect();
            [Reached { zone: "eth1".into(), sockets }]
        };
        assert_eq!(reached("pass"), on_eth1(&["tcp 10.20.0.1:22", "tcp [::]:80"]));
        assert_eq!(reached("{tcp: [80]}"), on_eth1(&["tcp [::]:80"]));
        assert!(reached("{udp: [161]}").is_empty() && reached("policy").is_empty());
    }
}
