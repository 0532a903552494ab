//! TCP segments: the position of one in its stream, and the positions of a flow's two sides.

use super::Run;
use crate::{
    abi::{Flow, flow_flags},
    bytes::be32,
    datapath::Datapath,
    memory::VolatileU64,
    packet::{Datagram, Direction, Packet, TCP_ACK, TCP_FIN, TCP_RST, TCP_SYN},
    scratch::{Family, Scratch, Segment},
};

/// Octets ahead of its last octet within which a side is believed to send.
const WINDOW: u32 = 1 << 22;

/// TCP numbers of a segment, in host byte order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Numbers {
    /// Sequence number.
    pub(super) sequence: u32,
    /// Acknowledgment number.
    pub(super) acknowledgment: u32,
    /// Octets of data.
    pub(super) length: u32,
    /// Flags.
    pub(super) flags: u8,
}

impl Numbers {
    /// Returns the numbers of the segment in the working memory.
    #[inline(always)]
    pub(super) fn of(segment: &Segment, flags: u8) -> Self {
        Self {
            sequence: low(&segment.sequence),
            acknowledgment: low(&segment.acknowledgment),
            length: low(&segment.length),
            flags,
        }
    }

    /// Returns the numbers of a segment that carries on ([`crate::packet::FiveTuple`]), directly behind
    /// an IP header of `header` octets at `offset`, in a datagram of `length` octets.
    #[inline(always)]
    pub(super) fn at(packet: &impl Packet, offset: u32, header: u32, length: u32) -> Option<Self> {
        let tcp = packet.at::<20>(offset + header)?;
        let own = u32::from(tcp[12] >> 4) * 4;
        Some(Self {
            sequence: be32::<4, 20>(tcp),
            acknowledgment: be32::<8, 20>(tcp),
            length: length.wrapping_sub(header + own),
            flags: TCP_ACK,
        })
    }

    /// Returns the sequence number behind the data.
    #[inline(always)]
    const fn data_end(self) -> u32 {
        self.sequence.wrapping_add(self.length)
    }

    /// Returns the sequence number behind the whole segment: SYN and FIN take one number each.
    #[inline(always)]
    const fn end(self) -> u32 {
        let (syn, fin) = ((self.flags / TCP_SYN) & 1, (self.flags / TCP_FIN) & 1);
        self.data_end().wrapping_add(syn as u32 + fin as u32)
    }
}

/// Whether a sequence number is after another (RFC 9293 section 3.4).
#[inline(always)]
pub(super) const fn is_after(a: u32, b: u32) -> bool {
    a.wrapping_sub(b) as i32 > 0
}

/// Returns the low half of a word, which holds a sequence number.
#[inline(always)]
pub(super) fn low(word: &VolatileU64) -> u32 {
    word.get() as u32
}

/// Stores the position of a segment and of its data in the working memory; false if the TCP header
/// cannot be read.
#[inline(always)]
pub(super) fn read<A: Family, W: Datapath, P: Packet>(
    run: &Run<'_, W, P>,
    datagram: &Datagram<A>,
) -> bool {
    let Some(header) = run.packet.at::<20>(datagram.transport_offset) else {
        return false;
    };
    let segment = &run.scratch.segment;
    let header_length = datagram.transport.length;
    segment.sequence.set(u64::from(be32::<4, 20>(header)));
    segment.acknowledgment.set(u64::from(be32::<8, 20>(header)));
    segment.data.set(u64::from(datagram.transport_offset + header_length));
    segment.length.set(u64::from(datagram.transport_length.saturating_sub(header_length)));
    segment.done.set(0);
    segment.known.set(1);
    true
}

