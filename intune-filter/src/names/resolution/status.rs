//! Summarises the resolved names for commands and metrics.

use std::{collections::BTreeMap, time::Instant};

use serde::{Deserialize, Serialize};

use super::{Counts, Finding, Resolution};

/// Names listed with their errors at most.
const NAMED: usize = 20;

/// Counts of the resolved names, with the errors.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResolutionStatus {
    /// Names by state, questions by outcome.
    #[serde(flatten)]
    pub counts: Counts,
    /// Seconds until the next question.
    pub next_in_s: Option<u64>,
    /// First names that could not be resolved, each with the reason.
    pub errors: BTreeMap<String, String>,
}

impl Resolution {
    /// Returns the counts of names and questions.
    #[must_use]
    pub(crate) fn counts(&self, now: Instant) -> Counts {
        self.look(now).0
    }

    /// Returns the counts with the errors.
    #[must_use]
    pub(crate) fn status(&self, now: Instant) -> ResolutionStatus {
        let (counts, errors) = self.look(now);
        let next = self.due().map(|due| due.saturating_duration_since(now).as_secs());
        ResolutionStatus { counts, next_in_s: next, errors }
    }

    fn look(&self, now: Instant) -> (Counts, BTreeMap<String, String>) {
        /// Combined findings of the questions for one name.
        #[derive(Default)]
        struct Name<'a> {
            resolved: bool,
            unknown: bool,
            error: Option<&'a str>,
        }

        let mut names: BTreeMap<&str, Name<'_>> = BTreeMap::new();
        for (question, item) in &self.items {
            let name = names.entry(&question.name).or_default();
            let live = item.until.is_some_and(|until| until > now);
            name.resolved |= live;
            match &item.finding {
                Finding::Unknown => name.unknown = true,
                // Expired, and in flight right now.
                Finding::Addresses => name.unknown |= !live,
                Finding::Failed(why) => name.error = Some(why),
                Finding::Nothing => {}
            }
        }
        let mut counts =
            Counts { names: names.len(), left_out: self.wanted.left_out, ..self.counts.clone() };
        let mut errors = BTreeMap::new();
        for (name, found) in names {
            match found {
                Name { resolved: true, .. } => counts.resolved += 1,
                Name { error: Some(why), .. } => {
                    counts.failing += 1;
                    if errors.len() < NAMED {
                        errors.insert(name.to_owned(), why.to_owned());
                    }
                }
                Name { unknown: true, .. } => counts.waiting += 1,
                Name { .. } => counts.absent += 1,
            }
        }
        (counts, errors)
    }
}
