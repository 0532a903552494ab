//! Keeps the table of names from what the kernel reports.

use std::{collections::BTreeSet, net::IpAddr};

use intune_filter_ebpf::abi::{AnswerEvent, Host, answer_flags};

use super::clock;
use crate::{
    kernel::Refreshed,
    names::{
        Names,
        accounts::{Accounts, Decision},
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
    accounts: Accounts,
}

impl Learner {
    /// A table as it was saved.
    #[must_use]
    pub fn new(names: Names, policy: Policy) -> Self {
        let reader = Reader::new(&policy);
        let (own_addresses, accounts) = Default::default();
        Self { names, changed: false, policy, reader, own_addresses, accounts }
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

    /// Forgets names that have expired. What nobody else vouches for at their addresses is taken
    /// away from these later, see [`Self::accounts`].
    pub fn expire(&mut self, now: u64) {
        for address in self.names.expire(now) {
            self.accounts.suspect(address);
            self.changed = true;
        }
        self.accounts.expire(now);
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

    /// Takes in an answer that the kernel has learned from: the name and the addresses that it
    /// leads to. If there was room for some of them only, which ones is not known.
    pub fn take(&mut self, event: &AnswerEvent, message: &[u8]) -> Option<Answer> {
        if event.flags & answer_flags::LEARNED == 0 {
            return self.reader.read(event, message);
        }
        let answer = self.learn(event, message)?;
        for ((address, _), times) in answer.addresses.iter().zip(&answer.times) {
            self.accounts.heard(*address, event.time, *times);
        }
        Some(answer)
    }

    /// Learns from an answer that the kernel could not read.
    pub fn learn(&mut self, event: &AnswerEvent, message: &[u8]) -> Option<Answer> {
        // By the policy in force, which may be younger than the event.
        let answer = self.reader.read(event, message)?;
        let ids: Vec<String> =
            self.policy.rules_of(answer.rules).map(|rule| rule.id.to_string()).collect();
        for (address, expires) in &answer.addresses {
            log::debug!("learned: {} has {address}, for {}", answer.name, ids.join(", "));
            let shed = self.names.learn(&answer.name, *address, ids.iter().cloned(), *expires);
            shed.into_iter().for_each(|address| self.accounts.distrust(address));
            self.changed = true;
        }
        Some(answer)
    }

    /// Takes note of an address that userspace itself has refreshed in the kernel.
    pub fn refreshed(&mut self, address: IpAddr, versions: Refreshed) {
        self.accounts.refreshed(address, versions, clock::boot_time());
    }

    /// What is known of the answers behind each address.
    pub const fn accounts(&mut self) -> &mut Accounts {
        &mut self.accounts
    }

    /// The rules of the names that led to an address, and when the last of these expires.
    #[must_use]
    pub fn vouched(&self, address: IpAddr) -> (u64, u64) {
        self.names.of_address(address).fold((0, 0), |(rules, until), (name, claim)| {
            (rules | self.policy.rules_of_name(name), until.max(claim.expires))
        })
    }

    /// What is to be done with an address that the kernel has as `host`: see
    /// [`Accounts::decide`].
    #[must_use]
    pub fn decide(&self, address: IpAddr, host: &Host, now: u64) -> Decision {
        self.accounts.decide(address, host, self.vouched(address), now)
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
