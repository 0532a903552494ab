//! Maps of followed TCP connections: the judged prefix of each, and for DNS the position read.

use super::layout;

/// Bits of [`JudgedPrefix::client_state`].
pub mod client_state {
    /// Octets of the client's were judged: the server's first sequence number is settled.
    pub const SPOKE: u32 = 1;
    /// The client has reset the connection.
    pub const RESET: u32 = 2;
    /// The connection took the place of one between the same ports that had ended shortly before.
    pub const REOPENED: u32 = 4;
}

/// Values of [`JudgedPrefix::server_state`].
pub mod server_state {
    /// The server has not answered the client's SYN.
    pub const SILENT: u32 = 0;
    /// The server has answered it, and acknowledged no octet yet.
    pub const ANSWERED: u32 = 1;
    /// The server has acknowledged octets.
    pub const ACKNOWLEDGED: u32 = 2;
    /// The server has sent FIN or RST: it reads nothing more.
    pub const CLOSED: u32 = 3;
}

/// Judged prefix of a followed connection's client, and numbers of its server.
///
/// For each sequence number from the client's first to `end`, at most one octet ever passes.
/// Sequence numbers are in the byte order of the host (RFC 9293). `end`, `kept`,
/// `server_acknowledged` and `client_state` are written on ingress alone, the rest on egress alone.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JudgedPrefix {
    /// End of the judged prefix; until then the sequence number behind the client's SYN.
    pub end: u32,
    /// Begin of the judged octets that are kept for comparison, up to `end`.
    pub kept: u32,
    /// Highest number that the server has acknowledged.
    pub acknowledged: u32,
    /// Sequence number behind the server's SYN; after 2 GiB, one that is 1 GiB behind `server_end`.
    pub server_begin: u32,
    /// End of the server's octets.
    pub server_end: u32,
    /// Highest number that the client has acknowledged.
    pub server_acknowledged: u32,
    /// See [`client_state`].
    pub client_state: u32,
    /// See [`server_state`].
    pub server_state: u32,
}
layout!(JudgedPrefix, 32, u32, u32, u32, u32, u32, u32, u32, u32);

/// Octets of a client that are kept until the server has acknowledged them: a power of two.
pub const KEPT_CAPACITY: u32 = 4096;
/// Elements of `KEPT_OCTETS`: a power of two.
pub const KEPT_SLOTS: u32 = 256;

/// Element of `KEPT_OCTETS`: judged octets that the server has not acknowledged.
///
/// Slots are chosen by a hash. Whoever comes later takes the slot, and the connection that loses
/// it can repeat nothing until the server has acknowledged what is on its way.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeptOctets {
    /// Hash of the connection that they belong to, odd; even while they are written.
    pub owner: u64,
    /// By sequence number modulo the capacity.
    pub octets: [u8; KEPT_CAPACITY as usize],
}
layout!(KeptOctets, 4104, u64, [u8; KEPT_CAPACITY as usize]);

/// Bits of [`Stream::flags`].
pub mod stream_flags {
    /// The client's group was audited at some time of the connection's: nothing is held back, and
    /// where messages begin is not known for certain.
    pub const UNJUDGED: u32 = 1;
}

/// Value of `STREAMS`: a client's TCP connection to a trusted resolver. Its key is a
/// [`super::FlowKey`] with IPv4 addresses mapped.
///
/// Segments are read only where a message is known to begin, so that nobody's data is taken for a
/// message.
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
    /// 1 while a CPU judges a segment of the client's.
    pub claimed: u64,
    /// Judged prefix of the client's octets. Its `end` is where the next message begins.
    pub prefix: JudgedPrefix,
    /// Octets of a message whose length came in a segment of its own; 0 if none is owed.
    pub query_owed: u32,
    /// Queries that were judged and passed.
    pub asked: u32,
    /// Queries that answers were read for, here; see [`StreamRead::answered`].
    pub answered: u32,
    /// Where the resolver's next message begins.
    pub answer_next: u32,
    /// Where that message ends, if its length has been seen: after `answer_next` then.
    pub answer_end: u32,
    /// See [`stream_flags`].
    pub flags: u32,
}
layout!(Stream, 88, u64, u64, u64, u64, JudgedPrefix, u32, u32, u32, u32, u32, u32);

/// Value of `STREAMS_READ`, by the key of `STREAMS`: how far userspace has read a stream whose
/// segments the kernel could not. Written by userspace alone.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamRead {
    /// Stream of the element: [`Stream::opened`].
    pub opened: u64,
    /// Where the resolver's next message begins.
    pub answer_next: u32,
    /// Queries that answers were read for in userspace, from the stream's beginning on.
    pub answered: u32,
}
layout!(StreamRead, 16, u64, u32, u32);
