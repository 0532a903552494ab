//! Layouts of rate limits: those of sources, and one that sources without a bucket share in a zone.

use super::{V6, layout};
use crate::bytes::mix;

/// Index in [`Limits::due`]: DNS queries that are remembered.
pub const LIMIT_QUERIES: usize = 0;
/// Index in [`Limits::due`]: TCP connections to resolvers.
pub const LIMIT_STREAMS: usize = 1;
/// Index in [`Limits::due`]: flows that the client opens.
pub const LIMIT_FLOWS: usize = 2;
/// Index in [`Limits::due`]: flows that are opened to the client (`inbound: allow`).
pub const LIMIT_INBOUND: usize = 3;
/// Index in [`Limits::due`]: datagrams that the client sends in fragments.
pub const LIMIT_FRAGMENTS: usize = 4;
/// Index in [`Limits::due`]: datagrams that are sent to the client in fragments.
pub const LIMIT_INBOUND_FRAGMENTS: usize = 5;
/// Index in [`Limits::due`] of an address's bucket: the time until which its sender counts as proven
/// without another lookup.
pub const LIMIT_PROVEN: usize = 6;
/// As [`LIMIT_PROVEN`], of a sender behind a router.
pub const LIMIT_ROUTED: usize = 7;
/// Index in [`Limits::due`] of any other bucket than an address's: denied queries that are told of with
/// their names.
pub const LIMIT_TOLD_QUERIES: usize = LIMIT_PROVEN;
/// As [`LIMIT_TOLD_QUERIES`], other denials.
pub const LIMIT_TOLD_DENIALS: usize = LIMIT_ROUTED;
/// Kinds of denials of one client that are told of in a second, and at once, however many others are
/// denied.
pub const LIMIT_TOLD: Limit = Limit { interval: 1_000_000_000 / 20, window: 1_000_000_000 };
/// Nanoseconds for which a lookup counts: a quarter of a second. A bucket stays its owner's as long.
pub const PROVEN_FOR: u64 = 1 << 28;
/// Elements of [`Limits::due`].
pub const LIMIT_KINDS: usize = 8;

/// [`LimitKey::bits`] of a bucket that a zone's link-local sources share with those whose sender is not
/// proven, and those for which no bucket is free.
pub const LIMIT_ZONE: u32 = 0;
/// Buckets of a zone, among which its senders are spread by a hash of their hardware addresses.
pub const LIMIT_SHARES: u32 = 8;

/// [`LimitKey::bits`] of an address.
pub const LIMIT_ADDRESS: u32 = 128;
/// [`LimitKey::bits`] of a hardware address, whatever its sources.
pub const LIMIT_MAC: u32 = 48;
/// [`LimitKey::bits`] of the network that an IPv6 host takes its addresses from (RFC 4291 section
/// 2.5.4).
pub const LIMIT_SUBNET: u32 = 64;
/// Size of the bucket of such a network, in buckets of one address.
pub const LIMIT_SUBNET_CLIENTS: u64 = 64;

/// Key of a bucket: a source in a zone with its sender's hardware address, the network of the source,
/// the hardware address alone, or one of the zone's own.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct LimitKey {
    /// Zone of the client; for [`LIMIT_ZONE`], the index in `ZONE_LIMITS`.
    pub zone: u32,
    /// [`LIMIT_ADDRESS`], [`LIMIT_SUBNET`], [`LIMIT_MAC`] or [`LIMIT_ZONE`].
    pub bits: u32,
    /// Address of the source or network, IPv4 mapped; unspecified for [`LIMIT_MAC`] and
    /// [`LIMIT_ZONE`].
    pub address: V6,
    /// Hardware address of the sender, the first octet lowest in memory; 0 for [`LIMIT_ZONE`] and for
    /// what is sent to a client.
    pub mac: u64,
}
layout!(LimitKey, 32, u32, u32, V6, u64);

impl LimitKey {
    /// Returns the word that stands for the key in [`LimitSet::owners`]: a hash keyed by a secret
    /// seed.
    ///
    /// The address is mixed in both orders: two addresses that collide in one order do not collide
    /// in the other.
    #[inline(always)]
    #[must_use]
    pub const fn owner(&self, seed: u64) -> u64 {
        let V6([a, b, c, d]) = self.address;
        let network = pair(a, b);
        let host = pair(c, d);
        let start = mix(mix(seed, pair(self.zone, self.bits)), self.mac);
        let (one, other) = (mix(mix(start, network), host), mix(mix(!start, host), network));
        mix(one, other)
    }
}

