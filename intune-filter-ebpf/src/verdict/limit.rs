//! Rate limits of clients: remembered queries, connections to resolvers, flows, and datagrams in
//! fragments.
//!
//! A table that makes room for itself belongs to the client that fills it fastest: one that floods
//! would evict others' pending queries and new flows. Only packets that take an entry are counted
//! here, never packets of a known flow.
//!
//! The limit is a token bucket, kept as the time at which the next token is due (GCRA, ITU-T
//! I.371): one word, which one compare-and-exchange replaces.
//!
//! A client is an address in its zone with its sender's hardware address: whoever uses another's address
//! takes nothing from it. All addresses of one hardware address have a limit together, since a host can
//! use any number of them. Routers are told by the routes: a hardware address before a routed network
//! has no limit, but each of the network's addresses has, and each of its IPv6 networks.
//!
//! Senders that are not proven (see [`super::sender`]) have nothing of their own, since they could make up
//! both addresses: they share what their zone has, with link-local sources and with clients for which no
//! bucket is free. It is divided among a few buckets by a hash of the hardware address, so that one that
//! floods uses up one of them.

use core::mem::offset_of;

use super::{Run, opening, sender};
use crate::{
    abi::{
        Address as _, LIMIT_ADDRESS, LIMIT_FLOWS, LIMIT_INBOUND, LIMIT_INBOUND_FRAGMENTS,
        LIMIT_KINDS, LIMIT_MAC, LIMIT_QUERIES, LIMIT_SHARES, LIMIT_STREAMS, LIMIT_SUBNET,
        LIMIT_SUBNET_CLIENTS, LIMIT_ZONE, Limit, Reason, Settings, V4, V6, sender as bits,
    },
    bytes::mix,
    datapath::{Datapath, Member, RateDecision},
    packet::{Fragment, Packet},
    scratch::{Family, Scratch},
};

/// Whether a client may begin one more of a kind, such as [`LIMIT_FLOWS`]. If so, a token is taken; if
/// not, [`refusal`] is why.
#[inline(always)]
pub(super) fn admits<const KIND: usize, W: Datapath, P: Packet>(
    run: &Run<'_, W, P>,
    client: &Member,
) -> bool {
    if KIND == LIMIT_INBOUND || KIND == LIMIT_INBOUND_FRAGMENTS {
        // What is sent to a client has no sender that could be asked for.
        return run.datapath.has_token(run.scratch, KIND as u64, client.word());
    }
    admits_kind(run, KIND as u64, client.word())
}

/// Whether the sender of the datagram in the working memory is believed and, if the datagram may open a
/// flow, whether the client may open one more; otherwise as [`admits`].
#[inline(always)]
pub(super) fn admits_flow<A: Family, W: Datapath, P: Packet>(
    run: &Run<'_, W, P>,
    client: &Member,
) -> bool {
    let of_family = if A::BITS == V4::BITS { OF_V4 } else { OF_V6 };
    admits_kind(run, LIMIT_FLOWS as u64 | of_family, client.word())
}

/// Whether the sender of the packet in the working memory may go on with a flow that another hardware
/// address began; the client is there. A sender that is not proven pays like for a new flow.
#[inline(always)]
pub(super) fn admits_move<W: Datapath, P: Packet>(run: &Run<'_, W, P>) -> bool {
    let who = run.scratch.ctx.member.get();
    admits_kind(run, LIMIT_FLOWS as u64 | MOVED, who)
}

/// With [`LIMIT_FLOWS`]: the limit counts if the IPv4 datagram in the working memory may open a flow.
const OF_V4: u64 = 1 << 8;
/// As [`OF_V4`], of IPv6.
const OF_V6: u64 = 2 << 8;
/// With [`LIMIT_FLOWS`]: the limit counts if the sender is not proven.
const MOVED: u64 = 3 << 8;

/// Whoever begins something is asked for first: see [`super::sender`].
#[inline(always)]
fn admits_kind<W: Datapath, P: Packet>(run: &Run<'_, W, P>, kind: u64, who: u64) -> bool {
    let (datapath, scratch) = (run.datapath, run.scratch);
    datapath.is_believed(scratch, who) && datapath.has_token(scratch, kind, who)
}

/// Returns why [`admits`] was false: the sender is not believed, or the limit's own reason.
#[inline(always)]
pub(super) fn refusal<W: Datapath, P: Packet>(run: &Run<'_, W, P>) -> Reason {
    // SAFETY: what was false has put a reason there, in this run.
    unsafe { core::mem::transmute::<u8, Reason>(run.scratch.ctx.refusal.get() as u8) }
}

