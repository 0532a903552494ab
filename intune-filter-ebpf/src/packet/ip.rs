//! IPv4 (RFC 791) and IPv6 (RFC 8200) headers, with options and extension headers.

use super::{
    Datagram, Fragment, HeaderError, Headers, Packet, Transport,
    extension::{self, Chain},
    headers::HeaderWalk,
    options,
};
use crate::{
    abi::{Address, V4, V6},
    bytes::{be16, ne16, ne32, ne128},
    memory::Message,
};

/// Network protocol, with the parser of its datagrams.
pub trait Network: Address {
    /// IP protocol number of ICMP for this network protocol.
    const ICMP: u8;
    /// Octets of the header without options or extensions.
    const HEADER: u32;
    /// ICMP type of an echo request.
    const ECHO_REQUEST: u8;
    /// ICMP type of an echo reply.
    const ECHO_REPLY: u8;

    /// Reads the headers of the datagram at `offset` into `headers`. Options and extension headers
    /// are copied to `message` and read there.
    ///
    /// # Errors
    ///
    /// [`HeaderError`] if a header is not whole, contradicts itself, or carries a source route.
    fn parse(
        packet: &impl Packet,
        headers: &Headers,
        message: &Message,
        offset: u32,
    ) -> Result<(), HeaderError>;
}

/// Returns the octets of a datagram whose header says `said`, not counting `fixed`. The header of
/// an aggregate that is longer than the field can express says 0 (Linux's BIG TCP, seen at TC).
#[inline(always)]
fn actual_length(said: u32, fixed: u32, room: u32) -> u32 {
    if said == 0 && room > 0xffff { room } else { said + fixed }
}

/// Checks that a fragment's data can be where it says: all fragments but the last have a multiple
/// of eight octets, and a datagram has at most 65535 octets (RFC 791, RFC 8200 section 4.5).
#[inline(always)]
fn check_fragment(
    fragment: Fragment,
    offset: u32,
    more: bool,
    length: u32,
) -> Result<(), HeaderError> {
    let impossible = fragment != Fragment::Whole
        && (more && !length.is_multiple_of(8) || length == 0 || offset + length > 0xffff);
    if impossible { Err(HeaderError::Fragment) } else { Ok(()) }
}

impl Network for V4 {
    const ICMP: u8 = super::ICMP;
    const HEADER: u32 = 20;
    const ECHO_REQUEST: u8 = super::ICMP_ECHO_REQUEST;
    const ECHO_REPLY: u8 = super::ICMP_ECHO_REPLY;

    #[inline(always)]
    fn parse(
        packet: &impl Packet,
        headers: &Headers,
        message: &Message,
        offset: u32,
    ) -> Result<(), HeaderError> {
        let header = packet.at::<20>(offset).ok_or(HeaderError::Malformed)?;
        let header_length = u32::from(header[0] & 15) * 4;
        let room = packet.length().saturating_sub(offset);
        let length = actual_length(u32::from(be16::<2, 20>(header)), 0, room);
        if header[0] >> 4 != 4 || header_length < 20 || length < header_length || length > room {
            return Err(HeaderError::Malformed);
        }
        if header_length > 20 {
            let walk = HeaderWalk { headers, message };
            options::check(packet, walk, offset + 20, header_length - 20)?;
        }
        let protocol = header[9];
        let field = u32::from(be16::<6, 20>(header));
        let (fragment_offset, more) = ((field & 0x1fff) * 8, field & 0x2000 != 0);
        let fragment = Fragment::of(fragment_offset, more);
        let transport_offset = offset + header_length;
        let transport_length = length - header_length;
        check_fragment(fragment, fragment_offset, more, transport_length)?;
        let transport = if fragment == Fragment::Later || protocol == super::ICMPV6 {
            Transport::default()
        } else {
            Transport::parse(packet, protocol, transport_offset, transport_length, fragment)?
        };
        let datagram = Datagram {
            source: Self(ne32::<12, 20>(header)),
            destination: Self(ne32::<16, 20>(header)),
            length,
            transport_offset,
            transport_length,
            protocol,
            hop_limit: header[8],
            fragment,
            id: u32::from(ne16::<4, 20>(header)),
            fragment_offset,
            fragment_headers: transport.length,
            transport,
        };
        // SAFETY: the memory is this run's alone.
        unsafe {
            headers.datagram4.get().write(datagram);
            headers.parsed.set(1);
            headers.source.get().write(datagram.source.wide());
            headers.destination.get().write(datagram.destination.wide());
        }
        Ok(())
    }
}

impl Network for V6 {
    const ICMP: u8 = super::ICMPV6;
    const HEADER: u32 = 40;
    const ECHO_REQUEST: u8 = super::ICMPV6_ECHO_REQUEST;
    const ECHO_REPLY: u8 = super::ICMPV6_ECHO_REPLY;

    #[inline(always)]
    fn parse(
        packet: &impl Packet,
        headers: &Headers,
        message: &Message,
        offset: u32,
    ) -> Result<(), HeaderError> {
        let header = packet.at::<40>(offset).ok_or(HeaderError::Malformed)?;
        let room = packet.length().saturating_sub(offset);
        let length = actual_length(u32::from(be16::<4, 40>(header)), 40, room);
        if header[0] >> 4 != 6 || length > room {
            return Err(HeaderError::Malformed);
        }
        let (source, destination) = (Self(ne128::<8, 40>(header)), Self(ne128::<24, 40>(header)));
        let hop_limit = header[7];
        let mut chain = Chain {
            protocol: header[6],
            offset: offset + 40,
            length: length - 40,
            fragment: Fragment::Whole,
            id: 0,
            fragment_offset: 0,
            fragment_start: 0,
        };
        if extension::is_extension(chain.protocol) {
            let walk = HeaderWalk { headers, message };
            chain = extension::follow(packet, walk, chain)?;
        }
        let (fragment, fragment_offset) = (chain.fragment, chain.fragment_offset);
        // Headers before the transport header in the first fragment are part of its data.
        let before = chain.offset
            - if fragment == Fragment::Whole { chain.offset } else { chain.fragment_start };
        let more = fragment == Fragment::First || headers.fragment_field.get() & 1 != 0;
        if fragment != Fragment::Whole {
            check_fragment(fragment, fragment_offset, more, chain.length + before)?;
        }
        let transport = if fragment == Fragment::Later || chain.protocol == super::ICMP {
            Transport::default()
        } else {
            Transport::parse(packet, chain.protocol, chain.offset, chain.length, fragment)?
        };
        let datagram = Datagram {
            source,
            destination,
            length,
            transport_offset: chain.offset,
            transport_length: chain.length,
            protocol: chain.protocol,
            hop_limit,
            fragment,
            id: chain.id,
            fragment_offset,
            fragment_headers: before + transport.length,
            transport,
        };
        // SAFETY: the memory is this run's alone.
        unsafe {
            headers.datagram6.get().write(datagram);
            headers.parsed.set(1);
            headers.source.get().write(datagram.source.wide());
            headers.destination.get().write(datagram.destination.wide());
        }
        Ok(())
    }
}
