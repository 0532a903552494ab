//! Schedules the resolution of the policy's exact names: answers and time in, questions out, no
//! I/O.
//!
//! A name is asked for at the start, when a policy adds it, and before its learned addresses
//! expire, so that a client with cached addresses reaches them without asking. [`pace`] limits the
//! load on resolvers.

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

pub(crate) use counts::Counts;
pub(crate) use pace::MAX_IN_FLIGHT;
use pace::Pace;
pub(crate) use question::{Kind, QueryOutcome, Question};
pub(crate) use status::ResolutionStatus;

use crate::policy::Policy;

/// Names at most: each costs three questions and their repetitions. Names from a `#` come last.
pub(crate) const NAMES_MAX: usize = 1024;

/// Names to resolve with the rules of each, and the number of names beyond the limit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct NamesToResolve {
    names: BTreeMap<Arc<str>, BTreeSet<String>>,
    left_out: usize,
}

impl NamesToResolve {
    /// Returns the names that a policy's patterns without `*` stand for.
    #[must_use]
    pub(crate) fn of_policy(policy: &Policy) -> Self {
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

    /// Returns the number of names beyond the limit.
    #[must_use]
    pub(crate) const fn left_out(&self) -> usize {
        self.left_out
    }
}

/// Last known result of a question.
#[derive(Clone, Debug)]
enum Finding {
    /// No answer yet.
    Unknown,
    /// Addresses.
    Addresses,
    /// Response without anything to learn.
    Nothing,
    /// Failure of the last attempt, with the reason.
    Failed(String),
}

#[derive(Clone, Debug)]
struct Item {
    /// Time of the next question; key in the queue unless the question is in flight.
    due: Instant,
    /// Failures in a row.
    failures: u32,
    /// Expiry of the learned addresses, if there are any.
    until: Option<Instant>,
    finding: Finding,
}

/// Schedule of the questions for each name.
#[derive(Debug)]
pub(crate) struct Resolution {
    resolvers: Vec<IpAddr>,
    wanted: NamesToResolve,
    items: BTreeMap<Question, Item>,
    queue: BTreeSet<(Instant, Question)>,
    asked: BTreeSet<Question>,
    pace: Pace,
    /// Questions in a row without an answer.
    silent: usize,
    counts: Counts,
}

impl Resolution {
    /// Returns a schedule without names; `seed` feeds the jitter.
    #[must_use]
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            resolvers: Vec::new(),
            wanted: NamesToResolve::default(),
            items: BTreeMap::new(),
            queue: BTreeSet::new(),
            asked: BTreeSet::new(),
            pace: Pace::new(seed),
            silent: 0,
            counts: Counts::default(),
        }
    }

    /// Replaces the names and the resolvers. Names that are new or have other rules than before are
    /// asked for at once.
    pub(crate) fn want(&mut self, wanted: NamesToResolve, resolvers: Vec<IpAddr>, now: Instant) {
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

    /// Returns the time at which [`Self::ask`] next has a question, if it is known.
    #[must_use]
    pub(crate) fn due(&self) -> Option<Instant> {
        let (due, _) = self.queue.first()?;
        let free = self.asked.len() < MAX_IN_FLIGHT && !self.resolvers.is_empty();
        free.then(|| self.pace.not_before(*due))
    }

    /// Returns the question that is due and the resolver to ask; report its outcome to
    /// [`Self::heard`].
    pub(crate) fn ask(&mut self, now: Instant) -> Option<(Question, IpAddr)> {
        if self.due()? > now {
            return None;
        }
        let (_, question) = self.queue.pop_first()?;
        let failures = self.items.get(&question).map_or(0, |item| item.failures);
        // The first resolver, which clients ask too, unless it has failed.
        let resolver = *self.resolvers.get(failures as usize % self.resolvers.len())?;
        self.asked.insert(question.clone());
        self.pace.asked(now);
        Some((question, resolver))
    }

    /// Records the outcome of a question, and schedules the next one.
    pub(crate) fn heard(&mut self, question: &Question, outcome: QueryOutcome, now: Instant) {
        self.asked.remove(question);
        self.counts.add(&outcome);
        let silence = matches!(outcome, QueryOutcome::Silence(_));
        let outage = self.silent >= MAX_IN_FLIGHT.min(self.items.len());
        self.silent = if silence { self.silent + 1 } else { 0 };
        // A reload may have dropped the name meanwhile.
        let Some(item) = self.items.get_mut(question) else { return };
        let wait = match outcome {
            QueryOutcome::Addresses(lifetime) => {
                item.until = Some(now + lifetime);
                (item.failures, item.finding) = (0, Finding::Addresses);
                self.pace.before_expiry(lifetime)
            }
            QueryOutcome::Nothing => {
                (item.failures, item.finding) = (0, Finding::Nothing);
                self.pace.after_nothing()
            }
            // An older resolver does not know the type, and hints are an extra: no failure.
            QueryOutcome::Refused(_) if question.kind == Kind::Https => {
                (item.failures, item.finding) = (0, Finding::Nothing);
                self.pace.after_nothing()
            }
            QueryOutcome::Refused(why) | QueryOutcome::Silence(why) => {
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

    /// Makes failed questions due now, since resolvers answer again.
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