/// Whether the limit of the client of the packet in the working memory lets it begin one more of a kind,
/// such as [`LIMIT_FLOWS`]; `who` is the [`Member`] that it is as a word. If so, a token is taken; if not,
/// the reason is in the working memory.
#[inline(always)]
pub fn has_token<W: Datapath>(scratch: &Scratch, datapath: W, kind: u64, who: u64) -> bool {
    const _: () = assert!(LIMIT_QUERIES < LIMIT_FLOWS && LIMIT_STREAMS < LIMIT_FLOWS);
    let of_dns = kind < LIMIT_FLOWS as u64;
    let reason = if of_dns { Reason::DnsLimit } else { Reason::FlowLimit };
    scratch.ctx.refusal.set(reason as u64);
    let inbound = kind == LIMIT_INBOUND as u64 || kind == LIMIT_INBOUND_FRAGMENTS as u64;
    let opens = match kind & !(LIMIT_KINDS as u64 - 1) {
        OF_V4 => may_open::<V4>(scratch),
        OF_V6 => may_open::<V6>(scratch),
        MOVED => sender::is_unproven(scratch.ctx.sender.get() as u32),
        _ => true,
    };
    if !opens {
        return true;
    }
    let kind = kind % LIMIT_KINDS as u64;
    let Some(settings) = datapath.settings(scratch.ctx.generation.get() as u32 & 1) else {
        return false;
    };
    let ctx = &scratch.ctx;
    let headers = &scratch.headers;
    let client = if inbound { headers.destination.get() } else { headers.source.get() };
    // SAFETY: any bit pattern is an address, and the scratch memory is this run's alone.
    let client = unsafe { &*client };
    let [limit, zone, of_mac] = limits(settings, of_dns);
    let of_link = client.is_of_link();
    if !of_link && limit.interval == 0 {
        return true;
    }
    // In memory from here on: the stack has no room for what lies between the buckets.
    // SAFETY: the scratch memory is this run's alone.
    let request = unsafe { &mut *ctx.rate_request.get() };
    request.kind = kind;
    request.now = ctx.now.get();
    request.horizon = settings.limit_horizon();
    request.sets = u64::from(settings.limit_sets);
    request.key.zone = ctx.zone.get() as u32;
    let told = if inbound { 0 } else { ctx.sender.get() as u32 };
    let mut decision = RateDecision::NO_BUCKET;
    if !of_link && !sender::is_unproven(told) {
        let devices = (who >> 48).max(1);
        request.key.bits = LIMIT_ADDRESS;
        request.key.address = *client;
        request.key.mac = if inbound { 0 } else { ctx.client_mac.get() };
        request.interval = (limit.interval / devices).max(1);
        request.window = limit.window;
        decision = datapath.conform(request);
        if decision == RateDecision::CONFORMING {
            // One network's sources share a limit where there is no hardware address to share one.
            if request.key.mac == 0 || told & bits::ROUTED != 0 {
                let V6([a, b, c, _]) = request.key.address;
                if !(a | b == 0 && c == 0xffff_u32.to_be()) {
                    request.key.bits = LIMIT_SUBNET;
                    request.key.address = V6([a, b, 0, 0]);
                    request.interval = (request.interval / LIMIT_SUBNET_CLIENTS).max(1);
                    decision = datapath.conform(request);
                }
            } else if of_mac.interval != 0 {
                request.key.bits = LIMIT_MAC;
                request.key.address = V6::default();
                // Never less than one address has.
                request.interval = request.interval.min(of_mac.interval);
                request.window = of_mac.window;
                decision = datapath.conform(request);
            }
        }
    }
    if decision == RateDecision::NO_BUCKET {
        if zone.interval == 0 {
            return true;
        }
        const SHARES: u64 = LIMIT_SHARES as u64;
        share_of_zone(scratch, datapath, *client);
        request.interval = zone.interval * SHARES;
        request.window = zone.window.max(request.interval);
        decision = datapath.conform(request);
    }
    decision == RateDecision::CONFORMING
}

/// Writes the key of the bucket that a sender shares with others of its zone into the request in the
/// working memory.
#[inline(always)]
pub(super) fn share_of_zone<W: Datapath>(scratch: &Scratch, datapath: W, client: V6) {
    const SHARES: u64 = LIMIT_SHARES as u64;
    let ctx = &scratch.ctx;
    let seed = datapath.active().map_or(0, |active| active.seed);
    let mac = ctx.client_mac.get();
    // Without hardware addresses (layer 3), one network's sources share what one sender would.
    let who = if mac != 0 { mac } else { network(client) };
    // The highest bits depend on all others.
    let share = mix(seed, who) >> (u64::BITS - LIMIT_SHARES.ilog2());
    // SAFETY: the scratch memory is this run's alone.
    let key = unsafe { &mut (*ctx.rate_request.get()).key };
    key.zone = (ctx.zone.get() * SHARES + share) as u32;
    key.bits = LIMIT_ZONE;
    key.address = V6::default();
    key.mac = 0;
}

/// Returns a word for the network that a host takes its addresses from: its IPv4 address itself, or its
/// IPv6 /64.
#[inline(always)]
const fn network(V6([a, b, c, d]): V6) -> u64 {
    if a | b == 0 && c == 0xffff_u32.to_be() { d as u64 } else { (b as u64) << 32 | a as u64 }
}

/// Returns the limits of DNS queries, or else of flows: of an address, of a zone's sources that share one,
/// and of a hardware address. By arithmetic, so that one pointer leads to all of them.
#[inline(always)]
const fn limits(settings: &Settings, of_dns: bool) -> [&Limit; 3] {
    const {
        let first = offset_of!(Settings, limit_queries);
        let size = size_of::<Limit>();
        assert!(offset_of!(Settings, limit_flows) == first + size);
        assert!(offset_of!(Settings, zone_queries) == first + 2 * size);
        assert!(offset_of!(Settings, zone_flows) == first + 3 * size);
        assert!(offset_of!(Settings, mac_queries) == first + 4 * size);
        assert!(offset_of!(Settings, mac_flows) == first + 5 * size);
    }
    // SAFETY: six limits follow each other there.
    unsafe {
        let first = core::ptr::from_ref(settings)
            .byte_add(offset_of!(Settings, limit_queries))
            .cast::<Limit>()
            .add(!of_dns as usize);
        [&*first, &*first.add(2), &*first.add(4)]
    }
}

/// Whether the datagram in the working memory may open a flow.
#[inline(always)]
fn may_open<A: Family>(scratch: &Scratch) -> bool {
    // SAFETY: the scratch memory is this run's alone, and the headers of this family were read.
    let datagram = unsafe { &*A::datagram(scratch) };
    datagram.fragment != Fragment::Later && opening::may_open(datagram)
}
