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

/// How much later than this packet, at most, another CPU's packet came that was counted before it.
const SLACK: u64 = 1_000_000_000;

impl Limit {
    /// When the next one is due after one that begins now, if this one was due at `due`; 0 if that
    /// is too early. CLOCK_BOOTTIME in nanoseconds.
    #[inline(always)]
    pub const fn next_due(self, due: u64, now: u64) -> u64 {
        let Self { interval, window } = self;
        // What is due later than any can be in this policy was due in another one.
        if due <= now || due - now > window + SLACK {
            return now + interval;
        }
        if due - now + interval > window { 0 } else { due + interval }
    }
}

#[cfg(test)]
mod tests {
    use super::{Limit, SLACK};

    const WINDOW: u64 = 50;
    const LIMIT: Limit = Limit { interval: 10, window: WINDOW };

    /// How many of those pass that come at these times.
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
    fn an_older_time_of_another_cpu_takes_no_more_than_it_would_have() {
        let mut due = 0;
        let times = [1003, 1000, 1002, 1001, 1000, 1003, 1002];
        assert!(passed(&mut due, times.into_iter()) <= 5);
    }
}
