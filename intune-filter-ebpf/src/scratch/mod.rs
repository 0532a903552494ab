//! Working memory of a run: one per CPU and hook, split by the module that each part belongs to.

mod matcher;
mod pace;
mod packet;
mod parser;
mod reply;
mod stream;

use core::cell::UnsafeCell;

pub use matcher::Matcher;
pub use pace::{ALLOWANCES, Allowance, AllowanceKind, TOLD, Tick};
pub use packet::{COPY_WORDS, PacketCtx};
pub use parser::{Parser, Recent};
pub use reply::Reply;
pub use stream::Segment;

use crate::{
    abi::{AnswerEvent, FlowKey, SegmentEvent, V4, V6},
    memory::Message,
    packet::{Datagram, Headers, Network},
};

/// Octets of the longest record head before a message.
const HEAD: usize = size_of::<SegmentEvent>();

/// Working memory. One exists per CPU and hook.
#[repr(C)]
#[derive(Debug)]
pub struct Scratch {
    /// 1 while a run uses the memory.
    pub claimed: UnsafeCell<u64>,
    /// Headers of the packet.
    pub headers: Headers,
    /// Context of the packet.
    pub ctx: PacketCtx,
    /// Head of the record that reports the message; ends where the message begins.
    pub head: UnsafeCell<[u64; HEAD / 8]>,
    /// Message, or other octets of the packet that loops go over.
    pub message: Message,
    /// State of the DNS parser.
    pub parser: Parser,
    /// State of the name matcher.
    pub matcher: Matcher,
    /// Segment of DNS over TCP.
    pub segment: Segment,
    /// Reply to the denied packet.
    pub reply: Reply,
}

/// Network protocol with places in the working memory.
pub trait Family: Network {
    /// Returns the place of the parsed headers.
    fn datagram(scratch: &Scratch) -> *mut Datagram<Self>;

    /// Returns the place of the flow's key.
    fn key(scratch: &Scratch) -> *mut FlowKey<Self>;

    /// Returns the place of the key of the sender's flow.
    fn sender_key(scratch: &Scratch) -> *mut FlowKey<Self>;
}

macro_rules! family {
    ($address:ty, $datagram:ident, $key:ident, $sender_key:ident) => {
        impl Family for $address {
            #[inline(always)]
            fn datagram(scratch: &Scratch) -> *mut Datagram<Self> {
                scratch.headers.$datagram.get()
            }

            #[inline(always)]
            fn key(scratch: &Scratch) -> *mut FlowKey<Self> {
                scratch.ctx.$key.get()
            }

            #[inline(always)]
            fn sender_key(scratch: &Scratch) -> *mut FlowKey<Self> {
                scratch.ctx.$sender_key.get()
            }
        }
    };
}

family!(V4, datagram4, key4, sender_key4);
family!(V6, datagram6, key6, sender_key6);

impl Scratch {
    /// Returns the place of the head of a record that reports an answer.
    #[inline(always)]
    pub fn answer_event(&self) -> *mut AnswerEvent {
        // The head's end is the message's beginning.
        let offset = HEAD - size_of::<AnswerEvent>();
        self.head.get().cast::<u8>().wrapping_add(offset).cast()
    }

    /// Returns the place of the key of a client's TCP connection to a resolver.
    #[inline(always)]
    pub const fn stream_key(&self) -> *mut FlowKey<V6> {
        self.ctx.stream_key.get()
    }

    /// Returns the place of the head of a record that reports a segment.
    #[inline(always)]
    pub const fn segment_event(&self) -> *mut SegmentEvent {
        self.head.get().cast()
    }
}

// SAFETY: each element is one CPU's and one hook's, and claimed for the length of a run.
#[cfg(target_arch = "bpf")]
unsafe impl Sync for Scratch {}

#[cfg(not(target_arch = "bpf"))]
impl Default for Scratch {
    fn default() -> Self {
        // SAFETY: every field is made of integers, for which zero is valid.
        unsafe { core::mem::zeroed() }
    }
}
