//! Maps, clock and records that the logic works on, as traits by subject. The kernel has one
//! implementation and the host another, so that the logic exists once.

use crate::abi::{
    Active, EdgeKey, Ending, Flow, FlowKey, Glob, Matched, NO_RULE, NameNode, Occurrence, Reason,
    RuleMask, Settings, Standing, Stream, Taking, V4, V6,
};
use crate::{
    maps::{KeyedAccess, keyed},
    memory::RuleCell,
    packet::Direction,
    result_word::{register_word, result_word},
    scratch::{Family, Scratch},
};
pub use crate::{
    reports::Reports,
    routes::{Route, Routes},
};

register_word!(Location, RateDecision, FarEnd);

result_word! {
    /// Location of a destination, seen from the client.
    pub Location {
        /// Not an address of the gateway, as far as is known.
        ELSEWHERE = 0,
        /// Address of the gateway, on another network than the client's.
        APART = 1,
        /// Address of the gateway, on the client's network.
        HERE = 2,
    }
}

result_word! {
    /// Location of the remote of a flow between zones, by a packet to the client.
    pub FarEnd {
        /// Not where the packet comes from: somebody else has sent it.
        ELSEWHERE = 0,
        /// In its zone, from whose device the packet was received.
        THERE = 1,
        /// In its zone no more, by the routes.
        LEFT = 2,
    }
}

/// Result of learning an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Insertion {
    /// The map has the address, with the rules and until the time given.
    Done,
    /// The map is full.
    Full,
    /// The map is crowded, and the owner has its share of it.
    OverShare,
    /// Userspace is taking something from the element: the answer has to come again.
    Busy,
}

result_word! {
    /// Decision of a client's rate limit.
    pub RateDecision {
        /// The rate is exceeded.
        EXCEEDED = 0,
        /// The rate conforms.
        CONFORMING = 1,
        /// No bucket is free for the client.
        NO_BUCKET = 2,
    }
}

/// Group that a source belongs to: what a [`crate::abi::Client`] says beside its rules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Member {
    /// As [`crate::abi::Client::group`].
    pub group: u32,
    /// As [`crate::abi::Client::mode`].
    pub mode: u8,
    /// As [`crate::abi::Client::flags`].
    pub flags: u8,
    /// As [`crate::abi::Client::devices`].
    pub devices: u16,
}

impl Member {
    /// Bit in `flags` that no map has: the packet's source is not checked.
    pub const BELIEVED: u8 = 1 << 7;

    /// The bit that every word of a member has: a group's number is far below it.
    const FOUND: u64 = 1 << 31;

    /// Word of the member.
    #[inline(always)]
    #[must_use]
    pub const fn word(self) -> u64 {
        let Self { group, mode, flags, devices } = self;
        let group = Self::FOUND | group as u64;
        (devices as u64) << 48 | (flags as u64) << 40 | (mode as u64) << 32 | group
    }

    /// Member that a word stands for; `None` for 0.
    #[inline(always)]
    #[must_use]
    pub const fn from_word(word: u64) -> Option<Self> {
        if word == 0 {
            return None;
        }
        Some(Self {
            group: (word & (Self::FOUND - 1)) as u32,
            mode: (word >> 32) as u8,
            flags: (word >> 40) as u8,
            devices: (word >> 48) as u16,
        })
    }
}

/// What rules say of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RuleMatch {
    /// [`Reason::Policy`] if a rule allows it, or else why none does.
    pub reason: Reason,
    /// The lowest rule that allows it, or whose destination it is, or [`NO_RULE`].
    pub rule: u8,
    /// What leads to its destination, of an allowed one.
    pub matched: Matched,
    /// Whether it may be tried during the warm-up, its destination being unknown.
    pub may_be_tried: bool,
}

impl RuleMatch {
    /// Denial where the working memory is not at hand.
    pub const UNTOLD: Self = Self {
        reason: Reason::Busy,
        rule: NO_RULE,
        matched: Matched::Nothing,
        may_be_tried: false,
    };

    /// Word of the match.
    #[inline(always)]
    #[must_use]
    pub const fn word(self) -> u64 {
        let Self { reason, rule, matched, may_be_tried } = self;
        (may_be_tried as u64) << 24 | (matched as u64) << 16 | (rule as u64) << 8 | reason as u64
    }

