//! Maps for DNS over TCP: how far each client's connection to a resolver was followed.

use super::layout;

/// Bits of [`Stream::flags`].
pub mod stream_flags {
    /// The resolver has answered the client's SYN.
    pub const ESTABLISHED: u32 = 1;
    /// The client's group is audited: nothing is held back.
    pub const AUDITED: u32 = 2;
}

/// Value of `STREAMS`: a client's TCP connection to a trusted resolver. Its key is a
/// [`super::FlowKey`] with IPv4 addresses mapped.
///
/// Sequence numbers are in the byte order of the host. Segments are read only where a message is
/// known to begin, so that nobody's data is taken for a message.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stream {
    /// When it was opened: CLOCK_BOOTTIME, nanoseconds. Tells it from one before it between the
    /// same ports.
    pub opened: u64,
    /// Last segment: CLOCK_BOOTTIME, nanoseconds.
    pub last_seen: u64,
    /// When the first of the segments that wait for userspace was held back; 0 if none waits.
    pub punted: u64,
    /// Keyed hash of the client's last segment with data: what repeats it has to be the same.
    pub query_hash: u64,
    /// Where the client's next message begins.
    pub query_next: u32,
    /// Octets of the client's last segment with data.
    pub query_length: u32,
    /// Octets of a message whose length came in a segment of its own; 0 if none is owed.
    pub query_owed: u32,
    /// Where the resolver's next message begins.
    pub answer_next: u32,
    /// Where that message ends, if its length has been seen: after `answer_next` then.
    pub answer_end: u32,
    /// See [`stream_flags`].
    pub flags: u32,
}
layout!(Stream, 56, u64, u64, u64, u64, u32, u32, u32, u32, u32, u32);

/// Value of `STREAMS_READ`, by the key of `STREAMS`: how far userspace has read a stream whose
/// segments the kernel could not. Written by userspace alone.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamRead {
    /// Which stream is meant: [`Stream::opened`].
    pub opened: u64,
    /// Where the resolver's next message begins.
    pub answer_next: u32,
    /// Zero.
    pub reserved: u32,
}
layout!(StreamRead, 16, u64, u32, u32);
