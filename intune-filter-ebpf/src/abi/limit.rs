//! Map for limits per client: what a source may begin in a time.

use super::{V6, layout};

/// Index in [`Limits::due`]: DNS queries that are remembered.
pub const LIMIT_QUERIES: usize = 0;
/// Index in [`Limits::due`]: TCP connections to resolvers.
pub const LIMIT_STREAMS: usize = 1;
/// Index in [`Limits::due`]: flows that the client opens.
pub const LIMIT_FLOWS: usize = 2;
/// Index in [`Limits::due`]: flows that are opened to the client (`inbound: allow`).
pub const LIMIT_INBOUND: usize = 3;

/// [`LimitKey::bits`] of an address.
pub const LIMIT_ADDRESS: u32 = 128;
/// [`LimitKey::bits`] of the network that an IPv6 host takes its addresses from (RFC 4291 section
/// 2.5.4).
pub const LIMIT_SUBNET: u32 = 64;
/// How many times as much as one address such a network may begin in all.
pub const LIMIT_SUBNET_CLIENTS: u64 = 64;

/// Key of `CLIENT_LIMITS`: a source in a zone, or the network that it is in.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct LimitKey {
    /// The client's zone.
    pub zone: u32,
    /// [`LIMIT_ADDRESS`] or [`LIMIT_SUBNET`].
    pub bits: u32,
    /// The address; IPv4 mapped.
    pub address: V6,
}
layout!(LimitKey, 24, u32, u32, V6);

/// Value of `CLIENT_LIMITS`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// When the next one of each kind is due, if they came at the rate that is allowed:
    /// CLOCK_BOOTTIME, nanoseconds. What is due in the future was begun in advance.
    pub due: [u64; 4],
}
layout!(Limits, 32, [u64; 4]);

/// A rate, and how much may be begun in advance.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limit {
    /// Nanoseconds from one to the next; 0 is no limit.
    pub interval: u64,
    /// Nanoseconds that those take which may be begun at once.
    pub window: u64,
}
layout!(Limit, 16, u64, u64);
