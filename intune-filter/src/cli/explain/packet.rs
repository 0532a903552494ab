//! Builds the first packet of a connection for a test run.

use std::net::IpAddr;

use anyhow::{Result, bail};
use etherparse::{
    IpHeaders, IpNumber, Ipv4Extensions, Ipv4Header, Ipv6Extensions, Ipv6Header, PacketBuilder,
    VlanId,
};
use intune_filter_ebpf::abi::TransportProtocol;

use crate::{cli::destination::Protocol, names::resolution::Kind};

/// Source port that no flow of a client is likely to have.
const SOURCE_PORT: u16 = 50_505;

/// Name in a query to a resolver, from the catalogue.
pub(super) const QUERY_NAME: &str = "manage.microsoft.com";

const HOP_LIMIT: u8 = 64;
const GATEWAY_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];

/// Hardware address of a client whose own is not known.
pub(super) const UNKNOWN_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

/// Way of a packet: from a client to a destination.
#[derive(Clone, Copy, Debug)]
pub(super) struct Path {
    /// VLAN tag, 0 for none.
    pub vlan: u16,
    /// Hardware address of the client.
    pub mac: [u8; 6],
    /// Address of the client.
    pub client: IpAddr,
    /// Address of the destination.
    pub destination: IpAddr,
}

/// Returns the Ethernet frame with which a client would open a connection.
pub(super) fn first_packet(path: &Path, port: u16, protocol: Protocol) -> Result<Vec<u8>> {
    let name = if port == 53 && protocol == Protocol::UDP { QUERY_NAME } else { "" };
    let query = query(name, Kind::A);
    packet(path, port, protocol, if name.is_empty() { &[] } else { &query })
}

/// Returns the frame of a query for a name.
pub(super) fn query_packet(path: &Path, name: &str, kind: Kind) -> Result<Vec<u8>> {
    packet(path, 53, Protocol::UDP, &query(name, kind))
}

fn packet(path: &Path, port: u16, protocol: Protocol, payload: &[u8]) -> Result<Vec<u8>> {
    let Path { vlan, mac, client, destination } = *path;
    let ip = match (client, destination) {
        (IpAddr::V4(client), IpAddr::V4(destination)) => IpHeaders::Ipv4(
            Ipv4Header::new(0, HOP_LIMIT, IpNumber::TCP, client.octets(), destination.octets())?,
            Ipv4Extensions::default(),
        ),
        (IpAddr::V6(client), IpAddr::V6(destination)) => IpHeaders::Ipv6(
            Ipv6Header {
                hop_limit: HOP_LIMIT,
                source: client.octets(),
                destination: destination.octets(),
                ..Ipv6Header::default()
            },
            Ipv6Extensions::default(),
        ),
        _ => bail!("{client} and {destination} are not of one address family"),
    };
    let ethernet = PacketBuilder::ethernet2(mac, GATEWAY_MAC);
    let ip = match vlan {
        0 => ethernet.ip(ip),
        vlan => ethernet.single_vlan(VlanId::try_new(vlan)?).ip(ip),
    };
    let mut frame = Vec::new();
    match protocol {
        Protocol::Transport(TransportProtocol::Tcp) => {
            ip.tcp(SOURCE_PORT, port, 1, 64_240).syn().write(&mut frame, &[])?;
        }
        Protocol::Transport(TransportProtocol::Udp) => {
            ip.udp(SOURCE_PORT, port).write(&mut frame, payload)?;
        }
        Protocol::Icmp if client.is_ipv4() => {
            ip.icmpv4_echo_request(SOURCE_PORT, 1).write(&mut frame, &[])?;
        }
        Protocol::Icmp => ip.icmpv6_echo_request(SOURCE_PORT, 1).write(&mut frame, &[])?,
    }
    Ok(frame)
}

/// Returns a query for the records of a name (RFC 1035 section 4.1).
pub(super) fn query(name: &str, kind: Kind) -> Vec<u8> {
    let mut message = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        message.push(u8::try_from(label.len()).unwrap_or_default());
        message.extend_from_slice(label.as_bytes());
    }
    let kind: u8 = match kind {
        Kind::A => 1,
        Kind::Aaaa => 28,
        Kind::Https => 65,
    };
    message.extend_from_slice(&[0, 0, kind, 0, 1]);
    message
}
