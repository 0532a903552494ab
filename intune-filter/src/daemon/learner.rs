//! Keeps the table of names from what the kernel reports.

use std::{collections::BTreeSet, net::IpAddr};

use intune_filter_ebpf::abi::{AnswerEvent, answer_flags};

use crate::{
    names::{
        Names,
        answer::{Answer, Reader},
    },
    policy::Policy,
};

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

    /// Takes in an answer of the kernel's: the name and the addresses that it leads to. If there was
    /// room for some of them only, which ones is not known.
    pub fn take(&mut self, event: &AnswerEvent, message: &[u8]) -> Option<Answer> {
        // By the policy in force, which may be younger than the event.
        let answer = self.reader.read(event, message)?;
        let ids: Vec<String> =
            self.policy.rules_of(answer.rules).map(|rule| rule.id.to_string()).collect();
        if event.flags & answer_flags::LEARNED == 0 {
            return Some(answer);
        }
        for (address, expires) in &answer.addresses {
            log::debug!("learned: {} has {address}, for {}", answer.name, ids.join(", "));
            self.names.learn(&answer.name, *address, ids.iter().cloned(), *expires);
            self.changed = true;
        }
        Some(answer)
    }

    /// Whether a message repeats the question that has this hash; `seed` keys it.
    pub fn is_answer_to(&mut self, message: &[u8], question: u64, seed: u64) -> bool {
        self.reader.question(message, seed) == Some(question)
    }

    /// The services that have some of the rules, each once.
    #[must_use]
    pub fn services(&self, rules: u64) -> Vec<String> {
        let services: BTreeSet<&str> =
            self.policy.rules_of(rules).map(|rule| rule.id.service.as_str()).collect();
        services.into_iter().map(str::to_owned).collect()
    }
}
