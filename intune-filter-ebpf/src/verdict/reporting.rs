//! Records of denials: which of them are made, fairly among clients.
//!
//! Each CPU has an allowance for records of a kind. While more than a part of it is left, and the ring
//! buffer of denied queries is not half full, every denial is told of. That part is the clients': of
//! each, as many kinds of denials are told of in a second as [`LIMIT_TOLD`] says, whatever others send.
//! Who the client is, [`super::sender`] tells: one that is proven has a share of its own, whatever
//! addresses it uses, and the others have those of their zone. A denial like one that was told of within
//! the last second takes nothing of a share.
//!
//! What is denied is counted all the same, by group and reason.

use super::{NO_GROUP, Verdict, limit, sender};
use crate::{
    abi::{
        AnswerEvent, Asked, DeniedEvent, EventKind, LIMIT_MAC, LIMIT_SUBNET, LIMIT_TOLD,
        LIMIT_TOLD_DENIALS, LIMIT_TOLD_QUERIES, Occurrence, QueryHead, Reason, V6, answer_flags,
        sender as bits,
    },
    bytes::mix,
    datapath::{Datapath, RateDecision},
    result_word::result_word,
    scratch::{AllowanceKind, Scratch},
};

/// What of an allowance for records of denials is for clients within their shares alone.
pub const RESERVED: u64 = 1000;

result_word! {
    /// Whether a client's share lets one more denial be told of.
    Share {
        /// It is used up.
        EXCEEDED = 0,
        /// It has room.
        HAS_ROOM = 1,
        /// The like was told of a moment ago.
        REPEATED = 2,
    }
}

/// Returns the word for the ports and the protocol of a datagram; ports are in network byte order.
#[inline(always)]
pub(super) const fn ends(source_port: u16, destination_port: u16, protocol: u8) -> u64 {
    (protocol as u64) << 32 | (destination_port as u64) << 16 | source_port as u64
}

/// Tells of a frame that no client answers for, while more than the clients' part of the allowance is
/// left.
#[inline(always)]
pub(super) fn tell_frame<W: Datapath>(datapath: W, now: u64, event: impl FnOnce() -> DeniedEvent) {
    if datapath.is_read_only() {
        return;
    }
    if datapath.allowance(AllowanceKind::Denials, now) <= RESERVED {
        datapath.count_occurrence(Occurrence::EventSuppressed, 0);
        return;
    }
    datapath.spend(AllowanceKind::Denials);
    datapath.report_denied(event);
}

/// Counts the denial of the datagram in the working memory, whose verdict is stored there, and tells of
/// it. For a packet to a client, as of a frame: no sender answers for it.
#[inline(always)]
pub fn tell_denial<W: Datapath>(scratch: &Scratch, datapath: W, ends: u64, from_client: bool) {
    if datapath.is_read_only() {
        return;
    }
    let verdict = Verdict::load(scratch);
    let ctx = &scratch.ctx;
    if verdict.group != NO_GROUP {
        let (set, audited) = (ctx.generation.get() as u32 & 1, verdict.audited != 0);
        datapath.count_group(set, verdict.group, verdict.reason, audited, ctx.packets.get());
    }
    // A segment that is held back for userspace has a report of its own.
    if verdict.reason == Reason::DnsPunted {
        return;
    }
    let is_query = ctx.question_at.get() != 0;
    let kind = if is_query { AllowanceKind::Queries } else { AllowanceKind::Denials };
    let suppressed =
        if is_query { Occurrence::NameSuppressed } else { Occurrence::EventSuppressed };
    let left = datapath.allowance(kind, ctx.now.get());
    if left <= RESERVED || is_query && datapath.is_crowded() {
        let share = if left == 0 || !from_client {
            Share::EXCEEDED
        } else {
            share_of_sender(scratch, datapath, &verdict, ends)
        };
        if share == Share::REPEATED {
            datapath.count_occurrence(Occurrence::EventRepeated, 0);
            return;
        }
        if share != Share::HAS_ROOM {
            datapath.count_occurrence(suppressed, 0);
            return;
        }
    }
    datapath.spend(kind);
    if is_query {
        report_query(scratch, datapath, ends);
    } else {
        report_datagram(scratch, datapath, ends, !from_client);
    }
}

