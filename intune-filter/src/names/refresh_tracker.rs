//! Tracks the refreshes of learned addresses that userspace knows of, so that no rule is taken from
//! an address on incomplete knowledge.
//!
//! The kernel counts each refresh of an address in its version, and the tracker counts those that
//! userspace was told of. While both agree, every name that the address was learned from is in the
//! table of names, and rules that none of these names backs can go. If they differ, records were
//! lost or never read: the address then keeps its rules until it expires, and counting starts anew
//! from the kernel's version.

use std::{
    collections::{BTreeSet, HashMap},
    net::IpAddr,
};

use intune_filter_ebpf::abi::{Host, RuleMask};

/// Refreshes of one address that userspace knows of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Tracked {
    /// Version of the address if userspace knows of every refresh. Never ahead of the kernel's
    /// version, since a report follows its refresh.
    version: u64,
    /// Time up to which answers are counted already, in nanoseconds of CLOCK_BOOTTIME.
    since: u64,
    /// Rules that answers may have given which userspace does not know.
    rules: RuleMask,
    /// When the last of these expires at the latest; CLOCK_BOOTTIME, nanoseconds.
    until: u64,
}

/// Change that a learned address in the kernel needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// No change: the address has nothing beyond its due.
    Leave,
    /// Restriction of the address to these rules and to an expiry.
    Restrict {
        /// The rules.
        rules: RuleMask,
        /// CLOCK_BOOTTIME, nanoseconds.
        until: u64,
    },
    /// A new start of the count, since an answer that refreshed the address is unknown to
    /// userspace: see [`RefreshTracker::resync`].
    Resync,
}

/// Refreshes that userspace knows of, by address.
#[derive(Debug, Default)]
pub struct RefreshTracker {
    by_address: HashMap<IpAddr, Tracked>,
    /// Addresses that may have to lose rules or time.
    due: BTreeSet<IpAddr>,
    /// Number of addresses after the last [`Self::retain`].
    retained: usize,
}

/// Number of addresses that are kept without asking the kernel.
const RETAINED_MIN: usize = 4096;

impl RefreshTracker {
    /// Records an answer at `time` that refreshed or inserted an address `times` over.
    pub fn observed(&mut self, address: IpAddr, time: u64, times: u64) {
        let more = times.wrapping_mul(Host::REFRESH);
        self.by_address
            .entry(address)
            .and_modify(|tracked| {
                if time > tracked.since {
                    tracked.version = tracked.version.wrapping_add(more);
                }
            })
            .or_insert_with(|| {
                // The kernel inserts an address with this version. If it was there before, the
                // versions differ.
                let version = Host::version_at(time).wrapping_add(more);
                let version = version.wrapping_sub(Host::REFRESH);
                Tracked { version, ..Tracked::default() }
            });
    }

    /// Records a refresh by userspace itself at `now`, with the versions before and after; 0 stands
    /// for no version, or an unknown one.
    pub fn refreshed(&mut self, address: IpAddr, (before, after): (u64, u64), now: u64) {
        if after == 0 {
            return;
        }
        if before == 0 {
            let tracked = Tracked { version: after, since: now, ..Tracked::default() };
            self.by_address.insert(address, tracked);
        } else if let Some(tracked) = self.by_address.get_mut(&address)
            && tracked.version == before
        {
            tracked.version = after;
        }
    }

    /// Marks an address that may have to lose rules or time.
    pub fn suspect(&mut self, address: IpAddr) {
        self.due.insert(address);
    }

    /// Something may have to be taken away from an address that the kernel has as `host`, if it has
    /// rules that neither its names back nor an answer which userspace is known to have
    /// overlooked: nobody would look at it as long as other names prolong it.
    pub fn examine(&mut self, address: IpAddr, host: &Host, backed: RuleMask, now: u64) {
        let tracked = self.by_address.get(&address).filter(|tracked| tracked.until > now);
        let known = backed | tracked.map_or(RuleMask::EMPTY, |tracked| tracked.rules);
        if host.expires > now && !(host.rules & !known).is_empty() {
            self.suspect(address);
        }
    }

    /// Marks the count of an address as incomplete.
    pub fn distrust(&mut self, address: IpAddr) {
        if let Some(tracked) = self.by_address.get_mut(&address) {
            tracked.version = 0;
        }
    }

    /// Returns the addresses that may have to lose rules or time, `most` at most.
    pub fn due(&self, most: usize) -> Vec<IpAddr> {
        self.due.iter().copied().take(most).collect()
    }