    /// Match that a word stands for.
    ///
    /// # Safety
    ///
    /// The word is one that [`Self::word`] has made.
    #[inline(always)]
    #[must_use]
    pub const unsafe fn from_word(word: u64) -> Self {
        // SAFETY: the caller's promise.
        let (reason, matched) = unsafe {
            (
                core::mem::transmute::<u8, Reason>(word as u8),
                core::mem::transmute::<u8, Matched>((word >> 16) as u8),
            )
        };
        Self { reason, rule: (word >> 8) as u8, matched, may_be_tried: word >> 24 != 0 }
    }
}

/// Counter of a rule that a packet adds to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleEvent {
    /// Packet of one of the rule's flows.
    Packet,
    /// First packet of one of the rule's flows.
    Opened,
    /// Denied packet to one of the rule's destinations.
    Denied,
    /// Packet to one of the rule's destinations that passed only since its group is audited or the
    /// warm-up lasts.
    Audited,
}

/// Nanoseconds per second.
pub const NANOS_PER_SEC: u64 = 1_000_000_000;

/// Clock of a run.
pub trait Clock: Copy {
    /// Returns CLOCK_BOOTTIME in nanoseconds.
    fn now(self) -> u64;
    /// Returns CLOCK_BOOTTIME in nanoseconds, to within a tick of the system, at less cost.
    fn tick(self) -> u64;
}

/// Working memory of a run.
pub trait WorkingMemory: Copy {
    /// Whether the run changes no map: the logic then changes copies of map values, which are in
    /// the working memory.
    fn is_read_only(self) -> bool;
    /// Claims the working memory; `None` while a run that this one interrupts has it.
    fn claim<'s>(self) -> Option<&'s Scratch>
    where
        Self: 's;
    /// Releases the working memory.
    fn release(self, scratch: &Scratch);
}

/// Maps of a policy, which userspace fills; `set` is the slot of the policy in force.
pub trait PolicyMaps: Copy {
    /// Returns the policy in force; `None` until the first is loaded.
    fn active(self) -> Option<Active>;
    /// Returns the zone of an interface and VLAN id.
    fn zone(self, ifindex: u32, vlan: u16) -> Option<u16>;
    /// Returns the options of the policy.
    fn settings<'s>(self, set: u32) -> Option<&'s Settings>
    where
        Self: 's;
    /// Puts the rules of a protocol and port, see [`crate::abi::port_index`], into `rules`.
    fn port(self, set: u32, index: u32, rules: &RuleCell);
    /// Kinds of server that an address is, see [`crate::abi::SERVER_RESOLVER`].
    fn server(self, set: u32, address: &V6) -> u32;
    /// Calls `visit` with the node that the trie's edge leads to.
    fn edge<R>(self, set: u32, key: &EdgeKey, visit: impl FnOnce(&NameNode) -> R) -> Option<R>;
    /// Calls `visit` with the glob with this number.
    fn glob<R>(self, set: u32, index: u32, visit: impl FnOnce(&Glob) -> R) -> Option<R>;
}

/// Addresses, ports and routes of the gateway.
pub trait GatewayMaps: Copy {
    /// Whether an address is the gateway's, as far as userspace has recorded.
    fn is_own(self, address: &V6) -> bool;
    /// Whether the gateway has an address on a device, given by its index.
    fn is_own_on(self, scratch: &Scratch, device: u32, address: &V6) -> bool;
    /// Returns the index of the device on which the gateway's stack receives packets of a zone; 0
    /// if unknown.
    fn device(self, zone: u16) -> u32;
    /// Whether packets of a zone have no hardware addresses: [`crate::abi::DEVICE_LAYER3`].
    fn is_layer3(self, zone: u16) -> bool;
    /// Whether the sender of the packet in the working memory has a hardware address of a group.
    fn has_mac(self, scratch: &Scratch, set: u32, group: u32) -> bool;
    /// Senders that a zone lets pass, bits of [`crate::abi::sender`].
    fn source_check(self, set: u32, zone: u16) -> u32;
    /// Whether a port of the gateway is open, by [`crate::abi::port_index`].
    fn is_gateway_port(self, set: u32, index: u32) -> bool;
    /// Looks up the route of packets from an interface; source and destination are in the working
    /// memory, and so is then the neighbour that the route leads to.
    fn route(self, scratch: &Scratch, ifindex: u32, routes: Routes) -> Route;
}

