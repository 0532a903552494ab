//! Layouts of learned addresses, and of the updates that userspace makes to them.

use super::{RuleMask, V6, layout};

/// Value of `HOSTS4` and `HOSTS6`: rules and expiry of a learned address.
///
/// Programs on several CPUs may refresh an element at the same time, but nothing may be taken from
/// an element meanwhile; [`Host::version`] keeps the two apart. A program that refreshes an element
/// counts itself in and out, and never waits. A program that takes rules or time away claims the
/// element; the claim succeeds only if no refresh is in progress and none has happened since the
/// element was read. Userspace does not write elements: the kernel's program does so for it, see
/// [`HostUpdate`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Host {
    /// Version, from the lowest bit: 8 bits count the refreshes in progress; 16 bits count the
    /// refreshes done, and carry into the next bits; 39 bits are the time of insertion, in units of
    /// 16.384 us; the highest bit says that the element is claimed.
    pub version: u64,
    /// Rules of the names that led to the address.
    pub rules: RuleMask,
    /// When it is forgotten: CLOCK_BOOTTIME, nanoseconds.
    pub expires: u64,
    /// Client that has asked for it, and the first rule that it was learned for:
    /// [`super::host_owner`].
    pub owner: u64,
}
layout!(Host, 48, u64, RuleMask, u64, u64);

impl Host {
    /// One refresh in progress, in [`Self::version`].
    pub const WRITER: u64 = 1;
    /// Mask of the refreshes in progress, in [`Self::version`].
    pub const WRITERS: u64 = 0xff;
    /// One refresh done, in [`Self::version`].
    pub const REFRESH: u64 = 1 << 8;
    /// Claim on the element, in [`Self::version`].
    pub const CLAIMED: u64 = 1 << 63;

    /// Returns an element inserted at `now`, CLOCK_BOOTTIME in nanoseconds. Its version differs
    /// from every version that the memory had for an address before.
    #[must_use]
    #[inline(always)]
    pub const fn new(rules: RuleMask, expires: u64, now: u64, owner: u64) -> Self {
        Self { version: Self::version_at(now), rules, expires, owner }
    }

    /// Returns the version of an element inserted at `now` and not refreshed since.
    #[must_use]
    #[inline(always)]
    pub const fn version_at(now: u64) -> u64 {
        (now >> 14 << 24) & !Self::CLAIMED
    }

    /// Whether the element is being refreshed or is claimed.
    #[must_use]
    #[inline(always)]
    pub const fn is_busy(version: u64) -> bool {
        version & (Self::WRITERS | Self::CLAIMED) != 0
    }

    /// Whether one more refresh may begin.
    #[must_use]
    #[inline(always)]
    pub const fn is_open(version: u64) -> bool {
        version & Self::CLAIMED == 0 && version & Self::WRITERS != Self::WRITERS
    }
}

/// Operation of an [`HostUpdate`].
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Adds `rules` to the address and extends its life to `expires`, as an answer does.
    Refresh = 1,
    /// Takes all rules except `rules` away, and lets the address expire at `expires` at the latest.
    Restrict = 2,
    /// Removes the address if it expires before `expires`.
    Remove = 3,
}

/// Result of an [`HostUpdate`].
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpdateStatus {
    /// The update was done.
    Done = 1,
    /// The address is not known.
    Absent = 2,
    /// The element is not as expected: its version differs, or it expires later.
    Changed = 3,
    /// The map is full, or crowded and the owner has its share of it.
    Full = 4,
    /// The element is being refreshed or is claimed.
    Busy = 5,
}

impl UpdateStatus {
    /// Returns the outcome with this number; `None` if there is none.
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

/// Request of userspace to the program `amend`, about one learned address: the frame of a test run.
/// The program returns an [`UpdateStatus`], and writes `expected` and `host` back.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HostUpdate {
    /// Address; IPv4 mapped.
    pub address: V6,
    /// [`Operation`].
    pub operation: u32,
    /// 4 for `HOSTS4`, 6 for `HOSTS6`.
    pub family: u32,
    /// For [`Operation::Restrict`], the version that the element must have, or 0 for any. After
    /// [`Operation::Refresh`], the version that the element had before, or 0 if the address was not
    /// known.
    pub expected: u64,
    /// Rules and time, as the operation says. After [`Operation::Restrict`], the element as it is
    /// now. After [`Operation::Refresh`], `version` is the element's version, or 0 if others have
    /// refreshed the element at the same time.
    pub host: Host,
}
layout!(HostUpdate, 80, V6, u32, u32, u64, Host);

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
