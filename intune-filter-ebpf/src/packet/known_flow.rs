//! FiveTuple datagrams, read at once: whole, TCP that carries on or UDP, directly behind an IP header
//! without options or extension headers.

use super::{Network, Packet, TCP, TCP_ACK, TCP_FIN, TCP_RST, TCP_SYN, UDP};
use crate::{
    abi::{V4, V6},
    bytes::{be16, ne16, ne32, ne128},
};

/// Header fields of a usual datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FiveTuple<A> {
    /// Source address.
    pub source: A,
    /// Destination address.
    pub destination: A,
    /// Octets of the datagram, from the IP header on.
    pub length: u32,
    /// [`TCP`] or [`UDP`].
    pub protocol: u8,
    /// Source port, network byte order.
    pub source_port: u16,
    /// Destination port, network byte order.
    pub destination_port: u16,
}

/// Network protocol whose usual datagrams are read at once.
pub trait ParseKnown: Network {
    /// Reads the datagram at `offset`. `None` if anything about it is unusual or wrong, which
    /// [`Network::parse`] tells apart.
    fn parse_known(packet: &impl Packet, offset: u32) -> Option<FiveTuple<Self>>;
}

impl ParseKnown for V4 {
    #[inline(always)]
    fn parse_known(packet: &impl Packet, offset: u32) -> Option<FiveTuple<Self>> {
        const HEADER: u32 = 20;
        /// Offset and "more fragments": all but "don't fragment" and the reserved bit.
        const FRAGMENT: u16 = 0x3fff_u16.to_be();
        const VERSION_AND_LENGTH: u8 = 0x45;

        let header = packet.at::<28>(offset)?;
        let length = u32::from(be16::<2, 28>(header));
        if header[0] != VERSION_AND_LENGTH
            || ne16::<6, 28>(header) & FRAGMENT != 0
            || !is_whole(packet, offset, length)
        {
            return None;
        }
        let protocol = header[9];
        is_usual(packet, protocol, offset + HEADER, length.checked_sub(HEADER)?)?;
        Some(FiveTuple {
            source: Self(ne32::<12, 28>(header)),
            destination: Self(ne32::<16, 28>(header)),
            length,
            protocol,
            source_port: ne16::<20, 28>(header),
            destination_port: ne16::<22, 28>(header),
        })
    }
}

impl ParseKnown for V6 {
    #[inline(always)]
    fn parse_known(packet: &impl Packet, offset: u32) -> Option<FiveTuple<Self>> {
        const HEADER: u32 = 40;

        let header = packet.at::<48>(offset)?;
        let payload = u32::from(be16::<4, 48>(header));
        let length = payload + HEADER;
        if header[0] >> 4 != 6 || !is_whole(packet, offset, length) {
            return None;
        }
        let protocol = header[6];
        is_usual(packet, protocol, offset + HEADER, payload)?;
        Some(FiveTuple {
            source: Self(ne128::<8, 48>(header)),
            destination: Self(ne128::<24, 48>(header)),
            length,
            protocol,
            source_port: ne16::<40, 48>(header),
            destination_port: ne16::<42, 48>(header),
        })
    }
}

/// Whether a frame holds all of the datagram of `length` octets at `offset`.
#[inline(always)]
fn is_whole(packet: &impl Packet, offset: u32, length: u32) -> bool {
    u64::from(offset) + u64::from(length) <= u64::from(packet.length())
}

/// Returns `Some` if the transport header at `offset`, of which the datagram holds `length` octets,
/// is one that [`super::Transport::parse`] takes and, for TCP, acknowledges and neither begins nor
/// ends a connection.
///
/// Calling that function costs the verifier half as much again at TC, where it follows the state
/// that each of the function's exits leaves behind; Linux 6.1 has no room for that.
#[inline(always)]
fn is_usual(packet: &impl Packet, protocol: u8, offset: u32, length: u32) -> Option<()> {
    let usual = match protocol {
        TCP => {
            const HEADER: u32 = 20;
            let header = packet.at::<20>(offset)?;
            let own = u32::from(header[12] >> 4) * 4;
            let flags = header[13] & (TCP_SYN | TCP_FIN | TCP_RST | TCP_ACK);
            own >= HEADER && own <= length && flags == TCP_ACK
        }
        UDP => {
            const HEADER: u32 = 8;
            let header = packet.at::<8>(offset)?;
            let own = u32::from(be16::<4, 8>(header));
            own >= HEADER && own <= length
        }
        _ => false,
    };
    usual.then_some(())
}
