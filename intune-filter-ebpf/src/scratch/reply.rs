//! Description of a reply to a denied packet, before it is written.

use crate::memory::VolatileU64;

/// Reply to a denied packet: a TCP reset, an ICMP error, or an answer to a query for a name of no
/// rule, which is made from the query in the working memory.
#[repr(C)]
#[derive(Debug)]
pub struct Reply {
    /// [`crate::reply::Kind`] as a word.
    pub kind: VolatileU64,
    /// 1 for IPv6.
    pub v6: VolatileU64,
    /// Offset of the denied packet's transport header in the frame.
    pub transport_offset: VolatileU64,
    /// Octets of the denied segment's TCP header, for a reply over TCP with data.
    pub header_length: VolatileU64,
    /// Sequence number of a segment.
    pub sequence: VolatileU64,
    /// Acknowledgment number of a segment.
    pub acknowledgment: VolatileU64,
    /// TCP flags of a segment.
    pub flags: VolatileU64,
    /// Treatment of the query, such as [`crate::abi::UNLISTED_REFUSE`].
    pub unlisted: VolatileU64,
    /// Offset behind the question in the query's message.
    pub question_end: VolatileU64,
    /// Octets of the answer's message; 0 if there is none.
    pub length: VolatileU64,
}
