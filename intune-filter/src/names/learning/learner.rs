//! Keeps the table of names up to date from the kernel's reports.

use std::{
    collections::{BTreeSet, HashSet},
    net::IpAddr,
};

use intune_filter_ebpf::abi::{AnswerEvent, Host, RuleMask, answer_flags};

use super::lessons::Lessons;
use crate::{
    kernel::Refreshed,
    names::{
        Names,
        answer::{Answer, Reader, question_name},
        is_target,
        refresh_tracker::{Decision, RefreshTracker},
    },
    policy::Policy,
    system::clock,
};

/// Nanoseconds for which a lapsed name is kept whether or not a flow needs it.
const LAPSE: u64 = 10 * SECOND;

/// Nanoseconds in a second.
const SECOND: u64 = 1_000_000_000;

/// Change of the table of names since it was last saved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    /// No change.
    None,
    /// Bindings live longer or shorter, or are gone.
    Prolonged,
    /// New bindings.
    Learned,
}

/// Learner that keeps the table of names by the policy in force.
pub struct Learner {
    names: Names,
    change: Change,
    policy: Policy,
    reader: Reader,
    own_addresses: BTreeSet<IpAddr>,
    tracker: RefreshTracker,
    lessons: Lessons,
    disputed: BTreeSet<IpAddr>,
    seed: u64,
}

impl Learner {
    /// Returns a learner that starts from a saved table.
    #[must_use]
    pub fn new(names: Names, policy: Policy) -> Self {
        let reader = Reader::new(&policy);
        let (own_addresses, tracker, lessons, disputed) = Default::default();
        let change = Change::None;
        let seed = 0;
        Self { names, change, policy, reader, own_addresses, tracker, lessons, disputed, seed }
    }

