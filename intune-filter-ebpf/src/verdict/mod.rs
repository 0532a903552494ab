//! Verdicts over packets, and their reasons.

mod egress;
mod flow;
mod fragment;
mod gateway;
mod ingress;
mod judged;
mod known_flow;
mod lifetime;
mod limit;
mod links;
mod membership;
mod moved;
mod opening;
mod other_vlan;
mod policy;
mod reply;
mod reporting;
mod resolver;
mod resolver_route;
mod revocation;
mod rules;
mod segment;
mod sender;
mod sent;
mod stage;
mod stream;

pub use egress::egress;
pub use flow::end_flow;
pub use gateway::{is_forged, own_location, routed_location};
pub use ingress::ingress;
pub use judged::{compare_octets, keep_octets};
pub use lifetime::{ending, lifetime};
pub use limit::has_token;
pub use membership::is_on_link;
pub use reporting::{RESERVED, tell_denial, tell_untaught};
pub use resolver::{note_answer, note_query};
pub use resolver_route::is_astray;
pub use rules::{allows_rule, match_rules, match_sender};
pub use segment::note_segment;
pub use sender::is_believed;
pub use sent::{far_end, is_sent, sending_zone};

pub use crate::abi::NO_RULE;
use crate::abi::{
    DeniedEvent, Explanation, MODE_AUDIT, Matched, Reason, RuleMask, Settings, V6, client_flags,
};
use crate::{
    bytes::{ne16, ne32},
    datapath::{Datapath, Member},
    packet::{Datagram, Direction, Fragment, Packet},
    scratch::{Family, Scratch},
};

/// Point at which a packet was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// Interface index.
    pub ifindex: u32,
    /// VLAN tag that the hardware has stripped, if any.
    pub stripped_tag: Option<u16>,
    /// Index of the device from which the stack received the packet; 0 on egress if the gateway itself
    /// sent it.
    pub came_by: u32,
}

impl Arrival {
    /// Whether the gateway itself sent the packet.
    #[inline(always)]
    #[must_use]
    pub const fn is_from_gateway(&self) -> bool {
        self.came_by == 0
    }
}

/// Action on a packet.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Passes the packet.
    Pass,
    /// Drops the packet.
    Drop,
    /// Answers the DNS query in the resolver's place. [`crate::scratch::Scratch::reply`] describes the reply,
    /// and its writer releases the working memory.
    Refuse,
    /// Drops the packet and tells its sender. [`crate::scratch::Scratch::reply`] describes the
    /// reply, and its writer releases the working memory.
    Reject,
}

impl Action {
    /// Whether the working memory stays claimed, for the reply that it describes.
    #[inline(always)]
    #[must_use]
    pub const fn is_answered(self) -> bool {
        matches!(self, Self::Refuse | Self::Reject)
    }
}

/// [`Verdict::group`] if there is none.
pub const NO_GROUP: u8 = u8::MAX;

/// The verdict over a packet, with everything that was found out on the way but the rules whose
/// destination it is: those stay in the working memory.
///
/// The fields are plain integers without padding: an empty `Option` would leave a register or stack
/// slot unwritten, and the verifier refuses to see one copied.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Action on the packet.
    pub action: Action,
    /// Reason of the verdict; for an audited packet, reason of the denial that it was spared.
    pub reason: Reason,
    /// Ground of the verdict.
    pub matched: Matched,
    /// Rule that allows the packet; for a denied packet, the lowest rule that has its destination;
    /// or [`NO_RULE`].
    pub rule: u8,
    /// Group of the client, or [`NO_GROUP`].
    pub group: u8,
    /// 1 if the packet passes only because its group is in audit mode or the warm-up lasts.
    pub audited: u8,
    /// 1 if a denial is to be answered (`on_deny: reject`).
    pub reject: u8,
    /// 1 if the packet has opened a flow.
    pub opened: u8,
}

impl Verdict {
    /// Returns the verdict that passes a packet for a reason that does not depend on rules.
    #[inline(always)]
    #[must_use]
    pub const fn pass_builtin(reason: Reason) -> Self {
        Self {
            action: Action::Pass,
            reason,
            matched: Matched::Builtin,
            rule: NO_RULE,
            group: NO_GROUP,
            audited: 0,
            reject: 0,
            opened: 0,
        }
    }

