//! Short way for packets of known flows, which reads as little of a packet as a verdict takes.
//!
//! Most packets belong to a live, answered flow of the policy in force, and nothing about their
//! headers is unusual. All other packets are left to the stages, which would reach the same verdict
//! about these packets on the full way.

use super::{
    Verdict, client_mac,
    flow::{self, Known, flow_verdict},
    lifetime::{TCP_ANSWERED, UDP_ANSWERED},
    resolver::DNS_PORT,
    segment::{self, Numbers},
};
use crate::{
    abi::{FlowKey, V4, V6, flow_flags},
    datapath::{DatapathOf, DualStack},
    packet::{
        Direction, ETHERTYPE_IPV4, ETHERTYPE_IPV6, FiveTuple, Frame, Packet, ParseKnown, TCP,
    },
    scratch::Family,
};

/// Returns a word for [`verdict`] if the frame belongs to a known flow and nothing about either is
/// unusual, or 0. The frame stands for `packets` packets.
///
/// A word rather than an `Option`, which would leave a register unwritten if empty.
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

/// Returns the verdict that a word of [`pass`] stands for.
#[inline(always)]
pub(super) fn verdict(word: u64) -> Verdict {
    flow_verdict(&Known { rule: (word >> 16) as u8, group: word as u16, audited: 0 })
}

/// Returns the word of [`pass`] for the datagram at `offset`.
#[inline(always)]
fn by_flow<A: ParseKnown + Family, W: DatapathOf<A>>(
    packet: &impl Packet,
    datapath: W,
    zone: u16,
    offset: u32,
    direction: Direction,
    packets: u32,
) -> u64 {
    let Some(usual) = A::parse_known(packet, offset) else {
        return 0;
    };
    let key = key(&usual, zone, direction);
    // DNS is always read, whether its flow is known or not.
    if key.remote_port == DNS_PORT {
        return 0;
    }
    let generation = datapath.active().map_or(0, |active| active.generation);
    if generation == 0 {
        return 0;
    }
    let known = datapath.flow(&key, |flow| {
        // Neither audited, nor opened from outside, nor ending; and an answer from another zone is asked
        // for its way in.
        if flow.flags & !flow_flags::UNRULED != flow_flags::ANSWERED
            || flow.generation != generation
            || direction == Direction::ToClient && flow.far_zone != 0
            || direction == Direction::FromClient && client_mac(packet, direction) != flow.mac()
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

/// Bit in a word of [`pass`] that says that the flow is known.
const KNOWN: u64 = 1 << 32;

/// Returns the key of the flow that a datagram belongs to. [`flow`] has a function of its own for
/// such keys: a shared one takes stack at TC that Linux 6.1 does not have.
#[inline(always)]
fn key<A: ParseKnown>(usual: &FiveTuple<A>, zone: u16, direction: Direction) -> FlowKey<A> {
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
