//! Learned addresses, and how userspace amends them.

use super::{RuleMask, V6, layout};

/// Value of `HOSTS4` and `HOSTS6`: rules and expiry of a learned address.
///
/// Programs on several CPUs refresh an element at once, and nothing may be taken from it at the
/// same time: [`Host::version`] sees to that. Whoever refreshes counts itself in and out, and
/// waits for nobody. Whoever takes away claims the element, which works only while nobody
/// refreshes it, and only if nobody has since it was looked at. Userspace does not write elements
/// itself, it has the kernel's program do so: see [`Amendment`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Host {
    /// From the lowest bit: 8 bits count who refreshes the element at this moment; 16 bits count
    /// its refreshes, and go over into the next ones; 39 bits are the time of its insertion, in
    /// units of 16.384 us; the highest bit says that it is claimed.
    pub version: u64,
    /// Rules of the names that led to the address.
    pub rules: RuleMask,
    /// When it is forgotten: CLOCK_BOOTTIME, nanoseconds.
    pub expires: u64,
}
layout!(Host, 40, u64, RuleMask, u64);

impl Host {
    /// One that refreshes, in [`Self::version`].
    pub const WRITER: u64 = 1;
    /// Mask of the refreshing writers, in [`Self::version`].
    pub const WRITERS: u64 = 0xff;
    /// One refresh, in [`Self::version`].
    pub const REFRESH: u64 = 1 << 8;
    /// The element is claimed, in [`Self::version`].
    pub const CLAIMED: u64 = 1 << 63;

    /// An element that is inserted at a time, CLOCK_BOOTTIME in nanoseconds. Its version is none
    /// that the memory has had for an address before.
    #[must_use]
    #[inline(always)]
    pub const fn new(rules: RuleMask, expires: u64, now: u64) -> Self {
        Self { version: Self::version_at(now), rules, expires }
    }

    /// The version of an element that was inserted at a time and not refreshed since.
    #[must_use]
    #[inline(always)]
    pub const fn version_at(now: u64) -> u64 {
        (now >> 14 << 24) & !Self::CLAIMED
    }

    /// Whether somebody refreshes it, or has claimed it.
    #[must_use]
    #[inline(always)]
    pub const fn is_busy(version: u64) -> bool {
        version & (Self::WRITERS | Self::CLAIMED) != 0
    }

    /// Whether one more may refresh it.
    #[must_use]
    #[inline(always)]
    pub const fn is_open(version: u64) -> bool {
        version & Self::CLAIMED == 0 && version & Self::WRITERS != Self::WRITERS
    }
}

/// What an [`Amendment`] is to do.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Adds `rules` to the address and prolongs it to `expires`, as an answer does.
    Refresh = 1,
    /// Takes all rules but `rules` away, and has it expire at `expires` at the latest.
    Narrow = 2,
    /// Removes it if it expires before `expires`.
    Remove = 3,
}

/// What came of an [`Amendment`].
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The update was done.
    Done = 1,
    /// The address is not known.
    Absent = 2,
    /// The element is not as expected: it was refreshed, or it expires later.
    Changed = 3,
    /// There is no room.
    Full = 4,
    /// The element is refreshed at this moment, or claimed.
    Busy = 5,
}

impl Outcome {
    /// The outcome with this number.
    #[must_use]
    pub const fn from_number(number: u32) -> Option<Self> {
        match number {
            1 => Some(Self::Done),
            2 => Some(Self::Absent),
            3 => Some(Self::Changed),
            4 => Some(Self::Full),
            5 => Some(Self::Busy),
            _ => None,
        }
    }
}

/// What userspace asks the program `amend` to do with one learned address: the frame of a test
/// run. The program returns an [`Outcome`]; of one that is done, `host` is what is there then, or
/// what was removed.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amendment {
    /// The address; IPv4 mapped.
    pub address: V6,
    /// [`Operation`].
    pub operation: u32,
    /// 4 for `HOSTS4`, 6 for `HOSTS6`.
    pub family: u32,
    /// To narrow: the version that it is to have, or 0 if any will do. Of one that was refreshed:
    /// the version that it had, or 0 if it was not there.
    pub expected: u64,
    /// Rules and time, as the operation says. Of one that was refreshed: its version afterwards,
    /// or 0 if others have refreshed it at the same time.
    pub host: Host,
}
layout!(Amendment, 72, V6, u32, u32, u64, Host);

#[cfg(test)]
mod tests {
    use super::Host;

    #[test]
    fn counting_in_and_out_counts_one_refresh() {
        let version = Host::version_at(123 << 14);
        assert!(Host::is_open(version) && !Host::is_busy(version));
        let counted_in = version + Host::WRITER;
        assert!(Host::is_open(counted_in) && Host::is_busy(counted_in));
        let out = counted_in + (Host::REFRESH - Host::WRITER);
        assert_eq!(out - version, Host::REFRESH);
        assert_eq!(version + 0x1_0000 * Host::REFRESH, Host::version_at(124 << 14));
        assert!(!Host::is_open(version | Host::CLAIMED));
        assert!(Host::is_busy(version | Host::CLAIMED));
        assert!(!Host::is_open(version | Host::WRITERS));
    }

    #[test]
    fn the_clock_never_claims_an_element() {
        assert_eq!(Host::version_at(u64::MAX) & (Host::CLAIMED | Host::WRITERS), 0);
    }
}