/// Records in a flow the position of the side that sends a segment; `first` for that side's first
/// segment.
///
/// A position far from the last one is not believed: the segment is forged or stray. Branch-free:
/// the verifier would follow each way through this function for every way of the packet behind it.
#[inline(always)]
pub(super) fn note(flow: &mut Flow, segment: Numbers, direction: Direction, first: bool) {
    let (end, acknowledged, other) = match direction {
        Direction::FromClient => {
            (&mut flow.client_end, &mut flow.client_acknowledged, flow.remote_end)
        }
        Direction::ToClient => {
            (&mut flow.remote_end, &mut flow.remote_acknowledged, flow.client_end)
        }
    };
    let first = u32::from(first).wrapping_neg();
    let ahead = segment.end().wrapping_sub(*end);
    *end = end.wrapping_add(ahead & (first | below(ahead, u64::from(WINDOW))));
    let ack = flag(segment.flags, TCP_ACK);
    let more = segment.acknowledgment.wrapping_sub(*acknowledged);
    let sent = u64::from(other.wrapping_sub(*acknowledged)) + 1;
    *acknowledged = acknowledged.wrapping_add(more & ack & (first | below(more, sent)));
}

/// Returns all ones if a number is below a bound, otherwise zero.
#[inline(always)]
fn below(number: u32, bound: u64) -> u32 {
    let mut sign = u64::from(number).wrapping_sub(bound);
    #[cfg(target_arch = "bpf")]
    // SAFETY: plain arithmetic, kept from the optimizer, which would branch.
    unsafe {
        core::arch::asm!("{sign} s>>= 63", sign = inout(reg) sign, options(pure, nomem, nostack));
    }
    #[cfg(not(target_arch = "bpf"))]
    {
        sign = (sign.cast_signed() >> 63).cast_unsigned();
    }
    sign as u32
}

/// Returns all ones if a flag is set, otherwise zero.
#[inline(always)]
fn flag(flags: u8, flag: u8) -> u32 {
    u32::from((flags / flag) & 1).wrapping_neg()
}

/// Whether a FIN or RST comes from a side of the flow, and not from somebody who guesses.
///
/// Such a segment is at the number that the other side waits for, or it follows its own side's last
/// octet and acknowledges what the other side has sent lately. In a flow that was not answered, an
/// RST proves by its acknowledgment that it answers (RFC 9293 section 3.10.7.3); `first` says
/// whether it could be such an answer. To be asked before [`note`]: a segment in doubt says nothing
/// about the position of its side.
#[inline(always)]
fn is_believed(flow: &Flow, segment: Numbers, direction: Direction, first: bool) -> bool {
    let (end, acknowledged, other_end, waits_for) = match direction {
        Direction::FromClient => {
            (flow.client_end, flow.client_acknowledged, flow.remote_end, flow.remote_acknowledged)
        }
        Direction::ToClient => {
            (flow.remote_end, flow.remote_acknowledged, flow.client_end, flow.client_acknowledged)
        }
    };
    let acknowledges = segment.flags & TCP_ACK != 0;
    let behind = other_end.wrapping_sub(segment.acknowledgment);
    if flow.flags & flow_flags::ANSWERED == 0 {
        return first && segment.flags & TCP_RST != 0 && acknowledges && behind == 0;
    }
    // A FIN that is repeated has the number before the end.
    let follows = segment.sequence == end || segment.end() == end;
    // From the last acknowledgment on: for an idle flow, that is a single number.
    let lately = behind <= other_end.wrapping_sub(acknowledged);
    // A side that has acknowledged nothing yet waits for no number that is known.
    let awaited = waits_for != 0 && segment.sequence == waits_for;
    awaited || (follows && acknowledges && lately)
}

