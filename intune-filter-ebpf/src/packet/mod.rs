//! Packets: access to their octets, and their headers.

mod datagram;
mod error;
mod extension;
mod fragment;
mod frame;
mod headers;
mod icmp;
#[expect(unsafe_code, reason = "the working memory is behind pointers")]
mod ip;
mod known_flow;
mod options;
mod transport;

pub use datagram::Datagram;
pub use error::HeaderError;
pub use fragment::Fragment;
pub use frame::{ETHERNET_LENGTH, ETHERTYPE_IPV4, ETHERTYPE_IPV6, Frame, is_link_scope_ethertype};
pub use headers::Headers;
pub use icmp::{Quoted, quoted_v4, quoted_v6};
pub use ip::Network;
pub use known_flow::{FiveTuple, ParseKnown};
pub use options::{MULTIPATH, has_tcp_option};
pub use transport::{
    ICMP, ICMP_ECHO_REPLY, ICMP_ECHO_REQUEST, ICMPV6, ICMPV6_ECHO_REPLY, ICMPV6_ECHO_REQUEST, IGMP,
    TCP, TCP_ACK, TCP_FIN, TCP_PSH, TCP_RST, TCP_SYN, TCP_URG, Transport, UDP,
};

use crate::memory::Message;

/// Direction in which a packet travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the client.
    FromClient,
    /// To the client.
    ToClient,
}

/// Octets of a frame, wherever they are stored.
pub trait Packet {
    /// Whether the octets begin with an Ethernet header, and not with the IP header (layer 3).
    const HAS_ETHERNET: bool = true;

    /// Returns the EtherType of a packet without Ethernet header, host byte order: what the receiver
    /// takes the packet for. The version in the IP header has to agree.
    #[inline(always)]
    fn ethertype(&self) -> u16 {
        0
    }

    /// Returns the length of the whole frame in octets.
    fn length(&self) -> u32;

    /// Returns the length of the frame as it was received, in octets: with a tag that the hardware
    /// has stripped.
    #[inline(always)]
    fn counted_length(&self) -> u32 {
        self.length()
    }

    /// Returns the number of packets that the frame stands for: TC sees an aggregate of several
    /// once.
    fn packets(&self) -> u32;

    /// Returns `N` octets from `offset` on; `None` if the frame ends before.
    fn at<const N: usize>(&self, offset: u32) -> Option<&[u8; N]>;

    /// Copies `length` octets from `offset` to a message; false if the frame ends before, or the
    /// message has no room.
    fn copy(&self, offset: u32, length: u32, message: &Message) -> bool;
}

/// Packet without Ethernet header in the host's memory.
#[cfg(not(target_arch = "bpf"))]
#[derive(Clone, Copy, Debug)]
pub struct BarePacket<'p> {
    /// Octets from the IP header on.
    pub octets: &'p [u8],
    /// EtherType, as the device tells it.
    pub ethertype: u16,
}

#[cfg(not(target_arch = "bpf"))]
impl Packet for BarePacket<'_> {
    const HAS_ETHERNET: bool = false;

    fn ethertype(&self) -> u16 {
        self.ethertype
    }

    fn length(&self) -> u32 {
        Packet::length(&self.octets)
    }

    fn packets(&self) -> u32 {
        1
    }

    fn at<const N: usize>(&self, offset: u32) -> Option<&[u8; N]> {
        self.octets.get(offset as usize..)?.first_chunk()
    }

    fn copy(&self, offset: u32, length: u32, message: &Message) -> bool {
        Packet::copy(&self.octets, offset, length, message)
    }
}

/// Frame in the host's memory.
#[cfg(not(target_arch = "bpf"))]
impl Packet for &[u8] {
    fn length(&self) -> u32 {
        self.len() as u32
    }

    fn packets(&self) -> u32 {
        1
    }

    fn at<const N: usize>(&self, offset: u32) -> Option<&[u8; N]> {
        self.get(offset as usize..)?.first_chunk()
    }

    fn copy(&self, offset: u32, length: u32, message: &Message) -> bool {
        let (start, length) = (offset as usize, length as usize);
        self.get(start..start + length).is_some_and(|octets| message.fill(octets))
    }
}