/// Reports the denied datagram in the working memory. A function of its own to save stack, as
/// [`report_query`].
#[inline(never)]
fn report_datagram<W: Datapath>(scratch: &Scratch, datapath: W, ends: u64, egress: bool) {
    let verdict = Verdict::load(scratch);
    datapath.report_denied(|| denied_event(scratch, &verdict, ends, egress));
}

/// Reports the denied query in the working memory.
#[inline(never)]
fn report_query<W: Datapath>(scratch: &Scratch, datapath: W, ends: u64) {
    let (verdict, at) = (Verdict::load(scratch), scratch.ctx.question_at.get());
    datapath.report_query(scratch, at, || query_head(scratch, &verdict, ends));
}

/// Takes from the share of the sender of the packet in the working memory.
#[inline(always)]
fn share_of_sender<W: Datapath>(
    scratch: &Scratch,
    datapath: W,
    verdict: &Verdict,
    ends: u64,
) -> Share {
    let ctx = &scratch.ctx;
    let headers = &scratch.headers;
    // SAFETY: any bit pattern is an address, and the scratch memory is this run's alone.
    let (source, destination) = unsafe { (*headers.source.get(), *headers.destination.get()) };
    let is_query = ctx.question_at.get() != 0;
    let seed = datapath.active().map_or(0, |active| active.seed);
    // Not the client's port: each attempt has another.
    let what = (verdict.reason as u64) << 40 | ends >> 16;
    let what = mix(mix(seed, what), if is_query { ctx.question.get() } else { 0 });
    let what = hash(hash(mix(what, ctx.client_mac.get()), source), destination);
    if datapath.was_told(what, ctx.now.get()) {
        return Share::REPEATED;
    }
    let named = !source.is_of_link() && source != V6::default();
    let told = if named { sender::told(scratch, datapath) } else { bits::HERE };
    let limit = if is_query { LIMIT_TOLD_QUERIES } else { LIMIT_TOLD_DENIALS };
    // SAFETY: the scratch memory is this run's alone.
    let mac = if told & bits::ROUTED == 0 { ctx.client_mac.get() } else { 0 };
    let share = take(scratch, datapath, limit, source, mac, !sender::is_unproven(told));
    if share == Share::HAS_ROOM {
        datapath.note_told(what, ctx.now.get());
    }
    share
}

/// Takes from the share of a proven client, by its hardware address or, if that is 0, by the network
/// that it takes its addresses from; or else from that of its zone.
#[inline(always)]
fn take<W: Datapath>(
    scratch: &Scratch,
    datapath: W,
    limit: usize,
    client: V6,
    mac: u64,
    proven: bool,
) -> Share {
    let ctx = &scratch.ctx;
    let Some(settings) = datapath.settings(ctx.generation.get() as u32 & 1) else {
        return Share::EXCEEDED;
    };
    // SAFETY: the scratch memory is this run's alone.
    let request = unsafe { &mut *ctx.rate_request.get() };
    request.kind = limit as u64;
    request.now = ctx.now.get();
    request.horizon = settings.limit_horizon();
    request.sets = u64::from(settings.limit_sets);
    request.interval = LIMIT_TOLD.interval;
    request.window = LIMIT_TOLD.window;
    let mut decision = RateDecision::NO_BUCKET;
    if proven {
        request.key.zone = ctx.zone.get() as u32;
        request.key.bits = if mac != 0 { LIMIT_MAC } else { LIMIT_SUBNET };
        request.key.mac = mac;
        request.key.address = if mac != 0 { V6::default() } else { network(client) };
        decision = datapath.conform(request);
    }
    if decision == RateDecision::NO_BUCKET {
        limit::share_of_zone(scratch, datapath, client);
        decision = datapath.conform(request);
    }
    if decision == RateDecision::CONFORMING { Share::HAS_ROOM } else { Share::EXCEEDED }
}