/// Updates the connection state of a flow by the segment in the working memory, which has these
/// flags. Returns the flags by which the segment ends a side.
#[inline(always)]
pub fn note_segment(flow: &mut Flow, scratch: &Scratch, flags: u8, direction: Direction) -> u16 {
    let segment = Numbers::of(&scratch.segment, flags);
    // A flow that was opened by the client is answered by the remote, or the other way round.
    let (answers, fin) = match direction {
        Direction::FromClient => (flow_flags::INBOUND, flow_flags::CLIENT_FIN),
        Direction::ToClient => (0, flow_flags::REMOTE_FIN),
    };
    let first = flow.flags & (flow_flags::INBOUND | flow_flags::ANSWERED) == answers;
    let fin = if segment.flags & TCP_FIN != 0 { fin } else { 0 };
    let reset = if segment.flags & TCP_RST != 0 { flow_flags::RESET } else { 0 };
    let ends = fin | reset;
    if ends != 0 && is_believed(flow, segment, direction, first) {
        flow.flags |= ends;
        note(flow, segment, direction, first);
        return ends;
    }
    if reset == 0 {
        note(flow, segment, direction, first);
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACK: u8 = TCP_ACK;
    /// Number far from all that the remote sends.
    const FAR: u32 = 1 << 30;

    fn numbers(sequence: u32, acknowledgment: u32, length: u32, flags: u8) -> Numbers {
        Numbers { sequence, acknowledgment, length, flags }
    }

    /// Returns a flow whose client has sent 100 octets and whose remote 50, all acknowledged.
    fn idle() -> Flow {
        let mut flow = Flow { flags: flow_flags::ANSWERED, ..Flow::default() };
        note(&mut flow, numbers(999, 0, 0, TCP_SYN), Direction::FromClient, true);
        note(&mut flow, numbers(4999, 1000, 0, TCP_SYN | ACK), Direction::ToClient, true);
        note(&mut flow, numbers(1000, 5000, 100, ACK), Direction::FromClient, false);
        note(&mut flow, numbers(5000, 1100, 50, ACK), Direction::ToClient, false);
        note(&mut flow, numbers(1100, 5050, 0, ACK), Direction::FromClient, false);
        flow
    }

    fn resets(flow: &Flow, segment: Numbers, direction: Direction) -> bool {
        is_believed(flow, segment, direction, direction == Direction::ToClient)
    }

    #[test]
    fn numbers_follow_both_sides() {
        let flow = idle();
        assert_eq!((flow.client_end, flow.remote_end), (1100, 5050));
        assert_eq!((flow.client_acknowledged, flow.remote_acknowledged), (5050, 1100));
    }

    #[test]
    fn a_reset_counts_where_the_other_side_waits_or_behind_the_last_octet() {
        let mut flow = idle();
        let from_client = |flow: &Flow, segment| resets(flow, segment, Direction::FromClient);
        assert!(from_client(&flow, numbers(1100, 0, 0, TCP_RST)));
        assert!(from_client(&flow, numbers(1100, 5050, 0, TCP_RST | ACK)));
        for wrong in [1099, 1101, 0, 1100 + (1 << 31)] {
            assert!(!from_client(&flow, numbers(wrong, 0, 0, TCP_RST)), "{wrong}");
        }
        assert!(resets(&flow, numbers(5050, 0, 0, TCP_RST), Direction::ToClient));
        assert!(!resets(&flow, numbers(5049, 0, 0, TCP_RST), Direction::ToClient));
        // Data in flight.
        note(&mut flow, numbers(1100, 5050, 10, ACK), Direction::FromClient, false);
        assert!(from_client(&flow, numbers(1110, 5050, 0, TCP_RST | ACK)));
        assert!(!from_client(&flow, numbers(1110, 5000, 0, TCP_RST | ACK)));
        note(&mut flow, numbers(5050, 1100, 30, ACK), Direction::ToClient, false);
        assert!(from_client(&flow, numbers(1110, 5050, 0, TCP_RST | ACK)));
        assert!(from_client(&flow, numbers(1110, 5080, 0, TCP_RST | ACK)));
        assert!(!from_client(&flow, numbers(1110, 5049, 0, TCP_RST | ACK)));
        assert!(!from_client(&flow, numbers(1110, 9999, 0, TCP_RST | ACK)));
        assert!(!from_client(&flow, numbers(1110, 0, 0, TCP_RST)));
    }

    #[test]
    fn a_reset_near_the_end_says_nothing_of_where_the_end_is() {
        let scratch = Scratch::default();
        let mut flow = idle();
        for at in 0..100 {
            scratch.segment.sequence.set(1101 + at);
            scratch.segment.acknowledgment.set(5050);
            for flags in [TCP_RST | ACK, TCP_RST] {
                assert_eq!(note_segment(&mut flow, &scratch, flags, Direction::FromClient), 0);
            }
        }
        assert_eq!(flow, idle());
    }

    #[test]
    fn who_prepares_a_reset_by_data_has_to_guess_all_the_same() {
        for at in [0, 1101, 1 << 20, 1 << 30, u32::MAX] {
            let mut flow = idle();
            note(&mut flow, numbers(at, FAR, 1, ACK), Direction::FromClient, false);
            let reset = numbers(at.wrapping_add(1), FAR, 0, TCP_RST | ACK);
            assert!(!resets(&flow, reset, Direction::FromClient), "{at}");
            assert!(resets(&flow, numbers(1100, 0, 0, TCP_RST), Direction::FromClient), "{at}");
        }
    }

    /// Data that each time is a little ahead moves the end anywhere.
    #[test]
    fn who_walks_the_end_to_a_number_has_to_guess_the_other_sides() {
        let mut flow = idle();
        for step in 1..=1030_u32 {
            let at = step.wrapping_mul(WINDOW - 1);
            note(&mut flow, numbers(at, FAR, 1, ACK), Direction::FromClient, false);
        }
        let end = flow.client_end;
        for step in 0..1024_u32 {
            let guess = numbers(end, step.wrapping_mul(WINDOW), 0, TCP_RST | ACK);
            assert!(!resets(&flow, guess, Direction::FromClient), "{step}");
        }
    }

    #[test]
    fn nobody_waits_for_a_number_before_acknowledging_one() {
        let mut flow = Flow { flags: flow_flags::ANSWERED, ..Flow::default() };
        note(&mut flow, numbers(999, 0, 0, TCP_SYN), Direction::FromClient, true);
        note(&mut flow, numbers(4999, 1000, 0, TCP_SYN | ACK), Direction::ToClient, true);
        for flags in [TCP_RST, TCP_RST | ACK] {
            assert!(!resets(&flow, numbers(0, 0, 0, flags), Direction::ToClient));
        }
        assert!(resets(&flow, numbers(5000, 1000, 0, TCP_RST | ACK), Direction::ToClient));
    }

    #[test]
    fn a_fin_has_a_number_of_its_own() {
        let mut flow = idle();
        let fin = numbers(1100, 5050, 5, TCP_FIN | ACK);
        assert!(resets(&flow, fin, Direction::FromClient));
        note(&mut flow, fin, Direction::FromClient, false);
        assert_eq!(flow.client_end, 1106);
        // Repeated without its data.
        let again = numbers(1105, 5050, 0, TCP_FIN | ACK);
        assert!(resets(&flow, again, Direction::FromClient));
        assert!(!resets(&flow, numbers(3000, FAR, 0, TCP_FIN | ACK), Direction::FromClient));
    }

    #[test]
    fn what_answers_a_syn_proves_it() {
        let mut flow = Flow::default();
        note(&mut flow, numbers(999, 0, 0, TCP_SYN), Direction::FromClient, true);
        let reset = |acknowledgment, flags| numbers(0, acknowledgment, 0, TCP_RST | flags);
        assert!(resets(&flow, reset(1000, ACK), Direction::ToClient));
        assert!(!resets(&flow, reset(1001, ACK), Direction::ToClient));
        assert!(!resets(&flow, reset(1000, 0), Direction::ToClient));
        // No number is known yet that only the client knows.
        for flags in [TCP_RST, TCP_RST | ACK] {
            assert!(!resets(&flow, numbers(1000, 0, 0, flags), Direction::FromClient));
        }
    }
}