/// Followed TCP connections, and the octets that are kept of them.
pub trait StreamMaps: Copy {
    /// Calls `visit` with a client's TCP connection to a resolver.
    fn stream<R>(self, key: &FlowKey<V6>, visit: impl FnOnce(&mut Stream) -> R) -> Option<R>;
    /// Records a connection that a client opens, in place of one under the same key.
    fn open_stream(self, key: &FlowKey<V6>, stream: &Stream);
    /// Gives a slot of kept octets to an owner, an odd number, for writing: whether it was the
    /// owner's before, `None` if another has or takes it at this moment.
    fn own_kept(self, slot: u32, owner: u64) -> Option<bool>;
    /// Ends an owner's writing to a slot of kept octets.
    fn settle_kept(self, slot: u32, owner: u64);
    /// Whether a slot of kept octets belongs to an owner. Orders reads of the slot before and
    /// after.
    fn is_kept_of(self, slot: u32, owner: u64) -> bool;
    /// Keeps the octet with this sequence number.
    fn keep_octet(self, slot: u32, number: u32, octet: u64);
    /// Returns the kept octet with this sequence number.
    fn kept_octet(self, slot: u32, number: u32) -> u64;
}

/// Rate limits of clients.
pub trait RateLimits: Copy {
    /// Takes a token from a client's bucket.
    fn conform(self, request: &Taking) -> RateDecision;
    /// Returns what was noted a moment ago of the sender whose bucket has the request's key:
    /// [`crate::abi::LIMIT_PROVEN`] or [`crate::abi::LIMIT_ROUTED`], or 0 if nothing was.
    fn noted_proof(self, request: &Taking) -> usize;
    /// Notes in that bucket that its sender was proven now; the request's kind is where.
    fn note_proof(self, request: &Taking);
    /// Whether one more reply to a denied packet may be sent now.
    fn may_reply(self, now: u64) -> bool;
}

/// Counters of packets and occurrences.
pub trait Counters: Copy {
    /// Adds to the element of `COUNTERS` with this index.
    fn count_at(self, counter: u32, packets: u32, bytes: u32);

    /// Counts packets with a verdict for this reason.
    #[inline(always)]
    fn count(self, reason: Reason, packets: u32, bytes: u32) {
        self.count_at(reason.counter(), packets, bytes);
    }

    /// Counts one occurrence.
    #[inline(always)]
    fn count_occurrence(self, occurrence: Occurrence, bytes: u32) {
        self.count_at(occurrence.counter(), 1, bytes);
    }

    /// Adds to the counters of a group's denials, in the slot of the policy in force.
    fn count_group(self, set: u32, group: u8, reason: Reason, audited: bool, packets: u64);

    /// Adds to the counters of a rule.
    fn count_rule(self, rule: u8, event: RuleEvent, packets: u32, bytes: u32);
}

/// Steps that are global functions in the kernel, each of which the verifier checks once (Linux
/// commit 51c39bb1d5d1).
pub trait GlobalFns: Copy {
    /// Runs [`crate::verdict::note_segment`].
    fn note_segment(
        self,
        flow: &mut Flow,
        scratch: &Scratch,
        flags: u8,
        direction: Direction,
    ) -> u16;
    /// As [`crate::verdict::keep_octets`].
    fn keep_octets(self, scratch: &Scratch);
    /// Runs [`crate::verdict::compare_octets`].
    fn compare_octets(self, scratch: &Scratch);
    /// Runs [`crate::verdict::has_token`].
    fn has_token(self, scratch: &Scratch, kind: u64, who: u64) -> bool;
    /// Runs [`crate::verdict::tell_denial`].
    fn tell_denial(self, scratch: &Scratch, ends: u64, from_client: bool);
    /// Runs [`crate::verdict::tell_untaught`].
    fn tell_untaught(self, scratch: &Scratch);
    /// Runs [`crate::verdict::is_believed`].
    fn is_believed(self, scratch: &Scratch, who: u64) -> bool;
    /// Runs [`crate::verdict::is_on_link`].
    fn is_on_link(self, scratch: &Scratch) -> bool;
    /// As [`crate::verdict::end_flow`].
    fn end_flow(self, flow: &mut Flow, scratch: &Scratch, ending: Ending) -> u8;
    /// As [`crate::verdict::match_rules`].
    fn match_rules(self, scratch: &Scratch, v6: bool, port: u64) -> RuleMatch;
    /// Runs [`crate::verdict::match_sender`].
    fn match_sender(self, scratch: &Scratch, v6: bool, port: u64) -> RuleMatch;
    /// As [`crate::verdict::allows_rule`].
    fn allows_rule(self, scratch: &Scratch, rule: u8, port: u64) -> bool;
    /// As [`crate::verdict::is_sent`].
    fn is_sent(self, scratch: &Scratch, v6: bool) -> bool;
    /// Runs [`crate::verdict::sending_zone`].
    fn sending_zone(self, scratch: &Scratch, v6: bool) -> u16;
    /// Runs [`crate::verdict::far_end`].
    fn far_end(self, scratch: &Scratch, zone: u16, opened_by_client: bool) -> FarEnd;
    /// As [`crate::verdict::own_location`].
    fn own_location(self, scratch: &Scratch) -> Location;
    /// Runs [`crate::verdict::routed_location`].
    fn routed_location(self, scratch: &Scratch) -> Location;
    /// Runs [`crate::verdict::is_forged`].
    fn is_forged(self, scratch: &Scratch) -> bool;
    /// Runs [`crate::verdict::note_query`].
    fn note_query(self, scratch: &Scratch, question: u64);
    /// Runs [`crate::verdict::note_answer`].
    fn note_answer(self, scratch: &Scratch, question: u64) -> Standing;
    /// Runs [`crate::verdict::is_astray`].
    fn is_astray(self, scratch: &Scratch) -> bool;
    /// Runs [`crate::dns::walk_patterns`].
    fn walk_patterns(self, scratch: &Scratch);
    /// Runs [`crate::dns::read_answer`].
    fn read_answer(self, scratch: &Scratch, start: u64) -> bool;
    /// Runs [`crate::dns::learn_addresses`].
    fn learn_addresses(self, scratch: &Scratch);
}