    /// Drops rules of unknown origin that have expired, and marks their addresses.
    pub fn expire(&mut self, now: u64) {
        for (address, tracked) in &mut self.by_address {
            if !tracked.rules.is_empty() && tracked.until <= now {
                tracked.rules = RuleMask::EMPTY;
                self.due.insert(*address);
            }
        }
    }

    /// Decides about an address, `host` in the kernel, whose names back rules until a time.
    ///
    /// Userspace must have read every report up to the moment when `host` was read.
    #[must_use]
    pub fn decide(
        &self,
        address: IpAddr,
        host: &Host,
        (rules, until): (RuleMask, u64),
        now: u64,
    ) -> Decision {
        let Some(tracked) = self.by_address.get(&address) else { return Decision::Resync };
        if tracked.version != host.version {
            return Decision::Resync;
        }
        let unknown = !tracked.rules.is_empty() && tracked.until > now;
        let (rules, until) = if unknown {
            (rules | tracked.rules, until.max(tracked.until))
        } else if rules.is_empty() {
            // It keeps its rules until it is removed: so long it is told of as expired.
            (RuleMask::ALL, now)
        } else {
            (rules, until)
        };
        if (host.rules & !rules).is_empty() && host.expires <= until {
            Decision::Leave
        } else {
            Decision::Restrict { rules, until }
        }
    }

    /// Restarts the count of an address at the kernel's version, whatever answers led to it; from
    /// `now` on every refresh of it is known.
    ///
    /// Every program that was refreshing the address at this version must have ended, and the
    /// reports of those programs must have been read.
    pub fn resync(&mut self, address: IpAddr, host: &Host, now: u64) {
        let Host { version, rules, expires, .. } = *host;
        let tracked = Tracked { version, since: now, rules, until: expires };
        self.by_address.insert(address, tracked);
        self.due.remove(&address);
    }

    /// Clears the mark of an address.
    pub fn done(&mut self, address: IpAddr) {
        self.due.remove(&address);
    }

    /// Forgets rules that no address has any more.
    pub fn forget_rules(&mut self, mask: RuleMask) {
        for tracked in self.by_address.values_mut() {
            tracked.rules &= !mask;
        }
    }

    /// Forgets an address that the kernel's table has not.
    pub fn forget(&mut self, address: IpAddr) {
        self.by_address.remove(&address);
        self.due.remove(&address);
    }

    /// Whether the tracker has grown enough that a [retain](Self::retain) against the kernel's
    /// table pays.
    #[must_use]
    pub fn is_crowded(&self) -> bool {
        self.by_address.len() > 2 * self.retained + RETAINED_MIN
    }

