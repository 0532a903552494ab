//! Segment of a followed TCP connection.

use crate::memory::VolatileU64;

/// TCP segment to or from a resolver, and its place in the stream.
#[repr(C)]
#[derive(Debug)]
pub struct Segment {
    /// Sequence number of its first octet.
    pub sequence: VolatileU64,
    /// Acknowledgment number.
    pub acknowledgment: VolatileU64,
    /// Where its data begins in the frame.
    pub data: VolatileU64,
    /// Octets of data.
    pub length: VolatileU64,
    /// Octets of data that were gone over.
    pub done: VolatileU64,
    /// Octets of a message whose length came in the segment before; 0 if none is owed.
    pub owed: VolatileU64,
    /// Finding about its next message.
    pub found: VolatileU64,
    /// Octets that are missing of its last message; 0 if that is not known.
    pub missing: VolatileU64,
    /// 1 for a repetition of judged octets.
    pub repeats: VolatileU64,
    /// Not 0 if its connection was not judged at some time.
    pub unjudged: VolatileU64,
    /// Names its connection among those whose octets are kept.
    pub owner: VolatileU64,
    /// Queries among its messages; of a resolver's, those that it answers.
    pub queries: VolatileU64,
    /// The stream's [`crate::abi::Stream::opened`].
    pub opened: VolatileU64,
    /// Where the next message begins that was not read.
    pub next: VolatileU64,
    /// 1 if it goes on to the client, even though userspace is to read it.
    pub passes: VolatileU64,
}
