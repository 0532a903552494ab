//! Replies to denied packets, before they are written.

use crate::memory::VolatileU64;

/// Reset or ICMP error in answer to a denied packet.
#[repr(C)]
#[derive(Debug)]
pub struct Reply {
    /// [`crate::verdict::REPLY_RESET`] or [`crate::verdict::REPLY_PROHIBITED`].
    pub kind: VolatileU64,
    /// 1 if it is IPv6.
    pub v6: VolatileU64,
    /// Sequence number of the reset.
    pub sequence: VolatileU64,
    /// Acknowledgment number of the reset.
    pub acknowledgment: VolatileU64,
    /// TCP flags of the reset.
    pub flags: VolatileU64,
}

/// Refusal of a query, which takes the query's frame.
#[repr(C)]
#[derive(Debug)]
pub struct Refusal {
    /// Where the IP header begins.
    pub network_offset: VolatileU64,
    /// Where the UDP header begins.
    pub transport_offset: VolatileU64,
    /// Octets of the message.
    pub length: VolatileU64,
}