#[inline(always)]
const fn pair(low: u32, high: u32) -> u64 {
    low as u64 | (high as u64) << 32
}

/// Element of `ZONE_LIMITS`, by zone and share, and part of an element of `CLIENT_LIMITS`: one bucket for
/// each kind of limit.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Times at which the next token of each kind is due at the allowed rate: CLOCK_BOOTTIME,
    /// nanoseconds. A time in the future tells how much was begun in advance.
    pub due: [u64; LIMIT_KINDS],
}
layout!(Limits, 64, [u64; LIMIT_KINDS]);

impl Limits {
    /// Returns a word whose highest bit says that a due time carries no information: it is not in
    /// the future, or beyond all times that are due within `horizon` nanoseconds. Computed without
    /// a branch, for the verifier's sake.
    #[inline(always)]
    #[must_use]
    pub const fn spent(due: u64, now: u64, horizon: u64) -> u64 {
        let ahead = due.wrapping_sub(now).wrapping_sub(1);
        ahead | horizon.wrapping_sub(ahead)
    }
}

/// Buckets in a [`LimitSet`].
pub const LIMIT_WAYS: usize = 4;

/// Element of `CLIENT_LIMITS`: buckets of clients whose [`LimitKey::owner`] leads to this element.
///
/// A bucket belongs to its owner until it is full again; a full bucket carries no information, and
/// is free for any client. A client can therefore not reset another's bucket, whatever sources it
/// makes up. A client that finds no free bucket shares one of its zone.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LimitSet {
    /// Owner of each bucket: [`LimitKey::owner`].
    pub owners: [u64; LIMIT_WAYS],
    /// State of each bucket.
    pub limits: [Limits; LIMIT_WAYS],
}
layout!(LimitSet, 288, [u64; LIMIT_WAYS], [Limits; LIMIT_WAYS]);

/// Returns the number of elements of `CLIENT_LIMITS` for `clients` clients: a power of two.
#[must_use]
pub const fn limit_sets(clients: u32) -> u32 {
    clients.div_ceil(LIMIT_WAYS as u32).next_power_of_two()
}

/// Request for a token of a client's bucket.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taking {
    /// Key of the bucket.
    pub key: LimitKey,
    /// Kind of the token, such as [`LIMIT_FLOWS`].
    pub kind: u64,
    /// Nanoseconds between two tokens, as in [`Limit::interval`].
    pub interval: u64,
    /// Nanoseconds that may be taken in advance, as in [`Limit::window`].
    pub window: u64,
    /// CLOCK_BOOTTIME, nanoseconds.
    pub now: u64,
    /// Nanoseconds from now within which every valid due time lies.
    pub horizon: u64,
    /// Number of elements of `CLIENT_LIMITS`, a power of two.
    pub sets: u64,
}
layout!(Taking, 80, LimitKey, u64, u64, u64, u64, u64, u64);

impl Taking {
    /// Returns which of a bucket's due times of [`LIMIT_PROVEN`] and [`LIMIT_ROUTED`] counts now, by its
    /// index; 0 if neither does.
    #[inline(always)]
    #[must_use]
    pub const fn proof(&self, proven: u64, routed: u64) -> usize {
        if proven.wrapping_sub(self.now).wrapping_sub(1) < PROVEN_FOR {
            return LIMIT_PROVEN;
        }
        if routed.wrapping_sub(self.now).wrapping_sub(1) < PROVEN_FOR { LIMIT_ROUTED } else { 0 }
    }
}

/// Rate, and the burst that may be begun in advance.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limit {
    /// Nanoseconds between two tokens; 0 for no limit.
    pub interval: u64,
    /// Nanoseconds, at the allowed rate, of the burst that may be begun at once.
    pub window: u64,
}
layout!(Limit, 16, u64, u64);

/// Greatest time, in nanoseconds, by which a packet counted earlier on another CPU may be later
/// than this packet.
pub(crate) const SLACK: u64 = 1_000_000_000;

