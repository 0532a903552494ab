//! Records of the ring buffer `EVENTS`.

use super::{Flow, RuleMask, V6, layout};

/// Kind of a record: the value of its first field.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// Denied packet: [`DeniedEvent`].
    Denied = 1,
    /// DNS answer: [`AnswerEvent`], followed by the message.
    Answer = 2,
    /// Opened flow: [`FlowEvent`].
    Opened = 3,
    /// Ended flow: [`FlowEvent`].
    Closed = 4,
    /// Segment of an answer over TCP: [`SegmentEvent`], followed by the segment's data.
    Segment = 5,
    /// Denied DNS query whose question was read: [`QueryEvent`].
    Query = 6,
}

/// Record of a denied packet.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeniedEvent {
    /// [`EventKind::Denied`].
    pub kind: u32,
    /// Interface index.
    pub ifindex: u32,
    /// CLOCK_BOOTTIME, nanoseconds.
    pub time: u64,
    /// Rules whose destination it is.
    pub rules: RuleMask,
    /// The packet's source; IPv4 mapped.
    pub source: V6,
    /// Destination address; IPv4 mapped.
    pub destination: V6,
    /// Source port, network byte order.
    pub source_port: u16,
    /// Destination port, network byte order.
    pub destination_port: u16,
    /// Zone of the client; 0 if the frame's VLAN has none.
    pub zone: u16,
    /// Group of the client; 255 if the client is in none.
    pub group: u16,
    /// IP protocol.
    pub protocol: u8,
    /// Reason of the denial, [`super::Reason`].
    pub reason: u8,
    /// 1 if the packet passed nevertheless, since its group is in audit mode or the warm-up lasts.
    pub audited: u8,
    /// 1 for a packet to the client.
    pub egress: u8,
    /// VLAN id of the frame if that has no zone, else 0.
    pub vlan: u32,
}
layout!(DeniedEvent, 88, u32, u32, u64, RuleMask, V6, V6, u16, u16, u16, u16, u8, u8, u8, u8, u32);

/// Octets of the longest question: a name, type and class, and what fills up the last word.
pub const QUESTION_CAPACITY: usize = 264;

/// Head of a [`QueryEvent`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueryHead {
    /// [`EventKind::Query`].
    pub kind: u32,
    /// Zone of the client.
    pub zone: u16,
    /// Group of the client; 255 if the client is in none.
    pub group: u16,
    /// CLOCK_BOOTTIME, nanoseconds.
    pub time: u64,
    /// Client that asked; IPv4 mapped.
    pub client: V6,
    /// Resolver that was asked; IPv4 mapped.
    pub resolver: V6,
    /// Port of the client, network byte order.
    pub client_port: u16,
    /// IP protocol: 17, or 6 for TCP.
    pub protocol: u8,
    /// Reason of the denial, [`super::Reason`].
    pub reason: u8,
    /// 1 if the query passed nevertheless, since its group is in audit mode or the warm-up lasts.
    pub audited: u8,
    /// Zero.
    pub reserved: [u8; 3],
}
layout!(QueryHead, 56, u32, u16, u16, u64, V6, V6, u16, u8, u8, u8, [u8; 3]);

/// Record of a denied DNS query, with what it asked for.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueryEvent {
    /// Everything but the question.
    pub head: QueryHead,
    /// The question as it was on the wire: name, type, class. Octets behind it mean nothing.
    pub question: [u8; QUESTION_CAPACITY],
}
layout!(QueryEvent, 320, QueryHead, [u8; QUESTION_CAPACITY]);

/// Longest DNS message that the kernel reads, in octets.
pub const ANSWER_CAPACITY: usize = 4096;

/// Bits of [`AnswerEvent::flags`].
pub mod answer_flags {
    /// The kernel has learned addresses from the message.
    pub const LEARNED: u32 = 1;
    /// Some or all addresses of the message found no room.
    pub const FULL: u32 = 2;
    /// The message has more addresses than the kernel learns while a packet waits: userspace learns
    /// the rest.
    pub const DEFERRED: u32 = 4;
    /// The message differs from earlier answers, of which there were as many as questions: userspace
    /// takes back what those have taught.
    pub const CONFLICT: u32 = 8;
    /// The message taught nothing, and is told of for the name that it gives its addresses: it is in
    /// `DNS_EVENTS`.
    pub const UNTAUGHT: u32 = 16;
}