/// Returns the network that a host takes its addresses from: its IPv4 address itself, or its IPv6 /64.
#[inline(always)]
const fn network(V6([a, b, c, d]): V6) -> V6 {
    if a | b == 0 && c == 0xffff_u32.to_be() { V6([a, b, c, d]) } else { V6([a, b, 0, 0]) }
}

#[inline(always)]
const fn hash(hash: u64, V6([a, b, c, d]): V6) -> u64 {
    let hash = mix(hash, (b as u64) << 32 | a as u64);
    mix(hash, (d as u64) << 32 | c as u64)
}

/// Returns the record of a denied datagram.
#[inline(always)]
fn denied_event(scratch: &Scratch, verdict: &Verdict, ends: u64, egress: bool) -> DeniedEvent {
    let ctx = &scratch.ctx;
    // SAFETY: any bit pattern is an address, and the scratch memory is this run's alone.
    let (source, destination) =
        unsafe { (*scratch.headers.source.get(), *scratch.headers.destination.get()) };
    DeniedEvent {
        kind: EventKind::Denied as u32,
        ifindex: ctx.ifindex.get() as u32,
        time: ctx.now.get(),
        rules: ctx.rules.get(),
        source,
        destination,
        source_port: ends as u16,
        destination_port: (ends >> 16) as u16,
        zone: ctx.zone.get() as u16,
        group: u16::from(verdict.group),
        protocol: (ends >> 32) as u8,
        reason: verdict.reason as u8,
        audited: verdict.audited,
        egress: u8::from(egress),
        vlan: 0,
    }
}

#[inline(always)]
fn query_head(scratch: &Scratch, verdict: &Verdict, ends: u64) -> QueryHead {
    let ctx = &scratch.ctx;
    // SAFETY: any bit pattern is an address, and the scratch memory is this run's alone.
    let (client, resolver) =
        unsafe { (*scratch.headers.source.get(), *scratch.headers.destination.get()) };
    QueryHead {
        kind: EventKind::Query as u32,
        zone: ctx.zone.get() as u16,
        group: u16::from(verdict.group),
        time: ctx.now.get(),
        client,
        resolver,
        client_port: ends as u16,
        protocol: (ends >> 32) as u8,
        reason: verdict.reason as u8,
        audited: verdict.audited,
        reserved: [0; 3],
    }
}

/// What of the allowance for answers that taught nothing is for clients within their shares alone.
const RESERVED_UNTAUGHT: u64 = 100;

/// Tells of the answer in the working memory, which goes to the client that asked and taught nothing.
#[inline(always)]
pub fn tell_untaught<W: Datapath>(scratch: &Scratch, datapath: W) {
    let ctx = &scratch.ctx;
    // An answer without records leads nowhere.
    if datapath.is_read_only() || scratch.message.be16(6) == 0 {
        return;
    }
    // SAFETY: any bit pattern is an address, and the scratch memory is this run's alone.
    let (client, pending) = unsafe { (*scratch.headers.destination.get(), &*ctx.pending.get()) };
    let left = datapath.allowance(AllowanceKind::Untaught, ctx.now.get());
    let has_room = left > RESERVED_UNTAUGHT
        || left > 0 && {
            let proven = pending.questions[0].times & Asked::PROVEN != 0;
            take(scratch, datapath, LIMIT_TOLD_QUERIES, client, 0, proven) == Share::HAS_ROOM
        };
    if !has_room {
        datapath.count_occurrence(Occurrence::NameSuppressed, 0);
        return;
    }
    datapath.spend(AllowanceKind::Untaught);
    let event = AnswerEvent {
        kind: EventKind::Answer as u32,
        length: scratch.parser.length.get() as u32,
        time: ctx.now.get(),
        rules: scratch.matcher.rules.get(),
        client,
        flags: answer_flags::UNTAUGHT,
        zone: ctx.zone.get() as u16,
        reserved: 0,
    };
    // SAFETY: the scratch memory is this run's alone while it is claimed.
    unsafe { scratch.answer_event().write(event) };
    datapath.report_untaught(scratch);
}
