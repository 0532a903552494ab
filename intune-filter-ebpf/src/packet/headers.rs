//! Headers of the packet at hand, and state of the loops over them.

use core::cell::UnsafeCell;

use super::Datagram;
use crate::{
    abi::{V4, V6},
    memory::{Message, VolatileU64},
};

/// Parsed headers. In memory rather than on the stack, of which the kernel's programs have 512
/// octets in all.
#[repr(C)]
#[derive(Debug)]
pub struct Headers {
    /// Headers of an IPv4 packet.
    pub datagram4: UnsafeCell<Datagram<V4>>,
    /// Headers of an IPv6 packet.
    pub datagram6: UnsafeCell<Datagram<V6>>,
    /// Source address; IPv4 mapped.
    pub source: UnsafeCell<V6>,
    /// Destination address; IPv4 mapped.
    pub destination: UnsafeCell<V6>,
    /// 1 once the headers are this packet's and not another one's.
    pub parsed: VolatileU64,
    /// Walk over options or extension headers: offset of the next one.
    pub position: VolatileU64,
    /// Walk over options or extension headers: offset at which they end.
    pub end: VolatileU64,
    /// Walk over extension headers: protocol number of the next one.
    pub protocol: VolatileU64,
    /// Walk over extension headers: number of those passed.
    pub count: VolatileU64,
    /// Offset and "more fragments" of a fragment header.
    pub fragment_field: VolatileU64,
    /// Identification in the fragment header, network byte order.
    pub fragment_id: VolatileU64,
    /// Offset of the data behind the fragment header.
    pub fragment_start: VolatileU64,
    /// Walk over TCP options: kind that is looked for.
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
