//! Datagram that an ICMP error quotes (RFC 792, RFC 4443 section 2.4).

use super::Packet;
use crate::{
    abi::{V4, V6, has_ports},
    bytes::{ne16, ne32, ne128},
};

/// Fields of the quoted headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quoted<A> {
    /// Source address of the quoted datagram.
    pub source: A,
    /// Destination address of the quoted datagram.
    pub destination: A,
    /// IP protocol of the quoted datagram.
    pub protocol: u8,
    /// Source port of the quoted datagram, or echo identifier, network byte order.
    pub source_port: u16,
    /// Destination port of the quoted datagram, or echo identifier, network byte order.
    pub destination_port: u16,
}

/// Octets of an ICMP message before its quote.
const BEFORE: u32 = 8;
/// Least number of octets that an error quotes behind the IP header.
const QUOTED: u32 = 8;

/// Reads the datagram quoted by the ICMP message at `offset`, of `length` octets. `None` unless it
/// is an error of type 3, 11 or 12 that quotes the first fragment of TCP, UDP or an echo.
#[inline(always)]
pub fn quoted_v4(packet: &impl Packet, kind: u8, offset: u32, length: u32) -> Option<Quoted<V4>> {
    if !matches!(kind, 3 | 11 | 12) {
        return None;
    }
    let header = packet.at::<20>(offset + BEFORE)?;
    let header_length = u32::from(header[0] & 15) * 4;
    let not_first = ne16::<6, 20>(header) & 0x1fff_u16.to_be() != 0;
    // Octets behind the datagram in its frame are not part of the message.
    let short = length < BEFORE + header_length + QUOTED;
    if header[0] >> 4 != 4 || header_length < 20 || not_first || short {
        return None;
    }
    let (source_port, destination_port) =
        quoted_ports(packet, header[9], super::ICMP, offset + BEFORE + header_length)?;
    Some(Quoted {
        source: V4(ne32::<12, 20>(header)),
        destination: V4(ne32::<16, 20>(header)),
        protocol: header[9],
        source_port,
        destination_port,
    })
}

/// Reads the datagram quoted by the ICMPv6 message at `offset`, of `length` octets. `None` unless
/// it is an error of type 1 to 4 that quotes TCP, UDP or an echo without extension headers.
#[inline(always)]
pub fn quoted_v6(packet: &impl Packet, kind: u8, offset: u32, length: u32) -> Option<Quoted<V6>> {
    if !matches!(kind, 1..=4) || length < BEFORE + 40 + QUOTED {
        return None;
    }
    let header = packet.at::<40>(offset + BEFORE)?;
    if header[0] >> 4 != 6 {
        return None;
    }
    let (source_port, destination_port) =
        quoted_ports(packet, header[6], super::ICMPV6, offset + BEFORE + 40)?;
    Some(Quoted {
        source: V6(ne128::<8, 40>(header)),
        destination: V6(ne128::<24, 40>(header)),
        protocol: header[6],
        source_port,
        destination_port,
    })
}

#[inline(always)]
fn quoted_ports(packet: &impl Packet, protocol: u8, icmp: u8, offset: u32) -> Option<(u16, u16)> {
    let header = packet.at::<8>(offset)?;
    if has_ports(protocol) {
        Some((ne16::<0, 8>(header), ne16::<2, 8>(header)))
    } else if protocol == icmp {
        let identifier = ne16::<4, 8>(header);
        Some((identifier, identifier))
    } else {
        None
    }
}
