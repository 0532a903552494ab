//! The judged prefix: of a followed TCP connection, a server reads what was judged, and nothing
//! else.
//!
//! A filter and the receiver of a stream need not read the same octets: segments may overlap, come
//! in any order, come twice with other octets, be lost behind the filter, or mark octets as urgent,
//! which the receiver takes out of the stream. For each sequence number from the client's first to
//! the end of the judged prefix, at most one octet therefore ever passes:
//!
//! - Data passes only at the end of the judged prefix, or as a repetition, octet for octet, of
//!   judged octets that the server has not acknowledged. Nothing passes that begins at an
//!   acknowledged octet. A copy with a false checksum, a short hop limit or an old timestamp
//!   therefore makes no difference, nor does a forged acknowledgement: octets that are forgotten
//!   early cannot be repeated.
//! - A connection has one first sequence number: another SYN is denied until the connection has
//!   ended. A server that answers SYNs with cookies (RFC 4987 section 3.6) remembers none of them,
//!   and the client's first acknowledgement chooses one; hence a client may acknowledge only what
//!   the server has been seen to send since the SYN-ACK that counts. A cookie forgives a sequence
//!   number that is a few octets out, which then count as its MSS: until the server has
//!   acknowledged an octet, nothing passes that begins just behind the first.
//! - Nothing passes with an urgent pointer, and no data with a SYN, after a reset, or after the
//!   server's FIN.
//!
//! [`JudgedPrefix`] is the state. The module that follows a connection reads the octets of a
//! segment, and moves `end` past those that pass.

mod kept;

pub(super) use kept::{compare, keep, owner};
pub use kept::{compare_octets, keep_octets};

use super::segment::{Numbers, is_after};
use crate::{
    abi::{JudgedPrefix, KEPT_CAPACITY, client_state, server_state},
    packet::{TCP_ACK, TCP_FIN, TCP_RST, TCP_SYN, TCP_URG},
    result_word::result_word,
};

result_word! {
    /// Class of a segment of a followed connection.
    pub(in crate::verdict) Class {
        /// Segment without a place in the connection, or not yet: dropped in silence, and sent
        /// again by an honest client.
        FOREIGN = 0,
        /// Segment without data, which may pass.
        EMPTY = 1,
        /// Segment whose data begins at the end of the judged prefix.
        NEXT = 2,
        /// Segment whose data repeats judged octets, if [`compare`] agrees.
        REPEATED = 3,
        /// Segment with data from the server.
        DATA = 4,
    }
}

/// Octets behind the client's first within which a cookie may take another octet for the first:
/// fewer than a message has, more than there are sizes in a server's table (Linux: 4).
const SHIFT: u32 = 16;
/// Octets by which the numbers of a connection have to be ahead of those of an earlier one between
/// the same ports: more than a server's window, so that the server cannot take octets of the one
/// for octets of the other.
const NEAR: u32 = 1 << 21;
/// Octets by which the numbers of a connection have to be behind otherwise: more than the queries
/// of the earlier one can add. The initial numbers of senders rise (RFC 6528).
const BEHIND: u32 = 1 << 30;
/// Octets of a client's segment at most: as many are kept and compared in one loop.
pub(super) const SEGMENT_MAX: u32 = 1024;
/// Octets ahead of its last octet within which a server is believed to send.
const WINDOW: u32 = 1 << 24;
/// Nanoseconds that a SYN waits for its answer before another takes its place.
const SILENCE: u64 = 10_000_000_000;
/// Nanoseconds in which a server takes the acknowledgement of a SYN cookie.
const COOKIE: u64 = 120_000_000_000;

/// Whether a number lies between `begin` and `end`, both included.
#[inline(always)]
const fn is_within(number: u32, begin: u32, end: u32) -> bool {
    number.wrapping_sub(begin) <= end.wrapping_sub(begin)
}

/// Returns the state behind the SYN of a new connection.
#[inline(always)]
pub(super) const fn begin(sequence: u32, state: u32) -> JudgedPrefix {
    let end = sequence.wrapping_add(1);
    JudgedPrefix {
        end,
        kept: end,
        acknowledged: end,
        server_begin: 0,
        server_end: 0,
        server_acknowledged: 0,
        client_state: state,
        server_state: server_state::SILENT,
    }
}

/// Whether a SYN with this sequence number repeats the SYN that the connection began with.
#[inline(always)]
pub(super) const fn is_same_syn(prefix: &JudgedPrefix, sequence: u32) -> bool {
    prefix.client_state & client_state::SPOKE == 0 && prefix.end == sequence.wrapping_add(1)
}

/// Returns the [`JudgedPrefix::client_state`] of a connection that a SYN with this sequence number
/// opens in place of another, which has this age and idle time, in nanoseconds; `None` if the SYN
/// may not.
///
/// A connection that has ended for the filter need not have ended for the server: a reset may be
/// lost, and a FIN or RST of the server may be forged. Hence the distance between the numbers, and
/// hence at most two connections while a cookie lives.
#[inline(always)]
pub(super) const fn reopens(
    prefix: &JudgedPrefix,
    sequence: u32,
    age: u64,
    idle: u64,
    idle_most: u64,
) -> Option<u32> {
    let unanswered = prefix.server_state == server_state::SILENT && idle > SILENCE;
    let ended = prefix.server_state == server_state::CLOSED
        || prefix.client_state & client_state::RESET != 0
        || unanswered
        || idle > idle_most;
    let near = is_within(sequence, prefix.end.wrapping_sub(BEHIND), prefix.end.wrapping_add(NEAR));
    let recent = age <= COOKIE;
    if !ended || near || (recent && prefix.client_state & client_state::REOPENED != 0) {
        return None;
    }
    Some(if recent { client_state::REOPENED } else { 0 })
}

