//! What a client may begin in a time: queries that are remembered, connections to resolvers, flows.
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

use super::{LEFT, Run, left};
use crate::{
    abi::{
        Address as _, Client, LIMIT_ADDRESS, LIMIT_FLOWS, LIMIT_INBOUND, LIMIT_SUBNET,
        LIMIT_SUBNET_CLIENTS, Limit, LimitKey, Limits, V6,
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

#[inline(always)]
fn may_begin<const KIND: usize, W: World, P: Packet>(run: &Run<'_, W, P>, devices: u64) -> bool {
    let Some(settings) = run.settings() else {
        return false;
    };
    let flows = KIND == LIMIT_FLOWS || KIND == LIMIT_INBOUND;
    let limit = if flows { &settings.limit_flows } else { &settings.limit_queries };
    if limit.interval == 0 {
        return true;
    }
    let client = if KIND == LIMIT_INBOUND { run.destination() } else { run.source() };
    let devices = devices.max(1);
    take::<KIND, W, P>(run, LIMIT_ADDRESS, client, limit, devices)
        && (client.is_mapped()
            || take::<KIND, W, P>(run, LIMIT_SUBNET, client, limit, devices * LIMIT_SUBNET_CLIENTS))
}

/// Takes one from the bucket of an address or its network, which is as large as those of so many
/// devices.
#[inline(always)]
fn take<const KIND: usize, W: World, P: Packet>(
    run: &Run<'_, W, P>,
    bits: u32,
    client: &V6,
    limit: &Limit,
    devices: u64,
) -> bool {
    let (world, now) = (run.world, run.now());
    let V6([a, b, c, d]) = *client;
    let address = if bits == LIMIT_SUBNET { V6([a, b, 0, 0]) } else { V6([a, b, c, d]) };
    // SAFETY: the scratch memory is this run's alone.
    let key = unsafe {
        let key = run.scratch.facts.limit_key.get();
        key.write(LimitKey { zone: u32::from(run.zone()), bits, address });
        &*key
    };
    let limit = Limit { interval: (limit.interval / devices).max(1), window: limit.window };
    match world.take(key, KIND, limit, now) {
        Taken::Done => true,
        Taken::Refused => false,
        Taken::Unknown => {
            let limits = run.scratch.facts.limits.get();
            let mut due = [0; 4];
            due[KIND] = now + limit.interval;
            // SAFETY: as above.
            unsafe {
                limits.write(Limits { due });
                world.meet(key, &*limits);
            }
            true
        }
    }
}
