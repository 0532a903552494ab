//! What a client may begin in a time: queries that are remembered, connections to resolvers, flows,
//! datagrams in fragments.
//!
//! Tables that make room for themselves belong to who fills them fastest: a client that floods would
//! take away others' pending queries and new flows. Only what takes an entry is looked at here, never
//! a packet of a flow that is known.
//!
//! The limit is a token bucket, kept as the time at which the next token is due (GCRA, ITU-T
//! I.371): one word, which one compare-and-exchange replaces.
//!
//! A client is an address in its zone. An IPv6 host has as many of those as it likes, but all of
//! the network that it is in, so the network has a limit too: a host that changes its address with
//! every packet takes from its neighbours in the same /64 at most, and only as long as it goes on.
//! Link-local addresses cost nothing at all: those of a zone share one bucket, and so does whoever
//! finds none free.

use super::{LEFT, Run, left};
use crate::{
    abi::{
        Client, LIMIT_ADDRESS, LIMIT_FLOWS, LIMIT_FRAGMENTS, LIMIT_INBOUND,
        LIMIT_INBOUND_FRAGMENTS, LIMIT_SUBNET, LIMIT_SUBNET_CLIENTS, LIMIT_ZONE, Limit, LimitKey,
        Settings, Taking, V6, limit::SLACK,
    },
    packet::Packet,
    world::{Taken, World},
};

/// Whether a client may begin one more of a kind, such as [`LIMIT_FLOWS`]; then it has.
#[inline(always)]
pub(super) fn admits<const KIND: usize, W: World, P: Packet>(
    run: &Run<'_, W, P>,
    client: &Client,
) -> bool {
    ask::<KIND, W, P>(run, u64::from(client.devices)) == LEFT
        && run.scratch.facts.admitted.get() != 0
}

/// A function of its own in the kernel, for the sake of its stack.
#[inline(never)]
fn ask<const KIND: usize, W: World, P: Packet>(run: &Run<'_, W, P>, devices: u64) -> u64 {
    run.scratch.facts.admitted.set(u64::from(may_begin::<KIND, W, P>(run, devices)));
    left()
}

/// Whether flows are counted, and not queries.
const fn is_of_flows(kind: usize) -> bool {
    matches!(kind, LIMIT_FLOWS | LIMIT_INBOUND | LIMIT_FRAGMENTS | LIMIT_INBOUND_FRAGMENTS)
}

#[inline(always)]
fn may_begin<const KIND: usize, W: World, P: Packet>(run: &Run<'_, W, P>, devices: u64) -> bool {
    let Some(settings) = run.settings() else {
        return false;
    };
    let inbound = matches!(KIND, LIMIT_INBOUND | LIMIT_INBOUND_FRAGMENTS);
    let client = if inbound { run.destination() } else { run.source() };
    if client.is_of_link() {
        return zone_admits::<KIND, W, P>(run, settings);
    }
    let flows = is_of_flows(KIND);
    let limit = if flows { &settings.limit_flows } else { &settings.limit_queries };
    if limit.interval == 0 {
        return true;
    }
    let devices = devices.max(1);
    let mut taken = take::<KIND, W, P>(run, settings, LIMIT_ADDRESS, client, limit, devices);
    let subnet = !(client.0[0] | client.0[1] == 0 && client.0[2] == 0xffff_u32.to_be());
    if taken == Taken::Done && subnet {
        let devices = devices * LIMIT_SUBNET_CLIENTS;
        taken = take::<KIND, W, P>(run, settings, LIMIT_SUBNET, client, limit, devices);
    }
    match taken {
        Taken::Done => true,
        Taken::Refused => false,
        Taken::Full => zone_admits::<KIND, W, P>(run, settings),
    }
}

/// The same of the bucket that a zone's doubtful sources share.
#[inline(always)]
fn zone_admits<const KIND: usize, W: World, P: Packet>(
    run: &Run<'_, W, P>,
    settings: &Settings,
) -> bool {
    let limit = if is_of_flows(KIND) { &settings.zone_flows } else { &settings.zone_queries };
    limit.interval == 0
        || take::<KIND, W, P>(run, settings, LIMIT_ZONE, &V6::default(), limit, 1) == Taken::Done
}

/// Takes one from the bucket of an address or its network, which is as large as those of so many
/// devices.
#[inline(always)]
fn take<const KIND: usize, W: World, P: Packet>(
    run: &Run<'_, W, P>,
    settings: &Settings,
    bits: u32,
    client: &V6,
    limit: &Limit,
    devices: u64,
) -> Taken {
    let V6([a, b, c, d]) = *client;
    let address = if bits == LIMIT_SUBNET { V6([a, b, 0, 0]) } else { V6([a, b, c, d]) };
    let longest = settings.limit_flows.window.max(settings.limit_queries.window);
    // SAFETY: the scratch memory is this run's alone.
    let taking = unsafe {
        let taking = run.scratch.facts.taking.get();
        taking.write(Taking {
            key: LimitKey { zone: u32::from(run.zone()), bits, address },
            kind: KIND as u64,
            interval: (limit.interval / devices).max(1),
            window: limit.window,
            now: run.now(),
            horizon: longest + SLACK,
            sets: u64::from(settings.limit_sets),
        });
        &*taking
    };
    run.world.take(taking)
}
