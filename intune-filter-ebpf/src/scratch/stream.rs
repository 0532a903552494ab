//! Segment of a followed TCP connection.

use crate::memory::VolatileU64;

/// TCP segment to or from a resolver, and its place in the stream.
#[repr(C)]
#[derive(Debug)]
pub struct Segment {
    /// Sequence number of the first octet.
    pub sequence: VolatileU64,
    /// Acknowledgment number.
    pub acknowledgment: VolatileU64,
    /// Offset of the data in the frame.
    pub data: VolatileU64,
    /// Octets of data.
    pub length: VolatileU64,
    /// 1 once the numbers of this packet's segment are here.
    pub known: VolatileU64,
    /// Octets of data that were read, kept or compared.
    pub done: VolatileU64,
    /// Octets of a message whose length came in an earlier segment; 0 if none is outstanding.
    pub owed: VolatileU64,
    /// Finding about the next message.
    pub found: VolatileU64,
    /// Octets that are missing of the last message; 0 if unknown.
    pub missing: VolatileU64,
    /// 1 for a repetition of judged octets.
    pub repeats: VolatileU64,
    /// Not 0 if the connection was not judged at some time.
    pub unjudged: VolatileU64,
    /// Identity of the connection among those whose octets are kept.
    pub owner: VolatileU64,
    /// Number of queries among the messages; in a resolver's segment, number of those answered.
    pub queries: VolatileU64,
    /// 1 for a query that may be answered in the resolver's place, as the end of the connection.
    pub answerable: VolatileU64,
    /// Time of the stream's opening, [`crate::abi::Stream::opened`].
    pub opened: VolatileU64,
    /// Sequence number at which the first unread message begins.
    pub next: VolatileU64,
    /// 1 if the segment goes on to the client although userspace is to read it.
    pub passes: VolatileU64,
}
