//! Packets that another zone was allowed to send: they arrive in the zone that they are forwarded to.
//!
//! The sender's own zone has judged the packet a moment ago, and has its flow. That it did is told by
//! the device that the stack received the packet from, and by that flow: a mark or a source address
//! could be anyone's. What the sender's group was spared by an audit was not allowed, nor what comes from
//! a client in no group: no policy says where it may go. What answers a flow from outside is no permission
//! to begin one.
//!
//! The sender's flow then names the zone where its packets arrive: answers in the name of a client there
//! come in by that zone's device. The flow that such a packet opens lives as long as the sender's does, and is the sender's to pay for:
//! there is no more than one for each that the sender has begun, within its limits.

use super::{
    NO_GROUP,
    gateway::{interface, routable},
    lifetime::lifetime,
    revocation::{REVOKED, group_by_rule},
    sender::ask,
};
use crate::{
    abi::{DeviceZone, Flow, V4, V6, ZONES_OF_DEVICE, flow_flags},
    datapath::{Datapath, DatapathOf, DualStack, FarEnd, Route, Routes},
    maps::{KeyedMap as _, keyed::DEVICE_ZONES},
    scratch::{Family, Scratch},
};

/// Returns the zone that has sent the packet whose sender's flow has the key in the working memory, and
/// that was allowed to; 0 if there is none. Another zone than the packet's.
#[inline(always)]
pub fn sending_zone<W: DualStack>(scratch: &Scratch, datapath: W, v6: bool) -> u16 {
    for nth in 0..ZONES_OF_DEVICE {
        let Some(zone) = zone_of_device(scratch, datapath, nth) else {
            return 0;
        };
        let lets = if v6 {
            lets_from::<V6, W>(scratch, datapath, zone)
        } else {
            lets_from::<V4, W>(scratch, datapath, zone)
        };
        if lets {
            return zone;
        }
    }
    0
}

/// Returns the location of the remote of a flow with this zone's client, for the packet in the working
/// memory that belongs to the flow or quotes it. Where the client has opened the flow, the remote may
/// have left.
///
/// What comes in by another device was sent by somebody else, unless the routes lead the client's packets
/// to the remote by another device than the zone's, too: as where a failover has moved it.
#[inline(always)]
pub fn far_end<W: Datapath>(
    scratch: &Scratch,
    datapath: W,
    zone: u16,
    opened_by_client: bool,
) -> FarEnd {
    if came_from(scratch, datapath, zone) {
        return FarEnd::THERE;
    }
    if !opened_by_client {
        return FarEnd::ELSEWHERE;
    }
    // SAFETY: the scratch memory is this run's alone.
    let (remote, client) =
        unsafe { (*scratch.ctx.far_end.get(), *scratch.headers.destination.get()) };
    let device = interface(scratch, datapath.device(scratch.ctx.zone.get() as u16));
    // SAFETY: as above.
    unsafe { scratch.ctx.route_from.get().write(routable(client)) };
    let route = ask(scratch, datapath, device, remote, Routes::All);
    let left = route.leads() && route != Route::to(datapath.device(zone));
    if left { FarEnd::LEFT } else { FarEnd::ELSEWHERE }
}

/// Whether the stack received the packet in the working memory from a device of this zone.
#[inline(always)]
fn came_from<W: Datapath>(scratch: &Scratch, datapath: W, zone: u16) -> bool {
    for nth in 0..ZONES_OF_DEVICE {
        match zone_of_device(scratch, datapath, nth) {
            Some(found) if found == zone => return true,
            Some(_) => {}
            None => return false,
        }
    }
    false
}

/// Whether the sender's flow with the key in the working memory is alive, and its zone lets it go on.
#[inline(always)]
pub fn is_sent<W: DualStack>(scratch: &Scratch, datapath: W, v6: bool) -> bool {
    if v6 { lets::<V6, W>(scratch, datapath) } else { lets::<V4, W>(scratch, datapath) }
}

#[inline(always)]
fn zone_of_device<W: Datapath>(scratch: &Scratch, datapath: W, nth: u32) -> Option<u16> {
    let device = scratch.ctx.came_by.get() as u32;
    DEVICE_ZONES::get(datapath, &DeviceZone { device, nth }).map(|zone| zone as u16)
}

#[inline(always)]
fn lets_from<A: Family, W: DatapathOf<A>>(scratch: &Scratch, datapath: W, zone: u16) -> bool {
    if scratch.ctx.zone.get() == u64::from(zone) {
        return false;
    }
    // SAFETY: the scratch memory is this run's alone.
    unsafe { (*A::sender_key(scratch)).zone = zone };
    lets::<A, W>(scratch, datapath)
}

#[inline(always)]
fn lets<A: Family, W: DatapathOf<A>>(scratch: &Scratch, datapath: W) -> bool {
    // SAFETY: the scratch memory is this run's alone, and the key was written there.
    let key = unsafe { &*A::sender_key(scratch) };
    let (now, generation) = (scratch.ctx.now.get(), scratch.ctx.generation.get() as u32);
    let here = scratch.ctx.zone.get() as u16;
    let look = |flow: &mut Flow| {
        let unlisted = flow.group == NO_GROUP;
        let spared = unlisted || flow.flags & (flow_flags::AUDITED | flow_flags::INBOUND) != 0;
        let dead = now.saturating_sub(flow.last_seen) > lifetime(key.protocol, flow.flags);
        if !spared {
            flow.far_zone = here;
        }
        let older = flow.generation != generation;
        FOUND
            | u64::from(spared | dead) << 33
            | u64::from(older) << 32
            | u64::from(flow.flags) << 16
            | u64::from(flow.rule)
    };
    let found = match datapath.flow(key, look) {
        Some(found) => found,
        None => datapath.new_flow(key, look).unwrap_or_default(),
    };
    if found & (FOUND | 1 << 33) != FOUND {
        return false;
    }
    if found & 1 << 32 == 0 {
        return true;
    }
    let (rule, flags) = (found as u8, (found >> 16) as u16);
    // Whether its client is still on-link, its own zone asks at its next packet.
    let client = datapath.client(scratch, generation & 1, key.zone, &key.client);
    group_by_rule(scratch, datapath, key, rule, flags, client) != REVOKED
}

/// Bit of what is told of a flow that says that there is one.
const FOUND: u64 = 1 << 34;
