//! Description of a reply to a denied packet, before it is written.

use crate::memory::VolatileU64;

/// Reply to a denied packet: a TCP reset, an ICMP error, or a DNS refusal, whose message is that of
/// the working memory.
#[repr(C)]
#[derive(Debug)]
pub struct Reply {
    /// [`crate::reply::Kind`] as a word.
    pub kind: VolatileU64,
    /// 1 for IPv6.
    pub v6: VolatileU64,
    /// Offset of the denied packet's transport header in the frame.
    pub transport_offset: VolatileU64,
    /// Sequence number of a reset.
    pub sequence: VolatileU64,
    /// Acknowledgment number of a reset.
    pub acknowledgment: VolatileU64,
    /// TCP flags of a reset.
    pub flags: VolatileU64,
    /// Octets of a refusal's message.
    pub length: VolatileU64,
}
