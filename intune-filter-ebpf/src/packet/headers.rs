//! Headers of the packet at hand, and the state of the loops over them.

use core::cell::UnsafeCell;

use super::Datagram;
use crate::{
    abi::{V4, V6},
    memory::{Message, VolatileU64},
};

/// Parsed headers, which are in memory and not on the stack: of that the kernel's programs have 512
/// octets in all.
#[repr(C)]
#[derive(Debug)]
pub struct Headers {
    /// Headers of an IPv4 packet.
    pub datagram4: UnsafeCell<Datagram<V4>>,
    /// Headers of an IPv6 packet.
    pub datagram6: UnsafeCell<Datagram<V6>>,
    /// Its source; IPv4 mapped.
    pub source: UnsafeCell<V6>,
    /// Its destination; IPv4 mapped.
    pub destination: UnsafeCell<V6>,
    /// 1 once its headers are here and not another packet's.
    pub parsed: VolatileU64,
    /// State of a walk over options or extension headers: where the next one begins.
    pub position: VolatileU64,
    /// State of the walk over options or extension headers: where they end.
    pub end: VolatileU64,
    /// State of the walk over extension headers: the next one's protocol.
    pub protocol: VolatileU64,
    /// State of the walk over extension headers: how many were passed.
    pub count: VolatileU64,
    /// Offset and "more fragments" of a fragment header.
    pub fragment_field: VolatileU64,
    /// Its identification.
    pub fragment_id: VolatileU64,
    /// Where the data behind it begins.
    pub fragment_start: VolatileU64,
    /// State of the walk over TCP options: the kind that is looked for.
    pub option_kind: VolatileU64,
    /// Result of the walk, see [`crate::packet`].
    pub result: VolatileU64,
}

/// Context of a loop over options or extension headers.
#[derive(Clone, Copy)]
pub(super) struct HeaderWalk<'s> {
    /// State of the walk.
    pub(super) headers: &'s Headers,
    /// Octets of the options or headers.
    pub(super) message: &'s Message,
}
