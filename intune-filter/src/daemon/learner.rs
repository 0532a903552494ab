//! Keeps the table of names from what the kernel reports.

use std::{collections::BTreeSet, net::IpAddr};

use intune_filter_ebpf::abi::{AnswerEvent, Settings};

use super::events::{self, Event};
use crate::{
    names::{Names, answer},
    policy::Policy,
};

const SECOND: u64 = 1_000_000_000;

/// An address that the kernel has learned, or should have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lesson {
    /// The address.
    pub address: IpAddr,
    /// Rules of the name that led to it.
    pub rules: u64,
    /// When it is forgotten, in nanoseconds of CLOCK_BOOTTIME.
    pub expires: u64,
}

/// The table of names, and the policy that it is kept by.
pub struct Learner {
    /// The table.
    pub names: Names,
    /// Whether it has changed since it was saved.
    pub changed: bool,
    /// The policy in force.
    pub policy: Policy,
    /// The gateway's own addresses, which no name may have.
    pub own_addresses: BTreeSet<IpAddr>,
}

impl Learner {
    /// A table as it was saved.
    #[must_use]
    pub const fn new(names: Names, policy: Policy) -> Self {
        Self { names, changed: false, policy, own_addresses: BTreeSet::new() }
    }

    /// Takes in a record of the ring buffer. Returns what the kernel has learned with it.
    pub fn take(&mut self, record: &[u8]) -> Vec<Lesson> {
        match events::read(record) {
            Some(Event::Answer(event, message)) => self.answer(&event, message),
            Some(Event::Denied(event)) => {
                log::debug!(
                    "denied: {} -> {} port {}, protocol {}, reason {}",
                    IpAddr::from(event.source),
                    IpAddr::from(event.destination),
                    u16::from_be(event.destination_port),
                    event.protocol,
                    intune_filter_ebpf::abi::Reason::from_number(event.reason)
                        .map_or("unknown", intune_filter_ebpf::abi::Reason::as_str),
                );
                Vec::new()
            }
            None => {
                log::debug!("a record of {} octets is none that this version knows", record.len());
                Vec::new()
            }
        }
    }

    fn answer(&mut self, event: &AnswerEvent, message: &[u8]) -> Vec<Lesson> {
        let Some(answer) = answer::read(message) else { return Vec::new() };
        // The policy in force, which may be younger than the event.
        let rules = self.policy.rules_of_name(&answer.name);
        let ids: Vec<String> =
            self.policy.rules_of(rules).map(|rule| rule.id.to_string()).collect();
        if ids.is_empty() {
            return Vec::new();
        }
        let mut lessons = Vec::new();
        for (address, ttl) in answer.addresses {
            if self.own_addresses.contains(&address) || !self.policy.accepts_answer(address) {
                continue;
            }
            let expires = event.time.saturating_add(lifetime(&self.policy.settings, ttl));
            log::debug!("learned: {} has {address}, for {}", answer.name, ids.join(", "));
            self.names.learn(&answer.name, address, ids.iter().cloned(), expires);
            self.changed = true;
            lessons.push(Lesson { address, rules, expires });
        }
        lessons
    }
}

/// How long an address is kept, in nanoseconds: the same bounds as the kernel's.
fn lifetime(settings: &Settings, ttl: u32) -> u64 {
    // One with its highest bit set is taken as zero (RFC 2181 section 8).
    let ttl = if ttl > i32::MAX as u32 { 0 } else { ttl };
    let bounded = ttl.max(settings.ttl_min).min(settings.ttl_max);
    (u64::from(bounded) + u64::from(settings.ttl_grace)) * SECOND
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lifetimes_are_bounded_as_in_the_kernel() {
        let settings = Settings { ttl_min: 60, ttl_max: 600, ttl_grace: 30, ..Settings::default() };
        for (ttl, seconds) in [(0, 90), (60, 90), (100, 130), (9999, 630), (0x8000_0000, 90)] {
            assert_eq!(lifetime(&settings, ttl), seconds * SECOND, "{ttl}");
        }
    }
}
