//! Opening of flows: the datagrams that open one, its terms, and what it begins as.

use super::segment::{self, Numbers};
use crate::{
    abi::{flow_flags, has_ports},
    packet::{Datagram, Direction, TCP, TCP_FIN, TCP_RST},
    scratch::{Family, Scratch},
};

/// Whether a datagram belongs to a flow, by its protocol.
#[inline(always)]
pub(super) fn is_kept<A: Family>(datagram: &Datagram<A>) -> bool {
    let (protocol, transport) = (datagram.protocol, &datagram.transport);
    // In ICMP messages other than echoes, the field of the identifier holds something else.
    let echo = protocol == A::ICMP
        && (transport.flags == A::ECHO_REQUEST || transport.flags == A::ECHO_REPLY);
    has_ports(protocol) || echo
}

/// Whether a datagram that belongs to no known flow may open one. A FIN or RST opens none: a forged
/// one would occupy an entry.
#[inline(always)]
pub(super) fn may_open<A: Family>(datagram: &Datagram<A>) -> bool {
    let ends = datagram.protocol == TCP && datagram.transport.flags & (TCP_FIN | TCP_RST) != 0;
    is_kept(datagram) && !ends
}

/// Returns the generation that a flow is stored with. A flow of the warm-up gets 0: its packets are
/// judged one by one by the warm-up's clock, not by the age of the policy.
#[inline(always)]
pub(super) const fn lasting(generation: u32, flags: u16) -> u32 {
    if flags & flow_flags::WARM_UP == flow_flags::WARM_UP { 0 } else { generation }
}

/// Bit of [`crate::scratch::PacketCtx::opening`] that says that there is a flow to open.
const OPENS: u64 = 1 << 63;

/// Notes on which terms [`super::flow::open`] is to open the packet's flow: its group, rule and flags, and
/// the zone that it is opened from, if that is another one.
#[inline(always)]
pub(super) fn set_terms(scratch: &Scratch, group: u32, rule: u8, flags: u16, origin: u16) {
    let terms = u64::from(origin) << 40
        | u64::from(rule) << 32
        | u64::from(flags) << 16
        | u64::from(group as u16);
    scratch.ctx.opening.set(OPENS | terms);
}

/// Returns the terms that were noted: rule, flags, group and origin.
#[inline(always)]
pub(super) fn terms(scratch: &Scratch) -> (u8, u16, u16, u16) {
    let terms = scratch.ctx.opening.get() & !OPENS;
    ((terms >> 32) as u8, (terms >> 16) as u16, terms as u16, (terms >> 40) as u16)
}

/// Writes into the working memory the flow of the packet there, as it is when it is opened.
#[inline(always)]
pub(super) fn begin(scratch: &Scratch, direction: Direction, length: u32, tcp: u8, protocol: u8) {
    let ((rule, flags, group, origin), bytes) = (terms(scratch), u64::from(length));
    let from_client = u64::from(direction == Direction::FromClient);
    let to_client = 1 - from_client;
    let now = scratch.ctx.now.get();
    // SAFETY: the scratch memory is this run's alone. Field by field: on the stack there is no room.
    unsafe {
        let flow = &mut *scratch.ctx.flow.get();
        flow.opened = now;
        flow.last_seen = now;
        flow.client_packets = from_client;
        flow.client_bytes = from_client * bytes;
        flow.remote_packets = to_client;
        flow.remote_bytes = to_client * bytes;
        flow.client_end = 0;
        flow.client_acknowledged = 0;
        flow.remote_end = 0;
        flow.remote_acknowledged = 0;
        flow.generation = lasting(scratch.ctx.generation.get() as u32, flags);
        flow.far_zone = origin;
        flow.flags = flags;
        flow.rule = rule;
        flow.group = group as u8;
        flow.set_mac(scratch.ctx.client_mac.get());
        flow.name_state = [0; 2];
        if protocol == TCP {
            segment::note(flow, Numbers::of(&scratch.segment, tcp), direction, true);
        }
    }
}
