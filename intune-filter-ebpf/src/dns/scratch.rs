//! Working memory of the DNS code: a message and the state of the loops over it.

use core::cell::UnsafeCell;

use super::access;
use crate::{
    abi::{
        ANSWER_CAPACITY, AnswerEvent, EdgeKey, Flow, FlowKey, FragmentKey, FragmentVerdict, OwnKey,
        Pending, PendingKey, SegmentEvent, Stream, Taking, V4, V6,
    },
    packet::Datagram,
};

/// Octets of the longest head of a record with a message.
const HEAD: usize = size_of::<SegmentEvent>();
/// Octets behind the message that a load near its end may touch.
const SLACK: usize = 64;
/// Labels of a name at most, and twice the records of an answer at most, rounded up.
const SLOTS: usize = 128;

/// Words of the largest value of a map that is copied.
pub const COPY_WORDS: usize = 11;

/// One word of state. Access is volatile: the verifier forgets what was stored, so every
/// iteration of a loop looks alike to it, and the compiler cannot keep the word in a register.
#[repr(transparent)]
#[derive(Debug)]
pub struct Word(UnsafeCell<u64>);

impl Word {
    /// A word.
    #[must_use]
    pub const fn new(value: u64) -> Self {
        Self(UnsafeCell::new(value))
    }

    /// What it holds.
    #[inline(always)]
    pub fn get(&self) -> u64 {
        // SAFETY: the cell is this CPU's alone while its scratch is claimed.
        unsafe { self.0.get().read_volatile() }
    }

    /// Replaces what it holds.
    #[inline(always)]
    pub fn set(&self, value: u64) {
        // SAFETY: as in `get`.
        unsafe { self.0.get().write_volatile(value) }
    }

    /// Adds to what it holds.
    #[inline(always)]
    pub fn add(&self, value: u64) {
        self.set(self.get().wrapping_add(value));
    }
}

/// A DNS message. Offsets wrap at its capacity, so that no load can leave it.
#[repr(transparent)]
#[derive(Debug)]
pub struct Message(UnsafeCell<[u8; ANSWER_CAPACITY + SLACK]>);

/// Numbers by index, such as the offsets of labels. Indices wrap.
#[repr(transparent)]
#[derive(Debug)]
pub struct Slots(UnsafeCell<[u64; SLOTS]>);

