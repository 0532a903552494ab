//! Layouts of followed TCP connections: the judged prefix of each, and the position up to which DNS
//! messages were read.

use super::layout;

/// Bits of [`JudgedPrefix::client_state`].
pub mod client_state {
    /// Octets of the client were judged: the first sequence number of the server is settled.
    pub const SPOKE: u32 = 1;
    /// The client has reset the connection.
    pub const RESET: u32 = 2;
    /// The connection took the place of one between the same ports that had ended shortly before.
    pub const REOPENED: u32 = 4;
    /// A query was answered in the server's place, and the connection ended for the client.
    pub const ANSWERED: u32 = 8;
}

/// Values of [`JudgedPrefix::server_state`].
pub mod server_state {
    /// The server has not answered the client's SYN.
    pub const SILENT: u32 = 0;
    /// The server has answered the SYN, and has acknowledged no octet yet.
    pub const ANSWERED: u32 = 1;
    /// The server has acknowledged octets.
    pub const ACKNOWLEDGED: u32 = 2;
    /// The server has sent FIN or RST, and reads nothing more.
    pub const CLOSED: u32 = 3;
}

/// Judged prefix of a followed connection's client, and sequence numbers of its server.
///
/// For each sequence number from the client's first to `end`, at most one octet ever passes.
/// Sequence numbers are in the byte order of the host (RFC 9293). `end`, `kept`,
/// `server_acknowledged` and `client_state` are written on ingress alone, the rest on egress alone.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JudgedPrefix {
    /// End of the judged prefix; before its first octet, the sequence number behind the client's
    /// SYN.
    pub end: u32,
    /// Beginning of the judged octets that are kept for comparison, up to `end`.
    pub kept: u32,
    /// Highest number that the server has acknowledged.
    pub acknowledged: u32,
    /// Sequence number behind the server's SYN; after 2 GiB, a number 1 GiB before `server_end`.
    pub server_begin: u32,
    /// Sequence number behind the server's last octet.
    pub server_end: u32,
    /// Highest number that the client has acknowledged.
    pub server_acknowledged: u32,
    /// Bits of [`client_state`].
    pub client_state: u32,
    /// Value of [`server_state`].
    pub server_state: u32,
}
layout!(JudgedPrefix, 32, u32, u32, u32, u32, u32, u32, u32, u32);

/// Octets of a client that one slot keeps until the server has acknowledged them: a power of two.
pub const KEPT_CAPACITY: u32 = 4096;
/// Number of elements of `KEPT_OCTETS`: a power of two.
pub const KEPT_SLOTS: u32 = 256;

/// Element of `KEPT_OCTETS`: judged octets that the server has not acknowledged.
///
/// A hash chooses the slot of a connection. A later connection with the same slot takes it over;
/// the connection that loses its slot can repeat nothing until the server has acknowledged the
/// octets in flight.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeptOctets {
    /// Hash of the connection that owns the octets: odd; even while the octets are written.
    pub owner: u64,
    /// Octets, by sequence number modulo the capacity.
    pub octets: [u8; KEPT_CAPACITY as usize],
}
layout!(KeptOctets, 4104, u64, [u8; KEPT_CAPACITY as usize]);

/// Bits of [`Stream::flags`].
pub mod stream_flags {
    /// The client's group was in audit mode at some time of the connection: nothing is held back,
    /// and the beginnings of messages are not known for certain.
    pub const UNJUDGED: u32 = 1;
}

/// Value of `STREAMS`: a client's TCP connection to a trusted resolver. The key is a
/// [`super::FlowKey`] with IPv4 addresses mapped.
///
/// Segments are read only where a message is known to begin, so that no payload is mistaken for the
/// beginning of a message.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stream {
    /// Time of opening: CLOCK_BOOTTIME, nanoseconds. Tells the connection from an earlier one
    /// between the same ports.
    pub opened: u64,
    /// Time of the last segment: CLOCK_BOOTTIME, nanoseconds.
    pub last_seen: u64,
    /// Time at which the first of the segments that wait for userspace was held back:
    /// CLOCK_BOOTTIME, nanoseconds; 0 if none waits.
    pub punted: u64,
    /// 1 while a CPU judges a segment of the client.
    pub claimed: u64,
    /// Judged prefix of the client's octets; the client's next message begins at its `end`.
    pub prefix: JudgedPrefix,
    /// Octets of a message whose length came in a segment of its own; 0 if none is outstanding.
    pub query_owed: u32,
    /// Queries that were judged and passed.
    pub asked: u32,
    /// Queries whose answers the kernel has read; those that userspace has read are in
    /// [`StreamRead::answered`].
    pub answered: u32,
    /// Sequence number at which the resolver's next message begins.
    pub answer_next: u32,
    /// Sequence number at which that message ends, if its length was seen: then after
    /// `answer_next`.
    pub answer_end: u32,
    /// Bits of [`stream_flags`].
    pub flags: u32,
}
layout!(Stream, 88, u64, u64, u64, u64, JudgedPrefix, u32, u32, u32, u32, u32, u32);

/// Value of `STREAMS_READ`, by the key of `STREAMS`: the position up to which userspace has read a
/// stream whose segments the kernel could not read. Written by userspace alone.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamRead {
    /// Stream of the element: [`Stream::opened`].
    pub opened: u64,
    /// Sequence number at which the resolver's next message begins.
    pub answer_next: u32,
    /// Queries whose answers userspace has read, from the beginning of the stream on.
    pub answered: u32,
}
layout!(StreamRead, 16, u64, u32, u32);
