//! IPv6 extension headers (RFC 8200 section 4).

use super::{Fragment, HeaderError, Packet, headers::HeaderWalk};
use crate::bpf_loop::{self, LoopBody};

/// Maximum number of extension headers; a longer chain is malformed.
const EXTENSIONS: u64 = 8;
const HOP_BY_HOP: u64 = 0;
const ROUTING: u64 = 43;
const FRAGMENT: u64 = 44;
const AUTHENTICATION: u64 = 51;
const DESTINATION_OPTIONS: u64 = 60;
const MOBILITY: u64 = 135;
const HIP: u64 = 139;
const SHIM6: u64 = 140;
/// Maximum length of a chain in octets; a longer chain is malformed.
const CHAIN_MAX: u32 = 1024;

/// Results of the walk.
const MALFORMED: u64 = 0;
const FOUND: u64 = 1;
const SOURCE_ROUTE: u64 = 2;

/// Position in a chain of extension headers.
#[derive(Clone, Copy)]
pub(super) struct Chain {
    /// Protocol number of the next header.
    pub(super) protocol: u8,
    /// Offset of the next header in the frame.
    pub(super) offset: u32,
    /// Octets of the datagram from the next header on.
    pub(super) length: u32,
    /// Part of its datagram that the packet is, by a fragment header that is not atomic (RFC 6946).
    pub(super) fragment: Fragment,
    /// Identification of the fragmented datagram, network byte order.
    pub(super) id: u32,
    /// Offset of the fragment's data in the fragmentable part of the datagram, in octets.
    pub(super) fragment_offset: u32,
    /// Offset of the fragment's data in this frame: `offset` of a later fragment.
    pub(super) fragment_start: u32,
}

/// Whether a protocol number is that of an extension header.
#[inline(always)]
pub(super) const fn is_extension(protocol: u8) -> bool {
    matches!(
        protocol as u64,
        HOP_BY_HOP
            | ROUTING
            | FRAGMENT
            | AUTHENTICATION
            | DESTINATION_OPTIONS
            | MOBILITY
            | HIP
            | SHIM6
    )
}

/// Follows a chain to the header behind it.
#[inline(always)]
pub(super) fn follow(
    packet: &impl Packet,
    walk: HeaderWalk<'_>,
    chain: Chain,
) -> Result<Chain, HeaderError> {
    walk.headers.result.set(MALFORMED);
    let length = chain.length.min(CHAIN_MAX);
    if packet.copy(chain.offset, length, walk.message) {
        walk.headers.position.set(0);
        walk.headers.end.set(u64::from(length));
        walk.headers.protocol.set(u64::from(chain.protocol));
        walk.headers.count.set(0);
        walk.headers.fragment_field.set(0);
        walk.headers.fragment_id.set(0);
        walk.headers.fragment_start.set(0);
        bpf_loop::run::<Extension, _>(walk, EXTENSIONS as u32 + 1);
    }
    let (result, passed) = (walk.headers.result.get(), walk.headers.position.get() as u32);
    let protocol = walk.headers.protocol.get() as u8;
    let field = walk.headers.fragment_field.get() as u32;
    match result {
        FOUND if passed <= chain.length => Ok(Chain {
            protocol,
            offset: chain.offset + passed,
            length: chain.length - passed,
            fragment: Fragment::of(field & 0xfff8, field & 1 != 0),
            id: walk.headers.fragment_id.get() as u32,
            fragment_offset: field & 0xfff8,
            fragment_start: chain.offset + walk.headers.fragment_start.get() as u32,
        }),
        SOURCE_ROUTE => Err(HeaderError::SourceRoute),
        _ => Err(HeaderError::Malformed),
    }
}

struct Extension;

impl LoopBody<HeaderWalk<'_>> for Extension {
    #[inline(always)]
    fn step(walk: HeaderWalk<'_>) -> bool {
        let (at, end) = (walk.headers.position.get(), walk.headers.end.get());
        let (protocol, count) = (walk.headers.protocol.get(), walk.headers.count.get());
        let later = walk.headers.fragment_field.get() & 0xfff8 != 0;
        // Behind the fragment header of a later fragment there is data.
        if later || !is_extension(protocol as u8) {
            walk.headers.result.set(FOUND);
            return true;
        }
        if protocol == ROUTING {
            walk.headers.result.set(SOURCE_ROUTE);
            return true;
        }
        // Hop-by-hop options come first or not at all (RFC 8200 section 4.1).
        if (protocol == HOP_BY_HOP && count > 0) || count >= EXTENSIONS || at + 8 > end {
            return true;
        }
        let message = walk.message;
        let length = message.octet(at + 1);
        let own = if protocol == FRAGMENT {
            8
        } else if protocol == AUTHENTICATION {
            (length + 2) * 4
        } else {
            (length + 1) * 8
        };
        if at + own > end {
            return true;
        }
        walk.headers.protocol.set(message.octet(at));
        walk.headers.count.set(count + 1);
        walk.headers.position.set(at + own);
        if protocol == FRAGMENT {
            // One fragment header at most: another would be a fragment of a fragment.
            if walk.headers.fragment_start.get() != 0 {
                return true;
            }
            walk.headers.fragment_field.set(message.be16(at + 2) & 0xfff9);
            walk.headers.fragment_id.set(u64::from(message.ne32(at + 4)));
            walk.headers.fragment_start.set(at + own);
        }
        false
    }
}
