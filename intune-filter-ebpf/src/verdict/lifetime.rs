//! Lifetimes of flows by protocol and state.

use crate::{
    abi::{Ending, flow_flags},
    datapath::NANOS_PER_SEC,
    packet::{TCP, UDP},
};

/// TCP, answered: RFC 5382 REQ-5 asks for 2 hours and 4 minutes at least.
pub(super) const TCP_ANSWERED: u64 = 7_440 * NANOS_PER_SEC;
/// TCP, not answered: RFC 5382 REQ-5 asks for 4 minutes at least.
const TCP_OPENING: u64 = 240 * NANOS_PER_SEC;
/// TCP after both FINs or an RST.
pub(super) const TCP_CLOSING: u64 = 30 * NANOS_PER_SEC;
/// UDP, answered: RFC 4787 REQ-5 recommends 5 minutes.
pub(super) const UDP_ANSWERED: u64 = 300 * NANOS_PER_SEC;
/// UDP, not answered: RFC 4787 REQ-5 asks for 2 minutes at least.
const UDP_OPENING: u64 = 120 * NANOS_PER_SEC;
/// ICMP echo: RFC 5508 REQ-2 asks for 60 seconds at least.
const ECHO: u64 = 60 * NANOS_PER_SEC;

/// Ending of a connection by its flags.
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

/// Time that a flow lives after its last packet, in nanoseconds.
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