impl Limit {
    /// Returns the due time of the next token if the token due at `due` is taken at `now`; 0 if it
    /// is too early to take one. CLOCK_BOOTTIME, nanoseconds.
    #[inline(always)]
    pub const fn next_due(self, due: u64, now: u64) -> u64 {
        let Self { interval, window } = self;
        // A due time beyond all that this policy can set comes from another policy.
        if due <= now || due - now > window + SLACK {
            return now + interval;
        }
        if due - now + interval > window { 0 } else { due + interval }
    }
}

#[cfg(test)]
mod tests {
    use super::{LIMIT_ADDRESS, Limit, LimitKey, Limits, SLACK, V6, limit_sets};

    const WINDOW: u64 = 50;
    const LIMIT: Limit = Limit { interval: 10, window: WINDOW };

    /// Returns how many of the events at these times pass.
    fn passed(due: &mut u64, times: impl Iterator<Item = u64>) -> usize {
        times
            .filter(|now| {
                let next = LIMIT.next_due(*due, *now);
                if next != 0 {
                    *due = next;
                }
                next != 0
            })
            .count()
    }

    #[test]
    fn as_many_at_once_as_the_window_holds_and_then_one_each_interval() {
        let mut due = 0;
        assert_eq!(passed(&mut due, std::iter::repeat_n(1000, 100)), 5);
        assert_eq!(passed(&mut due, 1000..1010), 0);
        assert_eq!(passed(&mut due, 1010..2010), 100);
        // After a rest as many at once again.
        assert_eq!(passed(&mut due, std::iter::repeat_n(5000, 100)), 5);
    }

    #[test]
    fn what_another_policy_made_due_much_later_does_not_count() {
        let mut due = 1000 + WINDOW + SLACK + 1;
        assert_eq!(passed(&mut due, std::iter::repeat_n(1000, 100)), 5);
        let mut due = 1000 + WINDOW + SLACK;
        assert_eq!(passed(&mut due, std::iter::repeat_n(1000, 100)), 0);
    }

    #[test]
    fn a_bucket_says_nothing_once_it_is_full_again() {
        let spent = |due| Limits::spent(due, 1000, WINDOW + SLACK) >> 63 != 0;
        assert!(spent(0) && spent(999) && spent(1000));
        assert!(!spent(1001) && !spent(1000 + WINDOW) && !spent(1000 + WINDOW + SLACK));
        assert!(spent(1002 + WINDOW + SLACK) && spent(u64::MAX >> 1));
    }

    #[test]
    fn owners_differ_by_each_part_of_the_key() {
        let key = |zone, bits, address| LimitKey { zone, bits, address: V6(address), mac: 5 };
        let owner = key(1, LIMIT_ADDRESS, [1, 2, 3, 4]).owner(7);
        assert_eq!(owner, key(1, LIMIT_ADDRESS, [1, 2, 3, 4]).owner(7));
        for other in [
            key(2, LIMIT_ADDRESS, [1, 2, 3, 4]).owner(7),
            key(1, 64, [1, 2, 3, 4]).owner(7),
            key(1, LIMIT_ADDRESS, [1, 2, 3, 5]).owner(7),
            key(1, LIMIT_ADDRESS, [3, 4, 1, 2]).owner(7),
            key(1, LIMIT_ADDRESS, [1, 2, 3, 4]).owner(8),
            LimitKey { mac: 6, ..key(1, LIMIT_ADDRESS, [1, 2, 3, 4]) }.owner(7),
        ] {
            assert_ne!(owner, other);
        }
        // Bits that the multiplication leaves alone, and a word that would cancel them.
        let word = |top: u32, low: u32| key(1, LIMIT_ADDRESS, [1, 2 ^ top, 3 ^ low, 4 ^ top]);
        assert_ne!(owner, word(1 << 31, 1 << 31).owner(7));
        assert_ne!(owner, word(1 << 31, 0).owner(7));
    }

    #[test]
    fn sets_are_a_power_of_two_and_have_room_for_all() {
        assert_eq!((limit_sets(256), limit_sets(257), limit_sets(1 << 14)), (64, 128, 1 << 12));
    }

    #[test]
    fn an_older_time_of_another_cpu_takes_no_more_than_it_would_have() {
        let mut due = 0;
        let times = [1003, 1000, 1002, 1001, 1000, 1003, 1002];
        assert!(passed(&mut due, times.into_iter()) <= 5);
    }
}