/// Groups and destinations of a policy, of one address family.
pub trait ClientMaps<A: Family>: Copy {
    /// The group of a source, whose rules are put into the working memory.
    fn client(self, scratch: &Scratch, set: u32, zone: u16, address: &A) -> Option<Member>;
    /// Puts the rules of the longest network that holds the address into `rules`.
    fn networks(self, scratch: &Scratch, set: u32, address: &A, rules: &RuleCell);
    /// Returns bits of what DNS answers may say of the address, such as [`crate::abi::ANSWER_ACCEPTED`].
    fn answer(self, scratch: &Scratch, set: u32, address: &A) -> u32;
}

/// Learned addresses, of one address family.
pub trait HostMaps<A: Family>: Copy {
    /// Expiry of a learned address, whose rules are put into `rules`; 0 if it is not known.
    fn host(self, address: &A, rules: &RuleCell) -> u64;
    /// Adds rules to an address and prolongs it, at a time: what it has stays, and what it had when
    /// it expired does not come back. A new one counts as its owner's.
    fn learn(self, address: &A, rules: &RuleMask, expires: u64, now: u64, owner: u64) -> Insertion;
}

/// Flows, of one address family.
pub trait FlowMaps<A: Family>: Copy {
    /// Calls `visit` with an answered flow.
    fn flow<R>(self, key: &FlowKey<A>, visit: impl FnOnce(&mut Flow) -> R) -> Option<R>;
    /// Calls `visit` with a flow that was not answered yet.
    fn new_flow<R>(self, key: &FlowKey<A>, visit: impl FnOnce(&mut Flow) -> R) -> Option<R>;
    /// Opens a flow in place of one under the same key, even an answered one if `may_be_answered`.
    fn open(self, key: &FlowKey<A>, flow: &Flow, may_be_answered: bool);
    /// Moves a flow found by [`Self::new_flow`] to the answered flows.
    fn answered(self, key: &FlowKey<A>, flow: &Flow);
    /// Removes a flow.
    fn close(self, key: &FlowKey<A>);
}

/// Declares the sum of the subjects.
macro_rules! datapath {
    ($($subject:path),+ $(,)?) => {
        /// All subjects that are common to both address families. Implementations are handles: cheap
        /// to copy.
        pub trait Datapath: $($subject +)+ {}

        impl<T> Datapath for T where T: $($subject +)+ {}
    };
}

datapath!(
    Clock,
    WorkingMemory,
    PolicyMaps,
    GatewayMaps,
    StreamMaps,
    RateLimits,
    Counters,
    Reports,
    GlobalFns,
    KeyedAccess<keyed::DEVICE_ZONES>,
    KeyedAccess<keyed::DNS_PENDING>,
    KeyedAccess<keyed::FRAGMENTS>,
    KeyedAccess<keyed::RESOLVER_DEVICES>,
    KeyedAccess<keyed::STREAMS_READ>,
);

/// [`Datapath`] with the maps of one address family.
pub trait DatapathOf<A: Family>: Datapath + ClientMaps<A> + HostMaps<A> + FlowMaps<A> {}

impl<A: Family, T> DatapathOf<A> for T where T: Datapath + ClientMaps<A> + HostMaps<A> + FlowMaps<A> {}

/// [`Datapath`] with the maps of both address families.
pub trait DualStack: DatapathOf<V4> + DatapathOf<V6> {}

impl<T> DualStack for T where T: DatapathOf<V4> + DatapathOf<V6> {}
