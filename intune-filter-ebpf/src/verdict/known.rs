//! Packets of known flows, by as little of them as it takes.
//!
//! Most packets are of a flow that was answered, is as old as the policy and goes on, and nothing
//! about their headers is unusual. Whatever is, of the packet or its flow, is left to the stages:
//! they come to the same verdict about these packets, by way of everything else that there is.

use super::{
    Verdict,
    flow::{self, Direction, Known},
    flow_verdict,
    resolver::DNS_PORT,
};
use crate::{
    abi::{FlowKey, V4, V6, flow_flags},
    packet::{ETHERTYPE_IPV4, ETHERTYPE_IPV6, Frame, Packet, Read, Usual},
    world::Maps,
};

/// Passes what a frame carries by its flow, if nothing about either is unusual.
#[inline(always)]
pub(super) fn pass<W: Maps<V4> + Maps<V6>>(
    packet: &impl Packet,
    world: W,
    zone: u16,
    frame: &Frame,
    direction: Direction,
) -> Option<Verdict> {
    match frame.ethertype {
        _ if frame.second_tag => None,
        ETHERTYPE_IPV4 => by_flow::<V4, W>(packet, world, zone, frame.payload, direction),
        ETHERTYPE_IPV6 => by_flow::<V6, W>(packet, world, zone, frame.payload, direction),
        _ => None,
    }
}

/// The same for the datagram at `offset`.
#[inline(always)]
fn by_flow<A: Read, W: Maps<A>>(
    packet: &impl Packet,
    world: W,
    zone: u16,
    offset: u32,
    direction: Direction,
) -> Option<Verdict> {
    let usual = A::usual(packet, offset)?;
    let key = key(&usual, zone, direction);
    // DNS is read, whether a flow of it is known or not.
    if key.remote_port == DNS_PORT {
        return None;
    }
    let generation = world.active()?.generation;
    let packets = u64::from(packet.packets());
    let known = world.flow(&key, |flow| {
        // Neither audited, nor opened from outside, nor ending.
        if flow.flags & !flow_flags::UNRULED != flow_flags::ANSWERED
            || flow.generation != generation
        {
            return None;
        }
        let now = world.tick();
        let idle = now.saturating_sub(flow.last_seen);
        if idle > flow::lifetime(key.protocol, flow_flags::ANSWERED) {
            return None;
        }
        flow::note(flow, now, idle, packets, usual.length, direction);
        Some(Known { rule: flow.rule, group: flow.group, audited: 0 })
    });
    known?.map(|known| flow_verdict(&known))
}

/// The key of the flow that a datagram belongs to. Not made by what makes it for [`flow`]: shared, it
/// takes octets of the stack at TC that Linux 6.1 does not have.
#[inline(always)]
fn key<A: Read>(usual: &Usual<A>, zone: u16, direction: Direction) -> FlowKey<A> {
    let key = FlowKey {
        zone,
        protocol: usual.protocol,
        reserved: 0,
        client_port: usual.source_port,
        remote_port: usual.destination_port,
        client: usual.source,
        remote: usual.destination,
    };
    match direction {
        Direction::FromClient => key,
        Direction::ToClient => FlowKey {
            client_port: usual.destination_port,
            remote_port: usual.source_port,
            client: usual.destination,
            remote: usual.source,
            ..key
        },
    }
}
