//! Packets of known flows, by as little of them as it takes.
//!
//! Most packets are of a flow that was answered, is as old as the policy and goes on, and nothing
//! about their headers is unusual. Whatever is, of the packet or its flow, is left to the stages:
//! they come to the same verdict about these packets, by way of everything else that there is.

use super::{
    Verdict,
    flow::{self, Known, flow_verdict},
    lifetime::{TCP_ANSWERED, UDP_ANSWERED},
    resolver::DNS_PORT,
    segment::{self, Numbers},
};
use crate::{
    abi::{FlowKey, V4, V6, flow_flags},
    datapath::{DatapathOf, DualStack},
    packet::{Direction, ETHERTYPE_IPV4, ETHERTYPE_IPV6, Frame, Packet, Read, TCP, Usual},
    scratch::Family,
};

/// What the flow says of what a frame carries, if nothing about either is unusual: a word for
/// [`verdict`], or 0. The frame stands for so many packets. What an `Option` leaves unsaid would be an unwritten register.
#[inline(always)]
pub(super) fn pass<W: DualStack>(
    packet: &impl Packet,
    datapath: W,
    zone: u16,
    frame: &Frame,
    direction: Direction,
    packets: u32,
) -> u64 {
    match frame.ethertype {
        // Copies need the working memory, which is not claimed yet.
        _ if frame.second_tag || datapath.is_read_only() => 0,
        ETHERTYPE_IPV4 => {
            by_flow::<V4, W>(packet, datapath, zone, frame.payload, direction, packets)
        }
        ETHERTYPE_IPV6 => {
            by_flow::<V6, W>(packet, datapath, zone, frame.payload, direction, packets)
        }
        _ => 0,
    }
}

/// The verdict that a word of [`pass`] stands for.
#[inline(always)]
pub(super) fn verdict(word: u64) -> Verdict {
    flow_verdict(&Known { rule: (word >> 16) as u8, group: word as u16, audited: 0 })
}

/// The same for the datagram at `offset`.
#[inline(always)]
fn by_flow<A: Read + Family, W: DatapathOf<A>>(
    packet: &impl Packet,
    datapath: W,
    zone: u16,
    offset: u32,
    direction: Direction,
    packets: u32,
) -> u64 {
    let Some(usual) = A::usual(packet, offset) else {
        return 0;
    };
    let key = key(&usual, zone, direction);
    // DNS is read, whether a flow of it is known or not.
    if key.remote_port == DNS_PORT {
        return 0;
    }
    let generation = datapath.active().map_or(0, |active| active.generation);
    if generation == 0 {
        return 0;
    }
    let known = datapath.flow(&key, |flow| {
        // Neither audited, nor opened from outside, nor ending.
        if flow.flags & !flow_flags::UNRULED != flow_flags::ANSWERED
            || flow.generation != generation
        {
            return 0;
        }
        let now = datapath.tick();
        // Another CPU may have written a later time than this packet's.
        let idle = now.wrapping_sub(flow.last_seen).cast_signed();
        let (tcp, udp) = (TCP_ANSWERED, UDP_ANSWERED);
        if idle > if key.protocol == TCP { tcp } else { udp }.cast_signed() {
            return 0;
        }
        flow::note(flow, now, idle, u64::from(packets), usual.length, direction);
        if key.protocol == TCP
            && let Some(numbers) = Numbers::at(packet, offset, A::HEADER, usual.length)
        {
            segment::note(flow, numbers, direction, false);
        }
        KNOWN | u64::from(flow.rule) << 16 | u64::from(flow.group)
    });
    known.unwrap_or(0)
}

/// The bit of a flow that is known, beside its rule and group.
const KNOWN: u64 = 1 << 32;

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