    /// Returns the learner for a kernel with this seed, under which targets have their keys.
    #[must_use]
    pub const fn with_seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self.reader.set_seed(seed);
        self
    }

    /// Returns the table of names.
    #[must_use]
    pub const fn names(&self) -> &Names {
        &self.names
    }

    /// Returns the table for changes other than learning, and counts it as changed.
    pub fn names_mut(&mut self) -> &mut Names {
        self.has_changed(Change::Prolonged);
        &mut self.names
    }

    /// Has expired names lapse, and marks their addresses, which lose what no other name backs: see
    /// [`Self::tracker`].
    pub fn expire(&mut self, now: u64) {
        for address in self.names.expire(now) {
            self.tracker.suspect(address);
            self.has_changed(Change::Prolonged);
        }
        self.tracker.expire(now);
    }

    /// Returns the change of the table since it was last saved.
    #[must_use]
    pub const fn change(&self) -> Change {
        self.change
    }

    /// Records that the table has been saved as it stands.
    pub const fn saved(&mut self) {
        self.change = Change::None;
    }

    fn has_changed(&mut self, change: Change) {
        self.change = self.change.max(change);
    }

    /// Replaces the policy that answers are read by.
    pub fn set_policy(&mut self, policy: Policy) {
        self.reader = Reader::new(&policy);
        self.reader.set_seed(self.seed);
        self.reader.set_own_addresses(&self.own_addresses);
        self.policy = policy;
    }

    /// Returns the policy in force.
    #[must_use]
    pub const fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Sets the gateway's own addresses, which no name may have.
    pub fn set_own_addresses(&mut self, addresses: BTreeSet<IpAddr>) {
        self.reader.set_own_addresses(&addresses);
        self.own_addresses = addresses;
    }

    /// Reads an answer that the kernel has reported; if the kernel has learned from the answer,
    /// records the name and its addresses. The kernel may have had room for some of the addresses
    /// only, and does not say which.
    pub fn take(&mut self, event: &AnswerEvent, message: &[u8]) -> Option<Answer> {
        if event.flags & answer_flags::LEARNED == 0 {
            return self.read(event, message);
        }
        let answer = self.learn(event, message)?;
        for ((address, _), times) in answer.addresses.iter().zip(&answer.times) {
            self.tracker.observed(*address, event.time, *times);
        }
        Some(answer)
    }

    /// Learns from an answer that the kernel could not read.
    pub fn learn(&mut self, event: &AnswerEvent, message: &[u8]) -> Option<Answer> {
        // The policy in force may be younger than the event.
        let answer = self.read(event, message)?;
        let ids: Vec<String> =
            self.policy.rules_of(answer.rules).map(|rule| rule.id.to_string()).collect();
        let is_new =
            |address: &IpAddr| self.names.of_name(&answer.name).all(|(one, _)| one != *address);
        let new = answer.addresses.iter().map(|(address, _)| *address).filter(is_new).collect();
        self.lessons.remember(event, message, &answer.name, new);
        for (address, expires) in &answer.addresses {
            let ids = ids.iter().cloned();
            if let Some(target) = answer.targets.get(address) {
                log::debug!("learned: {} leads to {target}", answer.name);
                self.note_target(&answer.name, (target, *address), ids, *expires);
            } else {
                log::debug!("learned: {} has {address}", answer.name);
                self.note(&answer.name, *address, ids, *expires);
            }
        }
        Some(answer)
    }

    /// Reads an answer, of a target by what is known of the names that lead to it.
    fn read(&mut self, event: &AnswerEvent, message: &[u8]) -> Option<Answer> {
        let (names, policy) = (&self.names, &self.policy);
        self.reader.read(event, message, |key| {
            let bindings = names.of_address(key).filter(|(_, one)| one.expires > event.time);
            bindings.fold((RuleMask::EMPTY, 0), |(rules, until), (name, binding)| {
                let of = names.rules_of(name, |name| policy.rules_of_name(name));
                (rules | of, until.max(binding.expires))
            })
        })
    }

    /// Takes back what answers to a query have taught, since one more differs from them; returns the
    /// name and its addresses. Addresses that the name had before stay: what they are is not in
    /// dispute.
    pub fn take_back(
        &mut self,
        event: &AnswerEvent,
        message: &[u8],
    ) -> Option<(String, Vec<IpAddr>)> {
        let name = question_name(message)?;
        let addresses = self.lessons.take_back(event, message, &name);
        for address in &addresses {
            for owed in self.names.addresses_by(*address) {
                self.tracker.suspect(owed);
                self.disputed.insert(owed);
            }
            self.names.forget(&name, *address);
            self.has_changed(Change::Prolonged);
        }
        Some((name, addresses.into_iter().filter(|address| !is_target(*address)).collect()))
    }

    /// Returns the addresses that were taken from a name since the last call.
    pub fn disputed(&mut self) -> BTreeSet<IpAddr> {
        std::mem::take(&mut self.disputed)
    }

    /// Takes note that a name leads to an address, for rules and until a time.
    pub fn note(
        &mut self,
        name: &str,
        address: IpAddr,
        rules: impl IntoIterator<Item = String>,
        expires: u64,
    ) {
        let before = self.names.len();
        let shed = self.names.learn(name, address, rules, expires);
        self.noted(before, shed);
    }

    /// Takes note that a name leads to a target with this key, for rules and until a time.
    pub fn note_target(
        &mut self,
        name: &str,
        target: (&str, IpAddr),
        rules: impl IntoIterator<Item = String>,
        expires: u64,
    ) {
        let before = self.names.len();
        let shed = self.names.learn_target(name, target, rules, expires);
        self.noted(before, shed);
    }

    fn noted(&mut self, before: usize, shed: Vec<IpAddr>) {
        let is_new = self.names.len() != before;
        self.has_changed(if is_new { Change::Learned } else { Change::Prolonged });
        shed.into_iter().for_each(|address| self.tracker.distrust(address));
    }

    /// Forgets addresses that no name may have under the policy in force.
    pub fn forget_unacceptable(&mut self) {
        let is_acceptable = |address: &IpAddr| {
            is_target(*address)
                || self.policy.accepts_answer(*address) && !self.own_addresses.contains(address)
        };
        let addresses = self.names.addresses();
        let unacceptable: Vec<IpAddr> =
            addresses.filter(|address| !is_acceptable(address)).collect();
        for address in unacceptable {
            self.names.forget_address(address);
            self.has_changed(Change::Prolonged);
        }
    }

    /// Records versions of an address that userspace itself has refreshed in the kernel.
    pub fn refreshed(&mut self, address: IpAddr, versions: Refreshed) {
        self.tracker.refreshed(address, versions, clock::boot_time());
    }

    /// Returns the tracker of refreshes.
    pub const fn tracker(&mut self) -> &mut RefreshTracker {
        &mut self.tracker
    }

    /// Forgets names that have lapsed, except those of addresses that live flows lead to, by NAT64 too.
    /// The flows were read at `now`.
    pub fn forget_lapsed(&mut self, flows: impl Iterator<Item = IpAddr>, now: u64) {
        let flows: HashSet<IpAddr> =
            flows.flat_map(|remote| self.policy.nat64.learned_as(remote)).collect();
        // Programs that open a flow at the end of a name's time have done so by then.
        let before = now.saturating_sub(LAPSE);
        // The addresses that a target had last have the longest time of an answer.
        let settings = &self.policy.settings;
        let life = u64::from(settings.ttl_max) + u64::from(settings.ttl_grace);
        let before_targets = before.saturating_sub(life.saturating_mul(SECOND));
        let owed =
            self.names.forget_lapsed(before, before_targets, |address| flows.contains(&address));
        owed.into_iter().for_each(|address| self.tracker.suspect(address));
    }

    /// Returns the rules of the names that led to an address, and the last expiry of these names.
    #[must_use]
    pub fn backed(&self, address: IpAddr) -> (RuleMask, u64) {
        let names = self.names.of_address(address).filter(|(_, binding)| !binding.lapsed);
        names.fold((RuleMask::EMPTY, 0), |(rules, until), (name, binding)| {
            let of = self.names.rules_of(name, |name| self.policy.rules_of_name(name));
            (rules | of, until.max(binding.expires))
        })
    }

    /// Checks an address, `host` in the kernel, for unbacked rules: see
    /// [`RefreshTracker::examine`].
    pub fn examine(&mut self, address: IpAddr, host: &Host, now: u64) {
        let (backed, _) = self.backed(address);
        self.tracker.examine(address, host, backed, now);
    }

    /// Decides about an address, `host` in the kernel: see [`RefreshTracker::decide`].
    #[must_use]
    pub fn decide(&self, address: IpAddr, host: &Host, now: u64) -> Decision {
        self.tracker.decide(address, host, self.backed(address), now)
    }

    /// Returns the hashes of a response's question and of the whole, keyed by `seed`; `None` if the
    /// message is no response, or its question is not whole.
    pub fn hashes(&mut self, message: &[u8], seed: u64) -> Option<(u64, u16)> {
        self.reader.hashes(message, seed)
    }

    /// Returns the services that have some of the rules, each once.
    #[must_use]
    pub fn services(&self, rules: RuleMask) -> Vec<String> {
        let services: BTreeSet<&str> =
            self.policy.rules_of(rules).map(|rule| rule.id.service.as_str()).collect();
        services.into_iter().map(str::to_owned).collect()
    }
}
