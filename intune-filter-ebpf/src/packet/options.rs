//! Options: of IPv4 (RFC 791 section 3.1), looked through for source routes, and of TCP (RFC 9293
//! section 3.1), for one kind. Both have the same form.

use super::{HeaderError, Packet};
use crate::{
    dns::{Scratch, Step, walk},
    world::World,
};

const END: u64 = 0;
const NO_OPERATION: u64 = 1;
const LOOSE_SOURCE_ROUTE: u64 = 131;
const STRICT_SOURCE_ROUTE: u64 = 137;
/// Octets of options at most: each step passes one or more.
const STEPS: u32 = 41;

/// What the walk found.
const MALFORMED: u64 = 0;
const CLEAN: u64 = 1;
const FOUND: u64 = 2;

/// Looks through the `length` octets of options at `offset`.
#[inline(always)]
pub(super) fn check<W: World>(
    packet: &impl Packet,
    scratch: &Scratch,
    world: W,
    offset: u32,
    length: u32,
) -> Result<(), HeaderError> {
    scratch.header_result.set(MALFORMED);
    if packet.copy(offset, length, scratch) {
        scratch.position.set(0);
        scratch.headers_end.set(u64::from(length));
        walk::<Option, W>(scratch, world, STEPS);
    }
    let result = scratch.header_result.get();
    match result {
        CLEAN => Ok(()),
        FOUND => Err(HeaderError::SourceRoute),
        _ => Err(HeaderError::Malformed),
    }
}

/// Kind of the TCP options of Multipath TCP (RFC 8684 section 3).
pub const MULTIPATH: u64 = 30;

/// Whether the `length` octets of TCP options at `offset` have one of this kind, or cannot be read.
#[inline(always)]
pub fn has_tcp_option<W: World>(
    packet: &impl Packet,
    scratch: &Scratch,
    world: W,
    offset: u32,
    length: u32,
    kind: u64,
) -> bool {
    scratch.header_result.set(MALFORMED);
    scratch.option_kind.set(kind);
    if packet.copy(offset, length, scratch) {
        scratch.position.set(0);
        scratch.headers_end.set(u64::from(length));
        walk::<TcpOption, W>(scratch, world, STEPS);
    }
    scratch.header_result.get() != CLEAN
}

struct TcpOption;

impl<W: World> Step<W> for TcpOption {
    #[inline(always)]
    fn step(scratch: &Scratch, _: W) -> bool {
        let wanted = scratch.option_kind.get();
        step(scratch, |kind| kind == wanted)
    }
}

struct Option;

impl<W: World> Step<W> for Option {
    #[inline(always)]
    fn step(scratch: &Scratch, _: W) -> bool {
        step(scratch, |kind| kind == LOOSE_SOURCE_ROUTE || kind == STRICT_SOURCE_ROUTE)
    }
}

/// Looks at the next option: true if it is the last one, one of those that are looked for, or none.
#[inline(always)]
fn step(scratch: &Scratch, is_found: impl Fn(u64) -> bool) -> bool {
    let (at, end) = (scratch.position.get(), scratch.headers_end.get());
    let kind = scratch.message.octet(at);
    if at == end || kind == END {
        scratch.header_result.set(CLEAN);
        return true;
    }
    if is_found(kind) {
        scratch.header_result.set(FOUND);
        return true;
    }
    let own = if kind == NO_OPERATION { 1 } else { scratch.message.octet(at + 1) };
    // An option's length counts its kind and itself, and stays inside the header.
    if (kind != NO_OPERATION && own < 2) || at + own > end {
        return true;
    }
    scratch.position.set(at + own);
    false
}