    /// Returns the verdict that denies a packet, whatever its client.
    #[inline(always)]
    #[must_use]
    pub const fn deny(reason: Reason) -> Self {
        Self { action: Action::Drop, matched: Matched::Nothing, ..Self::pass_builtin(reason) }
    }

    /// Returns the verdict that denies a packet of this client, unless the client is audited.
    #[inline(always)]
    #[must_use]
    pub fn deny_client(reason: Reason, client: &Member) -> Self {
        let audited = client.mode == MODE_AUDIT;
        Self {
            action: if audited { Action::Pass } else { Action::Drop },
            group: client.group as u8,
            audited: u8::from(audited),
            reject: client.flags & client_flags::REJECT,
            ..Self::deny(reason)
        }
    }

    /// Returns the verdict over a packet of this client that would begin more than its limit. The
    /// packet is denied in silence: sent again, it passes a little later.
    #[inline(always)]
    #[must_use]
    pub fn over_limit(reason: Reason, client: &Member) -> Self {
        Self { reject: 0, ..Self::deny_client(reason, client) }
    }

    /// Returns the verdict with this client's group.
    #[inline(always)]
    #[must_use]
    pub const fn of(mut self, client: &Member) -> Self {
        self.group = client.group as u8;
        self
    }

    /// Returns the word that the program `explain` returns: [`Explanation::pack`].
    #[inline(always)]
    #[must_use]
    pub const fn explanation(&self) -> u32 {
        Explanation::word(self.reason, self.rule, self.matched, self.group, self.audited)
    }

    /// Returns the reason that is counted: [`Reason::Audit`] for all audited packets.
    #[inline(always)]
    #[must_use]
    pub const fn counted(&self) -> Reason {
        if self.audited != 0 { Reason::Audit } else { self.reason }
    }
}

impl Verdict {
    /// Stores the verdict in the working memory, for the caller of this function.
    ///
    /// A kernel function returns one register, and the verifier follows each value that it can have
    /// through the rest of the caller; a value from memory is one case to the verifier.
    #[inline(always)]
    fn store(self, scratch: &Scratch) {
        scratch.ctx.verdict.set(u64::from_ne_bytes([
            self.action as u8,
            self.reason as u8,
            self.matched as u8,
            self.rule,
            self.group,
            self.audited,
            self.reject,
            self.opened,
        ]));
    }

    /// Notes in the stored verdict that the packet has opened a flow.
    #[inline(always)]
    fn set_opened(scratch: &Scratch) {
        let stored = &scratch.ctx.verdict;
        stored.set(stored.get() | u64::from_ne_bytes([0, 0, 0, 0, 0, 0, 0, 1]));
    }

    /// Loads the verdict that a function has stored.
    #[inline(always)]
    fn load(scratch: &Scratch) -> Self {
        let [action, reason, matched, rule, group, audited, reject, opened] =
            scratch.ctx.verdict.get().to_ne_bytes();
        // SAFETY: `store` has put values of these types there, in this run.
        let (action, reason, matched) = unsafe {
            (
                core::mem::transmute::<u8, Action>(action),
                core::mem::transmute::<u8, Reason>(reason),
                core::mem::transmute::<u8, Matched>(matched),
            )
        };
        Self { action, reason, matched, rule, group, audited, reject, opened }
    }
}

/// The client's hardware address, the first octet lowest in memory; 0 if the frame has none.
#[inline(always)]
fn client_mac<P: Packet>(packet: &P, direction: Direction) -> u64 {
    if !P::HAS_ETHERNET {
        return 0;
    }
    // The receiver's address and the sender's.
    let Some(header) = packet.at::<12>(0) else {
        return 0;
    };
    let (first, last) = match direction {
        Direction::FromClient => (ne32::<6, 12>(header), ne16::<10, 12>(header)),
        Direction::ToClient => (ne32::<0, 12>(header), ne16::<4, 12>(header)),
    };
    let [a, b, c, d] = first.to_ne_bytes();
    let [e, f] = last.to_ne_bytes();
    u64::from_ne_bytes([a, b, c, d, e, f, 0, 0])
}

/// Run over one frame; its parsed fields live in the working memory.
struct Run<'p, W, P> {
    datapath: W,
    packet: P,
    scratch: &'p Scratch,
}