/// Returns the class of a client's segment other than a SYN.
#[inline(always)]
pub(super) fn client(prefix: &mut JudgedPrefix, segment: Numbers) -> Class {
    let Numbers { sequence, acknowledgment, length, flags } = segment;
    if flags & (TCP_URG | TCP_SYN) != 0 {
        return Class::FOREIGN;
    }
    if flags & TCP_RST != 0 {
        if length != 0 {
            return Class::FOREIGN;
        }
        if is_within(sequence, prefix.acknowledged, prefix.end) {
            prefix.client_state |= client_state::RESET;
        }
        return Class::EMPTY;
    }
    if flags & TCP_ACK == 0
        || prefix.server_state == server_state::SILENT
        || !is_within(acknowledgment, prefix.server_begin, prefix.server_end)
    {
        return Class::FOREIGN;
    }
    let at = sequence.wrapping_sub(prefix.acknowledged);
    let judged = prefix.end.wrapping_sub(prefix.acknowledged);
    if prefix.server_state == server_state::ANSWERED && at != 0 && (at < SHIFT || at > judged) {
        return Class::FOREIGN;
    }
    if is_after(acknowledgment, prefix.server_acknowledged) {
        prefix.server_acknowledged = acknowledgment;
    }
    if length == 0 {
        return Class::EMPTY;
    }
    if length > SEGMENT_MAX {
        return Class::FOREIGN;
    }
    if prefix.server_state == server_state::CLOSED || prefix.client_state & client_state::RESET != 0
    {
        return Class::FOREIGN;
    }
    if is_after(prefix.acknowledged, prefix.kept) {
        prefix.kept = prefix.acknowledged;
    }
    let kept = prefix.end.wrapping_sub(prefix.kept);
    if sequence == prefix.end {
        return if kept.wrapping_add(length) > KEPT_CAPACITY {
            Class::FOREIGN
        } else {
            Class::NEXT
        };
    }
    let at = sequence.wrapping_sub(prefix.kept);
    if length <= kept && at <= kept - length { Class::REPEATED } else { Class::FOREIGN }
}

/// Returns the class of a server's segment.
#[inline(always)]
pub(super) fn server(prefix: &mut JudgedPrefix, segment: Numbers) -> Class {
    let Numbers { sequence, acknowledgment, length, flags } = segment;
    if flags & TCP_SYN != 0 {
        return syn_ack(prefix, segment);
    }
    let state = prefix.server_state;
    if flags & TCP_RST != 0 {
        let refuses =
            state == server_state::SILENT && flags & TCP_ACK != 0 && acknowledgment == prefix.end;
        let resets = state != server_state::SILENT
            && (sequence == prefix.server_end || sequence == prefix.server_acknowledged);
        if refuses || resets {
            prefix.server_state = server_state::CLOSED;
        }
        return if length == 0 { Class::EMPTY } else { Class::FOREIGN };
    }
    // An acknowledgement out of turn tells the client of a connection that the server still has
    // (RFC 9293 section 3.10.7.4).
    if state == server_state::SILENT {
        return if length == 0 { Class::EMPTY } else { Class::FOREIGN };
    }
    if flags & TCP_ACK != 0 && acknowledge(prefix, acknowledgment) {
        prefix.server_state = state.max(server_state::ACKNOWLEDGED);
    }
    let fin = flags & TCP_FIN != 0;
    let end = sequence.wrapping_add(length).wrapping_add(fin as u32);
    if end.wrapping_sub(prefix.server_end) < WINDOW {
        prefix.server_end = end;
        if end.wrapping_sub(prefix.server_begin) > 1 << 31 {
            prefix.server_begin = end.wrapping_sub(1 << 30);
        }
        if fin {
            prefix.server_state = server_state::CLOSED;
        }
    }
    if length == 0 { Class::EMPTY } else { Class::DATA }
}

/// Returns the class of an answer to the client's SYN. Until the client has sent data, the answer
/// may come again with another number: with cookies, a server remembers none.
#[inline(always)]
fn syn_ack(prefix: &mut JudgedPrefix, segment: Numbers) -> Class {
    let begin = segment.sequence.wrapping_add(1);
    if segment.flags & TCP_ACK == 0
        || segment.length != 0
        || prefix.server_state == server_state::CLOSED
    {
        return Class::FOREIGN;
    }
    if prefix.client_state & client_state::SPOKE != 0 {
        return if begin == prefix.server_begin { Class::EMPTY } else { Class::FOREIGN };
    }
    if segment.acknowledgment != prefix.end {
        return Class::FOREIGN;
    }
    prefix.server_begin = begin;
    prefix.server_end = begin;
    prefix.server_acknowledged = begin;
    prefix.server_state = server_state::ANSWERED;
    Class::EMPTY
}

/// Records what the server has acknowledged; returns whether that is more than before. A FIN of the
/// client takes a number, too.
#[inline(always)]
fn acknowledge(prefix: &mut JudgedPrefix, number: u32) -> bool {
    let most = prefix.end.wrapping_sub(prefix.acknowledged);
    let more = number.wrapping_sub(prefix.acknowledged);
    if more > most.wrapping_add(1) {
        return false;
    }
    prefix.acknowledged = if more > most { prefix.end } else { number };
    more != 0 && most != 0
}

#[cfg(test)]
mod tests;
