//! Records of the ring buffer `EVENTS`.

use super::{Flow, RuleMask, V6, layout};

/// First field of every record.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// [`DeniedEvent`].
    Denied = 1,
    /// [`AnswerEvent`], followed by the message.
    Answer = 2,
    /// [`FlowEvent`]: a flow was opened.
    Opened = 3,
    /// [`FlowEvent`]: a flow has ended.
    Closed = 4,
    /// [`SegmentEvent`], followed by the segment's data.
    Segment = 5,
}

/// A denied packet.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeniedEvent {
    /// [`EventKind::Denied`].
    pub kind: u32,
    /// The interface.
    pub ifindex: u32,
    /// CLOCK_BOOTTIME, nanoseconds.
    pub time: u64,
    /// Rules whose destination it is.
    pub rules: RuleMask,
    /// The packet's source; IPv4 mapped.
    pub source: V6,
    /// The packet's destination; IPv4 mapped.
    pub destination: V6,
    /// Source port, network byte order.
    pub source_port: u16,
    /// Destination port, network byte order.
    pub destination_port: u16,
    /// The client's zone.
    pub zone: u16,
    /// The client's group, or 255 if it has none.
    pub group: u16,
    /// IP protocol.
    pub protocol: u8,
    /// [`super::Reason`].
    pub reason: u8,
    /// 1 if the packet passed all the same, since its group is audited.
    pub audited: u8,
    /// 1 on egress.
    pub egress: u8,
    /// Zero.
    pub reserved: u32,
}
layout!(DeniedEvent, 88, u32, u32, u64, RuleMask, V6, V6, u16, u16, u16, u16, u8, u8, u8, u8, u32);

/// Octets of a DNS message that the kernel reads at most.
pub const ANSWER_CAPACITY: usize = 4096;

/// Bits of [`AnswerEvent::flags`].
pub mod answer_flags {
    /// The kernel has learned addresses of the message.
    pub const LEARNED: u32 = 1;
    /// There was no room for some of them, or for any.
    pub const FULL: u32 = 2;
    /// There are more of them than the kernel learns while a packet waits: userspace learns the rest.
    pub const DEFERRED: u32 = 4;
}

/// A DNS answer to a recorded query for a name of a rule, from which addresses were learned, would
/// have been had there been room, or are to be learned by userspace; `length` octets of message follow.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AnswerEvent {
    /// [`EventKind::Answer`].
    pub kind: u32,
    /// Octets of the message.
    pub length: u32,
    /// CLOCK_BOOTTIME, nanoseconds.
    pub time: u64,
    /// Rules of the question's name.
    pub rules: RuleMask,
    /// Client that asked; IPv4 mapped.
    pub client: V6,
    /// See [`answer_flags`].
    pub flags: u32,
    /// The client's zone.
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
    /// The policy allows it no more.
    Revoked = 4,
    /// The flow made room for others. The kernel does not report it: userspace misses the flow.
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
    /// The word that events and commands use.
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

    /// The ending with this number.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        ENDINGS.get(usize::from(number)).copied()
    }
}

/// A flow as it was when it was opened, or when it ended: what a connection's last
/// acknowledgement adds is not in it any more.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowEvent {
    /// [`EventKind::Opened`] or [`EventKind::Closed`].
    pub kind: u32,
    /// Zero.
    pub reserved: u32,
    /// CLOCK_BOOTTIME, nanoseconds.
    pub time: u64,
    /// The flow.
    pub flow: Flow,
    /// The client; IPv4 mapped.
    pub client: V6,
    /// The remote; IPv4 mapped.
    pub remote: V6,
    /// The client's port, as in [`super::FlowKey`].
    pub client_port: u16,
    /// The remote's port, as in [`super::FlowKey`].
    pub remote_port: u16,
    /// The client's zone.
    pub zone: u16,
    /// IP protocol.
    pub protocol: u8,
    /// [`Ending`].
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
    /// Octets of data.
    pub length: u32,
    /// Stream of the record: [`super::Stream::opened`].
    pub opened: u64,
    /// Who asked; IPv4 mapped.
    pub client: V6,
    /// Resolver that answers; IPv4 mapped.
    pub resolver: V6,
    /// Sequence number of the data's first octet, in the byte order of the host.
    pub sequence: u32,
    /// Sequence number at which the first message begins that was not read yet.
    pub answer_next: u32,
    /// The client's port, network byte order.
    pub port: u16,
    /// The client's zone.
    pub zone: u16,
    /// Zero.
    pub reserved: u32,
}
layout!(SegmentEvent, 64, u32, u32, u64, V6, V6, u32, u32, u16, u16, u32);