/// The working memory. One exists per CPU and hook.
#[repr(C)]
#[derive(Debug)]
pub struct Scratch {
    /// 1 while a run uses the memory.
    pub claimed: UnsafeCell<u64>,
    /// The packet's headers and keys.
    pub facts: Facts,
    /// Head of the record that reports the message, at its end: stands directly before it.
    pub head: UnsafeCell<[u64; HEAD / 8]>,
    /// The message.
    pub message: Message,
    /// Octets of the message.
    pub length: Word,
    /// Index of the policy's maps.
    pub set: Word,
    /// Keys the hashes of names.
    pub seed: Word,
    /// Offsets of the question's labels, from left to right.
    pub labels: Slots,
    /// How many there are.
    pub label_count: Word,
    /// Where the walk over the question stands; behind it, where the answers begin.
    pub position: Word,
    /// 1 if the walk came to a proper end.
    pub complete: Word,
    /// State of a hash: what was mixed so far.
    pub hash: Word,
    /// State of the walk over a name: before which offset a pointer must point. State of the hash
    /// of a question: where it ends.
    pub pointer_limit: Word,
    /// State of the walk over a name: before which offset its labels must begin.
    pub name_bound: Word,
    /// State of the walk over a name: octets of its labels.
    pub name_length: Word,
    /// Steps that the loops over the answer may still take.
    pub steps_left: Word,
    /// Where the name ends in its place, 0 before that is known.
    pub name_end: Word,
    /// The owner that was read last.
    pub recent_owner: Recent,
    /// The target of a CNAME that was read last.
    pub recent_target: Recent,
    /// State of the matcher: 1 while it follows edges.
    pub match_walking: Word,
    /// State of the matcher: labels that the edges have not led over yet.
    pub match_left: Word,
    /// State of the matcher: chunk of the label.
    pub match_chunk: Word,
    /// State of the matcher: node.
    pub match_node: Word,
    /// State of the matcher: globs that labels are still to be compared with, as
    /// [`super::matcher`] packs them. The labels stand ever further left.
    pub match_globs: Slots,
    /// How many there are.
    pub match_glob_count: Word,
    /// The matcher's result.
    pub match_rules: Word,
    /// The matcher's other result: 1 if the name is one of a known server of DNS over HTTPS.
    pub match_over_https: Word,
    /// State of the walk over options or extension headers: where they end.
    pub headers_end: Word,
    /// State of the walk over extension headers: the next one's protocol.
    pub header_protocol: Word,
    /// State of the walk over extension headers: how many were passed.
    pub header_count: Word,
    /// Offset and "more fragments" of a fragment header.
    pub fragment_field: Word,
    /// Its identification.
    pub fragment_id: Word,
    /// Where the data behind it begins.
    pub fragment_start: Word,
    /// State of the walk over TCP options: the kind that is looked for.
    pub option_kind: Word,
    /// What the walk found, see [`crate::packet`].
    pub header_result: Word,
    /// State of the walk over records: where the next begins.
    pub record: Word,
    /// State of the walk over records: records left.
    pub records_left: Word,
    /// Behind the name of a query's OPT record; 0 if it has none.
    pub opt: Word,
    /// CNAMEs found, as [`super::answer`] packs them.
    pub aliases: Slots,
    /// How many there are.
    pub alias_count: Word,
    /// State of the walk along CNAMEs: the next to be looked at.
    pub alias_next: Word,
    /// State of the walk along CNAMEs: how many may still be followed.
    pub chain_left: Word,
    /// Hash of the name that they lead to: of the owner that addresses must have.
    pub owner: Word,
    /// Service records found, as [`super::service`] packs them.
    pub services: Slots,
    /// How many there are.
    pub service_count: Word,
    /// State of the walk over services: the next to be looked at.
    pub service_next: Word,
    /// State of the walk over a service's parameters: where the next begins; 0 before the first.
    pub parameter: Word,
    /// State of the walk over a service's parameters: where they end.
    pub parameters_end: Word,
    /// State of the walk over a service's parameters: the least key that the next may have.
    pub parameter_key: Word,
    /// State of the walk over a hint: where its next address begins.
    pub hint: Word,
    /// State of the walk over a hint: where it ends.
    pub hint_end: Word,
    /// State of the walk over a hint: the type of its addresses.
    pub hint_kind: Word,
    /// Address records found, as [`super::answer`] packs them.
    pub addresses: Slots,
    /// How many there are.
    pub address_count: Word,
    /// Addresses looked at so far.
    pub address_next: Word,
    /// How many of them at most.
    pub address_most: Word,
    /// Addresses learned.
    pub learned: Word,
    /// Addresses refused.
    pub refused: Word,
    /// Addresses that found no room.
    pub full: Word,
    /// Addresses that could not be written to at this moment.
    pub busy: Word,
    /// Time at which the answer passed.
    pub now: Word,
    /// A segment of DNS over TCP.
    pub segment: Segment,
    /// An answer to a denied packet that is to be sent.
    pub reply: Reply,
    /// A refusal that is to be sent.
    pub refusal: Refusal,
    /// Least and most time to live and the grace, seconds.
    pub ttl_min: Word,
    /// See `ttl_min`.
    pub ttl_max: Word,
    /// See `ttl_min`.
    pub ttl_grace: Word,
}

/// A name that was read.
#[repr(C)]
#[derive(Debug)]
pub struct Recent {
    /// Where its labels begin, or the second pointer of a name that begins with two.
    pub offset: Word,
    /// Its hash.
    pub hash: Word,
}

