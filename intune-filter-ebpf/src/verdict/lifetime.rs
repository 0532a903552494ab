//! Lifetimes of flows by protocol and state, in nanoseconds.

use crate::{
    abi::{Ending, flow_flags},
    datapath::NANOS_PER_SEC,
    packet::{TCP, UDP},
};

/// Lifetime of an answered TCP flow: RFC 5382 REQ-5 requires at least 2 hours and 4 minutes.
pub(super) const TCP_ANSWERED: u64 = 7_440 * NANOS_PER_SEC;
/// Lifetime of a TCP flow without an answer: RFC 5382 REQ-5 requires at least 4 minutes.
const TCP_OPENING: u64 = 240 * NANOS_PER_SEC;
/// Lifetime of a TCP flow after both FINs or an RST.
pub(super) const TCP_CLOSING: u64 = 30 * NANOS_PER_SEC;
/// Lifetime of an answered UDP flow: RFC 4787 REQ-5 recommends 5 minutes.
pub(super) const UDP_ANSWERED: u64 = 300 * NANOS_PER_SEC;
/// Lifetime of a UDP flow without an answer: RFC 4787 REQ-5 requires at least 2 minutes.
const UDP_OPENING: u64 = 120 * NANOS_PER_SEC;
/// Lifetime of an ICMP echo's flow: RFC 5508 REQ-2 requires at least 60 seconds.
const ECHO: u64 = 60 * NANOS_PER_SEC;

/// Returns the ending of a TCP flow, by its flags.
#[inline(always)]
#[must_use]
pub const fn ending(flags: u16) -> Ending {
    const FINS: u16 = flow_flags::CLIENT_FIN | flow_flags::REMOTE_FIN;
    if flags & flow_flags::RESET != 0 {
        Ending::Reset
    } else if flags & FINS == FINS {
        Ending::Finished
    } else {
        Ending::Open
    }
}

/// Returns the time that a flow lives after its last packet, in nanoseconds.
#[inline(always)]
#[must_use]
pub const fn lifetime(protocol: u8, flags: u16) -> u64 {
    let answered = flags & flow_flags::ANSWERED != 0;
    if protocol == TCP {
        if ending(flags) as u8 != Ending::Open as u8 {
            TCP_CLOSING
        } else if answered {
            TCP_ANSWERED
        } else {
            TCP_OPENING
        }
    } else if protocol == UDP {
        if answered { UDP_ANSWERED } else { UDP_OPENING }
    } else {
        ECHO
    }
}
