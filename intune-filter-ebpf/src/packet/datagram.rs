//! Headers of a datagram, parsed.

use super::{Fragment, Transport};

/// Parsed headers of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Datagram<A> {
    /// Source address.
    pub source: A,
    /// Destination address.
    pub destination: A,
    /// Octets of the datagram, from the IP header on.
    pub length: u32,
    /// Offset of the transport header in the frame.
    pub transport_offset: u32,
    /// Octets of the datagram from the transport header on.
    pub transport_length: u32,
    /// IP protocol behind the extension headers.
    pub protocol: u8,
    /// Time to live, or hop limit.
    pub hop_limit: u8,
    /// Part of its datagram that the packet is.
    pub fragment: Fragment,
    /// Identification of a fragmented datagram, network byte order.
    pub id: u32,
    /// Offset of a fragment's data in the fragmentable part of its datagram, in octets.
    pub fragment_offset: u32,
    /// Octets of the fragmentable part that hold headers, for a first fragment.
    pub fragment_headers: u32,
    /// Transport header. Empty in a later fragment.
    pub transport: Transport,
}