/// What is known of the packet at hand. It is here and not on the stack, of which the kernel's
/// programs have 512 octets in all.
#[repr(C)]
#[derive(Debug)]
pub struct Facts {
    /// Headers of an IPv4 packet.
    pub datagram4: UnsafeCell<Datagram<V4>>,
    /// Headers of an IPv6 packet.
    pub datagram6: UnsafeCell<Datagram<V6>>,
    /// Its source; IPv4 mapped.
    pub source: UnsafeCell<V6>,
    /// Its destination; IPv4 mapped.
    pub destination: UnsafeCell<V6>,
    /// Key of a lookup in a trie: the prefix length, and up to five words.
    pub trie_key: UnsafeCell<[u32; 6]>,
    /// An address that is to be learned.
    pub address4: UnsafeCell<V4>,
    /// An address that is to be learned, or the mapped form of the one above.
    pub address6: UnsafeCell<V6>,
    /// Key of a pending query.
    pub pending_key: UnsafeCell<PendingKey>,
    /// A pending query.
    pub pending: UnsafeCell<Pending>,
    /// Key of its flow.
    pub key4: UnsafeCell<FlowKey<V4>>,
    /// Key of its flow.
    pub key6: UnsafeCell<FlowKey<V6>>,
    /// Key of an edge of the names' trie.
    pub edge: UnsafeCell<EdgeKey>,
    /// Key of a fragmented datagram.
    pub fragment_key: UnsafeCell<FragmentKey>,
    /// What is to be remembered of it.
    pub fragment: UnsafeCell<FragmentVerdict>,
    /// A flow that is to be opened, or that has ended.
    pub flow: UnsafeCell<Flow>,
    /// Which record is made of it, [`crate::abi::EventKind`].
    pub flow_kind: Word,
    /// How it has ended, [`crate::abi::Ending`].
    pub flow_ending: Word,
    /// Copy of a map's value, where nothing is to be changed.
    pub copy: UnsafeCell<[u64; COPY_WORDS]>,
    /// Key of a client's TCP connection to a resolver.
    pub stream_key: UnsafeCell<FlowKey<V6>>,
    /// One that is to be opened.
    pub stream: UnsafeCell<Stream>,
    /// What the client wishes to begin.
    pub taking: UnsafeCell<Taking>,
    /// 1 once its headers are here and not another packet's.
    pub parsed: Word,
    /// When it was seen.
    pub now: Word,
    /// 1 once no answered flow was found under its key.
    pub no_answered_flow: Word,
    /// The policy in force.
    pub generation: Word,
    /// The interface's index.
    pub ifindex: Word,
    /// The client's zone.
    pub zone: Word,
    /// Whether the gateway itself sent the packet.
    pub from_gateway: Word,
    /// Packets that the frame stands for.
    pub packets: Word,
    /// Where the IP header begins.
    pub network_offset: Word,
    /// A verdict, as [`crate::verdict::Verdict`] packs it.
    pub verdict: Word,
    /// The verdict's rules.
    pub rules: Word,
    /// A question to the routing table.
    pub route: UnsafeCell<[u64; 8]>,
    /// Where the route is to lead.
    pub route_to: UnsafeCell<V6>,
    /// Whose packet asks, for rules that go by that; unspecified if nobody's.
    pub route_from: UnsafeCell<V6>,
    /// An address of the gateway's on a device.
    pub own: UnsafeCell<OwnKey>,
}

/// A TCP segment to or from a resolver, and what its stream says of it.
#[repr(C)]
#[derive(Debug)]
pub struct Segment {
    /// Sequence number of its first octet.
    pub sequence: Word,
    /// What it acknowledges.
    pub acknowledgment: Word,
    /// Where its data begins in the frame.
    pub data: Word,
    /// Octets of data.
    pub length: Word,
    /// Octets of data that were gone over.
    pub done: Word,
    /// Octets of a message whose length came in the segment before; 0 if none is owed.
    pub owed: Word,
    /// What was found of its next message.
    pub found: Word,
    /// Octets that are missing of its last message; 0 if that is not known.
    pub missing: Word,
    /// 1 if it repeats what was judged.
    pub repeats: Word,
    /// Not 0 if its connection was not judged at some time.
    pub unjudged: Word,
    /// Names its connection among those whose octets are kept.
    pub owner: Word,
    /// Queries among its messages; of a resolver's, those that it answers.
    pub queries: Word,
    /// The stream's [`Stream::opened`].
    pub opened: Word,
    /// Where the next message begins that was not read.
    pub next: Word,
    /// 1 if it goes on to the client, even though userspace is to read it.
    pub passes: Word,
}

