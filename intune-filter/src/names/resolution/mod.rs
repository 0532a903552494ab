//! When the policy's exact names are resolved: answers and time in, questions out, no I/O.
//!
//! A name is asked for at the start, when a policy brings it, and before what was learned of it
//! expires, so that a client that still knows its addresses reaches them although it does not ask.
//! Resolvers have other things to do: [`pace`] says how often they are asked at most.

mod counts;
pub(crate) mod dns_client;
mod pace;
mod question;
mod status;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
    time::Instant,
};

pub use counts::Counts;
pub use pace::MAX_IN_FLIGHT;
use pace::Pace;
pub use question::{Kind, Outcome, Question};
pub use status::Status;

use crate::policy::Policy;

/// Names at most: each costs three questions and their repetitions. Those that a `#` stands for
/// come last.
pub const NAMES_MAX: usize = 1024;

/// The names, the rules that each has, and how many were too many.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    names: BTreeMap<Arc<str>, BTreeSet<String>>,
    left_out: usize,
}

impl Wanted {
    /// The names that a policy's patterns without `*` stand for.
    #[must_use]
    pub fn of_policy(policy: &Policy) -> Self {
        let patterns = || policy.rules.values().flat_map(|rule| &rule.fqdns);
        let (mut wanted, mut seen) = (Self::default(), BTreeSet::new());
        let numbered =
            |with: bool| patterns().filter(move |pattern| pattern.as_str().contains('#') == with);
        for name in numbered(false).chain(numbered(true)).flat_map(|pattern| pattern.names()) {
            if !seen.insert(name.clone()) {
                continue;
            }
            if wanted.names.len() == NAMES_MAX {
                wanted.left_out += 1;
                continue;
            }
            let rules = policy.rules_of(policy.rules_of_name(&name));
            let rules = rules.map(|rule| rule.id.to_string()).collect();
            wanted.names.insert(name.into(), rules);
        }
        wanted
    }

    /// How many names were too many.
    #[must_use]
    pub const fn left_out(&self) -> usize {
        self.left_out
    }
}

/// What is known of a question's answer.
#[derive(Clone, Debug)]
enum Finding {
    /// Nothing was heard yet.
    Unknown,
    /// There were addresses.
    Addresses,
    /// There is nothing to learn.
    Nothing,
    /// Nothing was heard that made sense, since the last time there was.
    Failed(String),
}

#[derive(Clone, Debug)]
struct Item {
    /// When it is asked next; it stands in the queue under this time unless it is being asked.
    due: Instant,
    /// In a row.
    failures: u32,
    /// Until when there are learned addresses.
    until: Option<Instant>,
    finding: Finding,
}

/// The names and when to ask for each.
#[derive(Debug)]
pub struct Resolution {
    resolvers: Vec<IpAddr>,
    wanted: Wanted,
    items: BTreeMap<Question, Item>,
    queue: BTreeSet<(Instant, Question)>,
    asked: BTreeSet<Question>,
    pace: Pace,
    /// Questions in a row that no answer came to.
    silent: usize,
    counts: Counts,
}

impl Resolution {
    /// No names; `seed` is where the jitter comes from.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            resolvers: Vec::new(),
            wanted: Wanted::default(),
            items: BTreeMap::new(),
            queue: BTreeSet::new(),
            asked: BTreeSet::new(),
            pace: Pace::new(seed),
            silent: 0,
            counts: Counts::default(),
        }
    }

    /// Goes by other names and resolvers from now on. Names that are new, or belong to other rules
    /// than before, are asked for at once.
    pub fn want(&mut self, wanted: Wanted, resolvers: Vec<IpAddr>, now: Instant) {
        self.items.retain(|question, _| wanted.names.contains_key(&question.name));
        for (name, rules) in &wanted.names {
            if self.wanted.names.get(name) == Some(rules) {
                continue;
            }
            for kind in [Kind::A, Kind::Aaaa, Kind::Https] {
                let question = Question { kind, name: Arc::clone(name) };
                let item = Item { due: now, failures: 0, until: None, finding: Finding::Unknown };
                self.items.insert(question, item);
            }
        }
        self.resolvers = resolvers;
        self.wanted = wanted;
        let waiting = self.items.iter().filter(|(question, _)| !self.asked.contains(question));
        self.queue = waiting.map(|(question, item)| (item.due, question.clone())).collect();
    }

    /// When [`Self::ask`] has a question next, as far as that is known.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        let (due, _) = self.queue.first()?;
        let free = self.asked.len() < MAX_IN_FLIGHT && !self.resolvers.is_empty();
        free.then(|| self.pace.not_before(*due))
    }

    /// The question that is due, if there is one, and whom to ask. [`Self::heard`] tells what came
    /// of it.
    pub fn ask(&mut self, now: Instant) -> Option<(Question, IpAddr)> {
        if self.due()? > now {
            return None;
        }
        let (_, question) = self.queue.pop_first()?;
        let failures = self.items.get(&question).map_or(0, |item| item.failures);
        // The first one, unless that has failed: it is the one that clients ask, too.
        let resolver = *self.resolvers.get(failures as usize % self.resolvers.len())?;
        self.asked.insert(question.clone());
        self.pace.asked(now);
        Some((question, resolver))
    }

    /// A question was answered, or will not be.
    pub fn heard(&mut self, question: &Question, outcome: Outcome, now: Instant) {
        self.asked.remove(question);
        self.counts.add(&outcome);
        let silence = matches!(outcome, Outcome::Silence(_));
        let outage = self.silent >= MAX_IN_FLIGHT.min(self.items.len());
        self.silent = if silence { self.silent + 1 } else { 0 };
        // The policy may have lost the name meanwhile.
        let Some(item) = self.items.get_mut(question) else { return };
        let wait = match outcome {
            Outcome::Addresses(lifetime) => {
                item.until = Some(now + lifetime);
                (item.failures, item.finding) = (0, Finding::Addresses);
                self.pace.before_expiry(lifetime)
            }
            Outcome::Nothing => {
                (item.failures, item.finding) = (0, Finding::Nothing);
                self.pace.after_nothing()
            }
            // An older resolver, which does not know the type. Hints are an extra.
            Outcome::Refused(_) if question.kind == Kind::Https => {
                (item.failures, item.finding) = (0, Finding::Nothing);
                self.pace.after_nothing()
            }
            Outcome::Refused(why) | Outcome::Silence(why) => {
                item.failures = item.failures.saturating_add(1);
                item.finding = Finding::Failed(why);
                self.pace.after_failures(item.failures)
            }
        };
        item.due = now + wait;
        self.queue.insert((item.due, question.clone()));
        if outage && !silence {
            self.hasten(now);
        }
    }

    /// Resolvers answer again: what had to wait is asked now.
    fn hasten(&mut self, now: Instant) {
        for (question, item) in &mut self.items {
            if item.failures > 0
                && item.due > now
                && self.queue.remove(&(item.due, question.clone()))
            {
                item.due = now;
                self.queue.insert((now, question.clone()));
            }
        }
    }
}

#[cfg(test)]
mod tests;
