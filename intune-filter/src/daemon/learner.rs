//! Keeps the table of names from what the kernel reports.

use std::{collections::BTreeSet, net::IpAddr};

use intune_filter_ebpf::abi::{AnswerEvent, DeniedEvent, Reason};

use super::events::{self, Event};
use crate::{
    names::{Names, answer::Reader},
    policy::Policy,
};

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
    names: Names,
    changed: bool,
    policy: Policy,
    reader: Reader,
    own_addresses: BTreeSet<IpAddr>,
}

impl Learner {
    /// A table as it was saved.
    #[must_use]
    pub fn new(names: Names, policy: Policy) -> Self {
        let reader = Reader::new(&policy);
        Self { names, changed: false, policy, reader, own_addresses: BTreeSet::new() }
    }

    /// The table.
    #[must_use]
    pub const fn names(&self) -> &Names {
        &self.names
    }

    /// The table, to change it otherwise than by learning.
    pub const fn names_mut(&mut self) -> &mut Names {
        self.changed = true;
        &mut self.names
    }

    /// Forgets names that have expired.
    pub fn expire(&mut self, now: u64) {
        self.changed |= self.names.expire(now) > 0;
    }

    /// Whether the table has changed since this was last asked.
    pub const fn take_changed(&mut self) -> bool {
        std::mem::replace(&mut self.changed, false)
    }

    /// Goes by another policy from now on.
    pub fn set_policy(&mut self, policy: Policy) {
        self.reader = Reader::new(&policy);
        self.reader.set_own_addresses(&self.own_addresses);
        self.policy = policy;
    }

    /// The policy in force.
    #[must_use]
    pub const fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The gateway's own addresses, which no name may have.
    pub fn set_own_addresses(&mut self, addresses: BTreeSet<IpAddr>) {
        self.reader.set_own_addresses(&addresses);
        self.own_addresses = addresses;
    }

    /// Takes in a record of the ring buffer. Returns what the kernel has learned with it.
    pub fn take(&mut self, record: &[u8]) -> Vec<Lesson> {
        match events::read(record) {
            Some(Event::Answer(event, message)) => self.answer(&event, message),
            Some(Event::Denied(event)) => {
                tell_denied(&event);
                Vec::new()
            }
            Some(Event::Opened(_) | Event::Closed(_)) => Vec::new(),
            None => {
                log::debug!("a record of {} octets is none that this version knows", record.len());
                Vec::new()
            }
        }
    }

    /// Reads by the policy in force, which may be younger than the event.
    fn answer(&mut self, event: &AnswerEvent, message: &[u8]) -> Vec<Lesson> {
        let Some(answer) = self.reader.read(event, message) else { return Vec::new() };
        let rules = answer.rules;
        let ids: Vec<String> =
            self.policy.rules_of(rules).map(|rule| rule.id.to_string()).collect();
        let mut lessons = Vec::new();
        for (address, expires) in answer.addresses {
            log::debug!("learned: {} has {address}, for {}", answer.name, ids.join(", "));
            self.names.learn(&answer.name, address, ids.iter().cloned(), expires);
            self.changed = true;
            lessons.push(Lesson { address, rules, expires });
        }
        lessons
    }
}

fn tell_denied(event: &DeniedEvent) {
    log::debug!(
        "denied: {} -> {} port {}, protocol {}, reason {}",
        IpAddr::from(event.source),
        IpAddr::from(event.destination),
        u16::from_be(event.destination_port),
        event.protocol,
        Reason::from_number(event.reason).map_or("unknown", Reason::as_str),
    );
}
