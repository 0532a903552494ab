//! Options of IPv4 (RFC 791 section 3.1), searched for source routes, and of TCP (RFC 9293 section
//! 3.1), searched for one kind. Both have the same form.

use super::{HeaderError, Headers, Packet, headers::HeaderWalk};
use crate::{
    bpf_loop::{self, LoopBody},
    memory::Message,
};

const END: u64 = 0;
const NO_OPERATION: u64 = 1;
const LOOSE_SOURCE_ROUTE: u64 = 131;
const STRICT_SOURCE_ROUTE: u64 = 137;
/// Maximum number of steps: the octets of options, of which each step passes one or more, and one.
const STEPS: u32 = 41;

/// Results of the walk.
const MALFORMED: u64 = 0;
const CLEAN: u64 = 1;
const FOUND: u64 = 2;

/// Searches the `length` octets of IPv4 options at `offset` for source routes.
#[inline(always)]
pub(super) fn check(
    packet: &impl Packet,
    walk: HeaderWalk<'_>,
    offset: u32,
    length: u32,
) -> Result<(), HeaderError> {
    walk.headers.result.set(MALFORMED);
    if packet.copy(offset, length, walk.message) {
        walk.headers.position.set(0);
        walk.headers.end.set(u64::from(length));
        bpf_loop::run::<SourceRoute, _>(walk, STEPS);
    }
    let result = walk.headers.result.get();
    match result {
        CLEAN => Ok(()),
        FOUND => Err(HeaderError::SourceRoute),
        _ => Err(HeaderError::Malformed),
    }
}

/// Kind of the TCP option of Multipath TCP (RFC 8684 section 3).
pub const MULTIPATH: u64 = 30;

/// Whether the `length` octets of TCP options at `offset` have one of this kind, or cannot be read.
#[inline(always)]
pub fn has_tcp_option(
    packet: &impl Packet,
    headers: &Headers,
    message: &Message,
    offset: u32,
    length: u32,
    kind: u64,
) -> bool {
    let walk = HeaderWalk { headers, message };
    walk.headers.result.set(MALFORMED);
    walk.headers.option_kind.set(kind);
    if packet.copy(offset, length, walk.message) {
        walk.headers.position.set(0);
        walk.headers.end.set(u64::from(length));
        bpf_loop::run::<TcpOption, _>(walk, STEPS);
    }
    walk.headers.result.get() != CLEAN
}

struct TcpOption;

impl LoopBody<HeaderWalk<'_>> for TcpOption {
    #[inline(always)]
    fn step(walk: HeaderWalk<'_>) -> bool {
        let wanted = walk.headers.option_kind.get();
        step(walk, |kind| kind == wanted)
    }
}

struct SourceRoute;

impl LoopBody<HeaderWalk<'_>> for SourceRoute {
    #[inline(always)]
    fn step(walk: HeaderWalk<'_>) -> bool {
        step(walk, |kind| kind == LOOSE_SOURCE_ROUTE || kind == STRICT_SOURCE_ROUTE)
    }
}

/// Reads the next option; true if the walk ends: at the last option, at one that is searched for,
/// or at one that is malformed.
#[inline(always)]
fn step(walk: HeaderWalk<'_>, is_found: impl Fn(u64) -> bool) -> bool {
    let (at, end) = (walk.headers.position.get(), walk.headers.end.get());
    let kind = walk.message.octet(at);
    if at == end || kind == END {
        walk.headers.result.set(CLEAN);
        return true;
    }
    if is_found(kind) {
        walk.headers.result.set(FOUND);
        return true;
    }
    let own = if kind == NO_OPERATION { 1 } else { walk.message.octet(at + 1) };
    // An option's length counts its kind and itself, and stays inside the header.
    if (kind != NO_OPERATION && own < 2) || at + own > end {
        return true;
    }
    walk.headers.position.set(at + own);
    false
}