impl<'p, W: Datapath, P: Packet> Run<'p, W, P> {
    #[inline(always)]
    fn new(
        datapath: W,
        packet: P,
        scratch: &'p Scratch,
        arrival: Arrival,
        zone: u16,
        network_offset: u32,
        direction: Direction,
    ) -> Self {
        let ctx = &scratch.ctx;
        scratch.headers.parsed.set(0);
        ctx.no_answered_flow.set(0);
        ctx.opening.set(0);
        scratch.segment.known.set(0);
        ctx.sender.set(0);
        ctx.moved.set(0);
        ctx.question_at.set(0);
        ctx.rules.clear();
        ctx.ifindex.set(u64::from(arrival.ifindex));
        ctx.came_by.set(u64::from(arrival.came_by));
        ctx.astray.set(0);
        ctx.sent.set(0);
        ctx.side.set(0);
        ctx.zone.set(u64::from(zone));
        ctx.packets.set(u64::from(packet.packets()));
        ctx.network_offset.set(u64::from(network_offset));
        // `explain` has a frame for a packet of layer 3 too.
        let has_mac = !(datapath.is_read_only() && datapath.is_layer3(zone));
        ctx.client_mac.set(if has_mac { client_mac(&packet, direction) } else { 0 });
        Self { datapath, packet, scratch }
    }

    /// Whether the headers were parsed, so that [`Self::datagram`] is this packet's.
    #[inline(always)]
    fn is_parsed(&self) -> bool {
        self.scratch.headers.parsed.get() != 0
    }

    /// Whether the packet is the first fragment of its datagram.
    #[inline(always)]
    fn is_first_fragment<A: Family>(&self) -> bool {
        self.is_parsed() && self.datagram::<A>().fragment == Fragment::First
    }

    /// Stores the time and the policy in force in the working memory; false if there is no policy
    /// yet.
    #[inline(always)]
    fn read_policy(&self) -> bool {
        self.scratch.ctx.now.set(self.datapath.now());
        let generation = self.datapath.active().map_or(0, |active| active.generation);
        self.scratch.ctx.generation.set(u64::from(generation));
        generation != 0
    }

    #[inline(always)]
    fn now(&self) -> u64 {
        self.scratch.ctx.now.get()
    }

    #[inline(always)]
    fn generation(&self) -> u32 {
        self.scratch.ctx.generation.get() as u32
    }

    /// Returns the slot of the policy in force.
    #[inline(always)]
    fn set(&self) -> u32 {
        self.generation() & 1
    }

    #[inline(always)]
    fn settings(&self) -> Option<&'p Settings>
    where
        W: 'p,
    {
        self.datapath.settings(self.set())
    }

    #[inline(always)]
    fn zone(&self) -> u16 {
        self.scratch.ctx.zone.get() as u16
    }

    /// Returns the number of packets that the frame stands for.
    #[inline(always)]
    fn packets(&self) -> u64 {
        self.scratch.ctx.packets.get()
    }

    #[inline(always)]
    fn network_offset(&self) -> u32 {
        self.scratch.ctx.network_offset.get() as u32
    }

    /// Returns the parsed headers.
    #[inline(always)]
    fn datagram<A: Family>(&self) -> &'p Datagram<A> {
        // SAFETY: any bit pattern is a datagram but for one field, an enum whose first variant
        // is the zero of fresh memory, and that only the parser writes.
        unsafe { &*A::datagram(self.scratch) }
    }

    /// Returns the source address, IPv4 mapped.
    #[inline(always)]
    fn source(&self) -> &'p V6 {
        // SAFETY: any bit pattern is an address.
        unsafe { &*self.scratch.headers.source.get() }
    }

    /// Returns the destination address, IPv4 mapped.
    #[inline(always)]
    fn destination(&self) -> &'p V6 {
        // SAFETY: any bit pattern is an address.
        unsafe { &*self.scratch.headers.destination.get() }
    }
}

/// Returns the record of a denied frame that is no datagram.
#[inline(always)]
fn denied_frame_event(
    verdict: &Verdict,
    scratch: &Scratch,
    time: u64,
    egress: bool,
) -> DeniedEvent {
    DeniedEvent {
        kind: crate::abi::EventKind::Denied as u32,
        ifindex: scratch.ctx.ifindex.get() as u32,
        time,
        rules: RuleMask::EMPTY,
        source: V6::default(),
        destination: V6::default(),
        source_port: 0,
        destination_port: 0,
        zone: scratch.ctx.zone.get() as u16,
        group: u16::from(NO_GROUP),
        protocol: 0,
        reason: verdict.reason as u8,
        audited: 0,
        egress: u8::from(egress),
        vlan: 0,
    }
}