    /// Keeps the addresses that `keep` accepts, and forgets all others.
    pub fn retain(&mut self, keep: impl Fn(&IpAddr) -> bool) {
        self.by_address.retain(|address, _| keep(address));
        self.retained = self.by_address.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1 << 40;
    const SECOND: u64 = 1_000_000_000;

    fn address() -> IpAddr {
        "192.0.2.1".parse().unwrap()
    }

    /// The rules of four bits, one or two in each word of a mask.
    fn rules(bits: u8) -> RuleMask {
        let bit = |(number, rule)| (bits >> number & 1 == 1).then_some(rule);
        [3, 70, 140, 191].into_iter().enumerate().filter_map(bit).collect()
    }

    fn host(refreshes: u64, bits: u8, expires: u64) -> Host {
        let version = Host::version_at(NOW) + refreshes * Host::REFRESH;
        Host { version, rules: rules(bits), expires, owner: 0 }
    }

    #[test]
    fn what_no_name_backs_goes_once_every_answer_is_known() {
        let mut tracker = RefreshTracker::default();
        tracker.observed(address(), NOW, 1);
        tracker.observed(address(), NOW + SECOND, 2);
        let decide = |refreshes, bits, expires, (backed, until)| {
            let backed = (rules(backed), until);
            tracker.decide(address(), &host(refreshes, bits, expires), backed, NOW)
        };
        let narrow = Decision::Restrict { rules: rules(1), until: NOW + 50 };
        assert_eq!(decide(2, 3, NOW + 90, (1, NOW + 50)), narrow);
        assert_eq!(decide(2, 1, NOW + 90, (1, NOW + 50)), narrow);
        assert_eq!(decide(2, 1, NOW + 50, (1, NOW + 50)), Decision::Leave);
        assert_eq!(decide(2, 1, NOW + 90, (3, NOW + 90)), Decision::Leave);
        let expired = Decision::Restrict { rules: RuleMask::ALL, until: NOW };
        assert_eq!(decide(2, 3, NOW + 90, (0, 0)), expired, "without names it has expired");
        for refreshes in [0, 1, 3] {
            assert_eq!(decide(refreshes, 3, NOW + 90, (1, NOW + 50)), Decision::Resync);
        }
    }

    #[test]
    fn what_was_overlooked_stays_until_it_expires_by_itself() {
        let mut tracker = RefreshTracker::default();
        tracker.suspect(address());
        let lost = host(7, 6, NOW + 100);
        assert_eq!(tracker.decide(address(), &lost, (rules(1), NOW + 50), NOW), Decision::Resync);
        tracker.resync(address(), &lost, NOW);
        assert!(tracker.due(9).is_empty());
        let more = host(8, 15, NOW + 200);
        tracker.observed(address(), NOW, 1);
        assert_eq!(tracker.decide(address(), &more, (rules(1), NOW + 50), NOW), Decision::Resync);
        tracker.observed(address(), NOW + 10, 1);
        assert_eq!(
            tracker.decide(address(), &more, (rules(1), NOW + 50), NOW),
            Decision::Restrict { rules: rules(7), until: NOW + 100 }
        );
        tracker.expire(NOW + 99);
        assert!(tracker.due(9).is_empty());
        tracker.expire(NOW + 100);
        assert_eq!(tracker.due(9), [address()]);
        assert_eq!(
            tracker.decide(address(), &more, (rules(1), NOW + 150), NOW + 100),
            Decision::Restrict { rules: rules(1), until: NOW + 150 }
        );
    }

    #[test]
    fn rules_that_nothing_backs_are_looked_at_though_others_live() {
        let mut tracker = RefreshTracker::default();
        for (bits, expires, backed, is_due) in [
            (1, NOW + 50, 1, false),
            (3, NOW + 50, 1, true),
            (3, NOW, 1, false),
            (3, NOW + 50, 3, false),
        ] {
            tracker.examine(address(), &host(1, bits, expires), rules(backed), NOW);
            assert_eq!(tracker.due(9).len(), usize::from(is_due), "{bits} {expires} {backed}");
            tracker.done(address());
        }
        tracker.resync(address(), &host(1, 3, NOW + 50), NOW);
        tracker.examine(address(), &host(2, 3, NOW + 90), rules(1), NOW + 49);
        assert!(tracker.due(9).is_empty(), "it is known until when that may be");
        tracker.examine(address(), &host(2, 3, NOW + 90), rules(1), NOW + 50);
        assert_eq!(tracker.due(9), [address()]);
    }

    #[test]
    fn a_refresh_of_ones_own_is_known_if_all_before_it_was() {
        let mut tracker = RefreshTracker::default();
        let version = |refreshes| host(refreshes, 0, 0).version;
        tracker.refreshed(address(), (0, version(0)), NOW);
        tracker.refreshed(address(), (version(0), version(1)), NOW);
        let backed = (rules(1), NOW + 50);
        let left = |tracker: &RefreshTracker, refreshes| {
            tracker.decide(address(), &host(refreshes, 1, NOW + 50), backed, NOW)
        };
        assert_eq!(left(&tracker, 1), Decision::Leave);
        tracker.refreshed(address(), (version(2), version(3)), NOW);
        assert_eq!(left(&tracker, 3), Decision::Resync, "another refresh came before");
        tracker.refreshed(address(), (version(1), 0), NOW);
        assert_eq!(left(&tracker, 3), Decision::Resync, "or at the same time");
    }

    #[test]
    fn addresses_that_the_kernel_has_not_are_not_kept_for_ever() {
        let mut tracker = RefreshTracker::default();
        let address = |number: u32| IpAddr::from(number.to_be_bytes());
        for number in 0..=RETAINED_MIN as u32 {
            assert!(!tracker.is_crowded());
            tracker.observed(address(number), NOW, 1);
        }
        assert!(tracker.is_crowded());
        tracker.retain(|one| *one == address(7));
        assert!(!tracker.is_crowded());
        let version = Host::version_at(NOW);
        let host = Host { version, rules: rules(1), expires: NOW + 50, owner: 0 };
        assert_eq!(tracker.decide(address(7), &host, (rules(1), NOW + 50), NOW), Decision::Leave);
        assert_eq!(tracker.decide(address(8), &host, (rules(1), NOW + 50), NOW), Decision::Resync);
    }

    #[test]
    fn an_address_whose_names_were_shed_is_not_trusted() {
        let mut tracker = RefreshTracker::default();
        tracker.observed(address(), NOW, 1);
        tracker.distrust(address());
        let decision = tracker.decide(address(), &host(0, 1, NOW + 50), (rules(0), 0), NOW);
        assert_eq!(decision, Decision::Resync);
    }
}
