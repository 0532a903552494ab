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
    /// Where the transport header begins in the frame.
    pub transport_offset: u32,
    /// Octets of the datagram from there on.
    pub transport_length: u32,
    /// IP protocol behind the extension headers.
    pub protocol: u8,
    /// Time to live, or hop limit.
    pub hop_limit: u8,
    /// Its place in a fragmented datagram.
    pub fragment: Fragment,
    /// Of a fragment: the datagram's identification, network byte order.
    pub id: u32,
    /// Of a fragment: where its data belongs in the datagram's fragmentable part, in octets.
    pub fragment_offset: u32,
    /// Of a first fragment: octets of the fragmentable part that hold headers.
    pub fragment_headers: u32,
    /// The transport header. Empty in a later fragment.
    pub transport: Transport,
}
