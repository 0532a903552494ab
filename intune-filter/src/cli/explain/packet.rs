//! Builds the first packet of a connection for a test run.

use std::net::IpAddr;

use anyhow::{Result, bail};
use etherparse::{
    IpHeaders, IpNumber, Ipv4Extensions, Ipv4Header, Ipv6Extensions, Ipv6Header, PacketBuilder,
    VlanId,
};
use intune_filter_ebpf::abi::TransportProtocol;

use crate::cli::destination::Protocol;

/// Source port that no flow of a client is likely to have.
const SOURCE_PORT: u16 = 50_505;

/// Name in a query to a resolver, from the catalogue.
pub(super) const QUERY_NAME: &str = "manage.microsoft.com";

const HOP_LIMIT: u8 = 64;
const CLIENT_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const GATEWAY_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];

/// Returns the Ethernet frame with which `client` would open a connection.
pub(super) fn first_packet(
    vlan: u16,
    client: IpAddr,
    destination: IpAddr,
    port: u16,
    protocol: Protocol,
) -> Result<Vec<u8>> {
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
    let ethernet = PacketBuilder::ethernet2(CLIENT_MAC, GATEWAY_MAC);
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
            let payload = if port == 53 { query(QUERY_NAME) } else { Vec::new() };
            ip.udp(SOURCE_PORT, port).write(&mut frame, &payload)?;
        }
        Protocol::Icmp if client.is_ipv4() => {
            ip.icmpv4_echo_request(SOURCE_PORT, 1).write(&mut frame, &[])?;
        }
        Protocol::Icmp => ip.icmpv6_echo_request(SOURCE_PORT, 1).write(&mut frame, &[])?,
    }
    Ok(frame)
}

/// Returns a query for the A records of a name (RFC 1035 section 4.1).
fn query(name: &str) -> Vec<u8> {
    let mut message = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        message.push(u8::try_from(label.len()).unwrap_or_default());
        message.extend_from_slice(label.as_bytes());
    }
    message.extend_from_slice(&[0, 0, 1, 0, 1]);
    message
}
