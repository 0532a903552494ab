//! Records of the ring buffer `EVENTS`.

use super::{V6, layout};

/// First field of every record.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// [`DeniedEvent`].
    Denied = 1,
    /// [`AnswerEvent`], followed by the message.
    Answer = 2,
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
    pub rules: u64,
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
layout!(DeniedEvent, 72, u32, u32, u64, u64, V6, V6, u16, u16, u16, u16, u8, u8, u8, u8, u32);

/// Octets of a DNS message that the kernel reads at most.
pub const ANSWER_CAPACITY: usize = 4096;

/// Bits of [`AnswerEvent::flags`].
pub mod answer_flags {
    /// The kernel has learned the addresses of the message.
    pub const LEARNED: u32 = 1;
}

/// A DNS answer to a recorded query for a name of a rule; `length` octets of message follow.
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
    pub rules: u64,
    /// Who asked; IPv4 mapped.
    pub client: V6,
    /// See [`answer_flags`].
    pub flags: u32,
    /// The client's zone.
    pub zone: u16,
    /// Zero.
    pub reserved: u16,
}
layout!(AnswerEvent, 48, u32, u32, u64, u64, V6, u32, u16, u16);
