//! IPv4 (RFC 791) and IPv6 (RFC 8200) headers, with options and extension headers.

use super::{
    Packet, Transport,
    extension::{self, Chain},
    options,
};
use crate::{
    abi::{Address, FlowKey, V4, V6},
    bytes::{be16, ne32, ne128},
    dns::Scratch,
    world::World,
};

/// Why a header is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderError {
    /// It is not whole, or contradicts itself.
    Malformed,
    /// It carries a source route (RFC 791) or a routing header (RFC 8200 section 4.4).
    SourceRoute,
}

/// What the headers of a datagram say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Datagram<A> {
    /// Source address.
    pub source: A,
    /// Destination address.
    pub destination: A,
    /// Octets of the datagram, from the IP header on.
    pub length: u32,
    /// Where the transport header begins in the frame.
    pub transport_offset: u32,
    /// Octets of the datagram from there on.
    pub transport_length: u32,
    /// IP protocol behind the extension headers.
    pub protocol: u8,
    /// Time to live, or hop limit.
    pub hop_limit: u8,
    /// Whether it is a fragment; then `transport` is empty. An IPv6 atomic fragment (RFC 6946)
    /// is a whole datagram.
    pub fragment: bool,
    /// The transport header.
    pub transport: Transport,
}

/// A network protocol: how its datagrams are read.
pub trait Network: Address {
    /// Its ICMP.
    const ICMP: u8;
    /// Octets of its header without options or extensions.
    const HEADER: u32;
    /// Its ICMP type of an echo request.
    const ECHO_REQUEST: u8;
    /// Its ICMP type of an echo reply.
    const ECHO_REPLY: u8;

    /// Where the headers are put.
    fn facts(scratch: &Scratch) -> *mut Datagram<Self>;

    /// Where the key of the flow is put.
    fn key(scratch: &Scratch) -> *mut FlowKey<Self>;

    /// Reads the headers of the datagram at `offset`, and puts them into the scratch memory.
    ///
    /// # Errors
    ///
    /// [`HeaderError`] if a header is not whole, contradicts itself, or carries a source route.
    fn parse<W: World>(
        packet: &impl Packet,
        scratch: &Scratch,
        world: W,
        offset: u32,
    ) -> Result<(), HeaderError>;
}

/// The octets of a datagram whose header says `said`, not counting `fixed`. An aggregate that the
/// field cannot express says 0 (Linux's BIG TCP, seen at TC).
#[inline(always)]
fn actual_length(said: u32, fixed: u32, room: u32) -> u32 {
    if said == 0 && room > 0xffff { room } else { said + fixed }
}

impl Network for V4 {
    const ICMP: u8 = super::ICMP;
    const HEADER: u32 = 20;
    const ECHO_REQUEST: u8 = super::ICMP_ECHO_REQUEST;
    const ECHO_REPLY: u8 = super::ICMP_ECHO_REPLY;

    #[inline(always)]
    fn facts(scratch: &Scratch) -> *mut Datagram<Self> {
        scratch.facts.datagram4.get()
    }

    #[inline(always)]
    fn key(scratch: &Scratch) -> *mut FlowKey<Self> {
        scratch.facts.key4.get()
    }

    #[inline(always)]
    fn parse<W: World>(
        packet: &impl Packet,
        scratch: &Scratch,
        world: W,
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
            options::check(packet, scratch, world, offset + 20, header_length - 20)?;
        }
        let protocol = header[9];
        // Either of "more fragments" and an offset makes it a fragment.
        let fragment = be16::<6, 20>(header) & 0x3fff != 0;
        let transport_offset = offset + header_length;
        let transport_length = length - header_length;
        let transport = if fragment || protocol == super::ICMPV6 {
            Transport::default()
        } else {
            Transport::parse(packet, protocol, transport_offset, transport_length)?
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
            transport,
        };
        // SAFETY: the scratch memory is this run's alone.
        unsafe {
            Self::facts(scratch).write(datagram);
            scratch.facts.source.get().write(datagram.source.wide());
            scratch.facts.destination.get().write(datagram.destination.wide());
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
    fn facts(scratch: &Scratch) -> *mut Datagram<Self> {
        scratch.facts.datagram6.get()
    }

    #[inline(always)]
    fn key(scratch: &Scratch) -> *mut FlowKey<Self> {
        scratch.facts.key6.get()
    }

    #[inline(always)]
    fn parse<W: World>(
        packet: &impl Packet,
        scratch: &Scratch,
        world: W,
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
            fragment: false,
        };
        if extension::is_extension(chain.protocol) {
            chain = extension::follow(packet, scratch, world, chain)?;
        }
        let transport = if chain.fragment || chain.protocol == super::ICMP {
            Transport::default()
        } else {
            Transport::parse(packet, chain.protocol, chain.offset, chain.length)?
        };
        let datagram = Datagram {
            source,
            destination,
            length,
            transport_offset: chain.offset,
            transport_length: chain.length,
            protocol: chain.protocol,
            hop_limit,
            fragment: chain.fragment,
            transport,
        };
        // SAFETY: the scratch memory is this run's alone.
        unsafe {
            Self::facts(scratch).write(datagram);
            scratch.facts.source.get().write(datagram.source.wide());
            scratch.facts.destination.get().write(datagram.destination.wide());
        }
        Ok(())
    }
}
