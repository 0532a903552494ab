//! Resolves the policy's exact names: sends the questions that are due, and learns from the answers
//! as from those of clients.

use std::time::{Duration, Instant};

use anyhow::Result;
use intune_filter_ebpf::abi::AnswerEvent;

use super::state::Daemon;
use crate::{
    config::Config,
    names::resolution::{NAMES_MAX, NamesToResolve, QueryOutcome, Question, dns_client},
    system::clock,
};

impl Daemon<'_> {
    /// Takes over the names of the policy in force, and the resolvers of its configuration.
    pub(super) fn want_names(&mut self, config: &Config) {
        let policy = self.intake.learner.policy();
        let wanted = if config.dns.resolve {
            NamesToResolve::of_policy(policy)
        } else {
            NamesToResolve::default()
        };
        if wanted.left_out() > 0 {
            log::warn!(
                "{} exact names are not resolved ahead of the clients: {NAMES_MAX} are at most",
                wanted.left_out()
            );
        }
        let resolvers = config.dns.resolvers.iter().map(|resolver| resolver.address).collect();
        self.resolution.want(wanted, resolvers, Instant::now());
        self.tell_resolution();
    }

    /// Sends the questions that are due.
    pub(super) fn resolve(&mut self) {
        while let Some((question, resolver)) = self.resolution.ask(Instant::now()) {
            self.dns_client.ask(question, resolver);
        }
    }

    /// Records the outcome of a question.
    pub(super) fn resolved(&mut self, question: &Question, answer: dns_client::Response) {
        let outcome = match answer {
            dns_client::Response::Message(message) => self.learn_from(question, &message),
            dns_client::Response::NoSuchName => Ok(QueryOutcome::Nothing),
            dns_client::Response::Refused(why) => Ok(QueryOutcome::Refused(why)),
            dns_client::Response::Silence(why) => Ok(QueryOutcome::Silence(why)),
        };
        let outcome = outcome.unwrap_or_else(|error| {
            log::error!("{error:#}");
            QueryOutcome::Refused(format!("{error:#}"))
        });
        log::debug!("{} {:?}: {outcome:?}", question.name, question.kind);
        self.resolution.heard(question, outcome, Instant::now());
        self.tell_resolution();
    }

    /// Publishes the counts of names to the metrics.
    pub(super) fn tell_resolution(&self) {
        self.resolution_told.send_replace(self.resolution.counts(Instant::now()));
    }

    fn learn_from(&mut self, question: &Question, message: &[u8]) -> Result<QueryOutcome> {
        let now = clock::boot_time();
        let event = AnswerEvent { time: now, ..Default::default() };
        let Some(answer) = self.intake.learn(&event, message, &self.kernel)? else {
            return Ok(QueryOutcome::Refused("the answer does not parse".to_owned()));
        };
        let Some(first) = answer.addresses.iter().map(|(_, expires)| *expires).min() else {
            return Ok(QueryOutcome::Nothing);
        };
        log::debug!("{} is resolved", question.name);
        Ok(QueryOutcome::Addresses(Duration::from_nanos(first.saturating_sub(now))))
    }
}