/// What it takes to turn a denied packet into the answer to it.
#[repr(C)]
#[derive(Debug)]
pub struct Reply {
    /// [`crate::verdict::REPLY_RESET`] or [`crate::verdict::REPLY_PROHIBITED`].
    pub kind: Word,
    /// 1 if it is IPv6.
    pub v6: Word,
    /// Sequence number of the reset.
    pub sequence: Word,
    /// Acknowledgment number of the reset.
    pub acknowledgment: Word,
    /// TCP flags of the reset.
    pub flags: Word,
}

/// What it takes to turn a query's frame into its refusal.
#[repr(C)]
#[derive(Debug)]
pub struct Refusal {
    /// Where the IP header begins.
    pub network_offset: Word,
    /// Where the UDP header begins.
    pub transport_offset: Word,
    /// Octets of the message.
    pub length: Word,
}

impl Scratch {
    /// Where the head of a record stands that reports an answer.
    #[inline(always)]
    pub fn answer_event(&self) -> *mut AnswerEvent {
        // The head's end is the message's beginning.
        let offset = HEAD - size_of::<AnswerEvent>();
        self.head.get().cast::<u8>().wrapping_add(offset).cast()
    }

    /// Where the key stands of a client's TCP connection to a resolver.
    #[inline(always)]
    pub const fn stream_key(&self) -> *mut FlowKey<V6> {
        self.facts.stream_key.get()
    }

    /// Where the head of a record stands that reports a segment.
    #[inline(always)]
    pub const fn segment_event(&self) -> *mut SegmentEvent {
        self.head.get().cast()
    }
}

// SAFETY: the host's tests and tools give each thread its own; the kernel's are per CPU and
// claimed for the length of a run.
unsafe impl Sync for Scratch {}

impl Message {
    /// The octet at `offset`.
    #[inline(always)]
    pub fn octet(&self, offset: u64) -> u64 {
        access::octet(self.0.get().cast(), offset)
    }

    /// The two octets at `offset`, big-endian.
    #[inline(always)]
    pub fn be16(&self, offset: u64) -> u64 {
        u64::from(u16::from_be(access::word16(self.0.get().cast(), offset)))
    }

    /// The four octets at `offset`, as they are in memory.
    #[inline(always)]
    pub fn ne32(&self, offset: u64) -> u32 {
        access::word32(self.0.get().cast(), offset)
    }

    /// The eight octets at `offset`, as they are in memory.
    #[inline(always)]
    pub fn ne64(&self, offset: u64) -> u64 {
        access::word64(self.0.get().cast(), offset)
    }

    /// Replaces the two octets at `offset` by a big-endian number.
    #[inline(always)]
    pub fn set_be16(&self, offset: u64, value: u16) {
        access::store16(self.0.get().cast(), offset, value.to_be());
    }

    /// Replaces the octet at `offset`.
    #[inline(always)]
    pub fn set_octet(&self, offset: u64, value: u8) {
        access::store8(self.0.get().cast(), offset, value);
    }

    /// Where the octets are.
    #[inline(always)]
    pub fn as_mut_ptr(&self) -> *mut u8 {
        self.0.get().cast()
    }

    /// Replaces the message by `octets`; false if they are too many.
    #[cfg(not(target_arch = "bpf"))]
    pub fn fill(&self, octets: &[u8]) -> bool {
        if octets.len() > ANSWER_CAPACITY {
            return false;
        }
        // SAFETY: the capacity was checked, and the scratch is the caller's alone.
        unsafe {
            core::ptr::copy_nonoverlapping(octets.as_ptr(), self.as_mut_ptr(), octets.len());
        }
        true
    }
}

impl Slots {
    /// The number at `index`.
    #[inline(always)]
    pub fn get(&self, index: u64) -> u64 {
        access::slot(self.0.get().cast(), index)
    }

    /// Replaces the number at `index`.
    #[inline(always)]
    pub fn set(&self, index: u64, value: u64) {
        access::store_slot(self.0.get().cast(), index, value);
    }
}

#[cfg(not(target_arch = "bpf"))]
impl Default for Scratch {
    fn default() -> Self {
        // SAFETY: every field is made of integers, for which zero is valid.
        unsafe { core::mem::zeroed() }
    }
}