/// Record of a DNS answer to a recorded query for a name of a rule; `length` octets of message
/// follow.
///
/// In `EVENTS` if addresses were learned, would have been learned had there been room, are left to
/// userspace, or are to be taken back; in `DNS_EVENTS` if the message taught nothing.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AnswerEvent {
    /// [`EventKind::Answer`].
    pub kind: u32,
    /// Octets of the message behind the record.
    pub length: u32,
    /// CLOCK_BOOTTIME, nanoseconds.
    pub time: u64,
    /// Rules of the question's name.
    pub rules: RuleMask,
    /// Client that asked; IPv4 mapped.
    pub client: V6,
    /// Bits of [`answer_flags`].
    pub flags: u32,
    /// Zone of the client.
    pub zone: u16,
    /// Zero.
    pub reserved: u16,
}
layout!(AnswerEvent, 64, u32, u32, u64, RuleMask, V6, u32, u16, u16);

/// Ending of a flow.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ending {
    /// The flow has not ended.
    Open = 0,
    /// Both sides have sent FIN.
    Finished = 1,
    /// Either side has sent RST.
    Reset = 2,
    /// The flow was silent for too long.
    Expired = 3,
    /// The policy no longer allows the flow.
    Revoked = 4,
    /// The flow made room for others. The kernel does not report this: userspace finds the flow
    /// missing.
    Evicted = 5,
}

/// Every ending, in the order of its number.
pub const ENDINGS: &[Ending] = &[
    Ending::Open,
    Ending::Finished,
    Ending::Reset,
    Ending::Expired,
    Ending::Revoked,
    Ending::Evicted,
];

impl Ending {
    /// Returns the word that events and commands use.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Finished => "finished",
            Self::Reset => "reset",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::Evicted => "evicted",
        }
    }

    /// Returns the ending with this number; `None` if there is none.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        ENDINGS.get(usize::from(number)).copied()
    }
}

/// Record of a flow, in its state when it was opened or when it ended. Later packets, such as the
/// last acknowledgement of a connection, are not counted.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowEvent {
    /// [`EventKind::Opened`] or [`EventKind::Closed`].
    pub kind: u32,
    /// Zero.
    pub reserved: u32,
    /// CLOCK_BOOTTIME, nanoseconds.
    pub time: u64,
    /// State of the flow.
    pub flow: Flow,
    /// Address of the client; IPv4 mapped.
    pub client: V6,
    /// Address of the remote; IPv4 mapped.
    pub remote: V6,
    /// Port of the client, as in [`super::FlowKey`].
    pub client_port: u16,
    /// Port of the remote, as in [`super::FlowKey`].
    pub remote_port: u16,
    /// Zone of the client.
    pub zone: u16,
    /// IP protocol.
    pub protocol: u8,
    /// [`Ending`] as a number.
    pub ending: u8,
}
layout!(FlowEvent, 152, u32, u32, u64, Flow, V6, V6, u16, u16, u16, u8, u8);

/// A segment of a resolver's answer over TCP that the kernel could not read: part of a message, or
/// out of order; `length` octets of data follow. Segments that are too long for one record come in
/// several.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SegmentEvent {
    /// [`EventKind::Segment`].
    pub kind: u32,
    /// Octets of data behind the record.
    pub length: u32,
    /// Stream of the segment: [`super::Stream::opened`].
    pub opened: u64,
    /// Client that asked; IPv4 mapped.
    pub client: V6,
    /// Resolver that answers; IPv4 mapped.
    pub resolver: V6,
    /// Sequence number of the data's first octet, in the byte order of the host.
    pub sequence: u32,
    /// Sequence number at which the first unread message begins, in the byte order of the host.
    pub answer_next: u32,
    /// Port of the client, network byte order.
    pub port: u16,
    /// Zone of the client.
    pub zone: u16,
    /// Zero.
    pub reserved: u32,
}
layout!(SegmentEvent, 64, u32, u32, u64, V6, V6, u32, u32, u16, u16, u32);
