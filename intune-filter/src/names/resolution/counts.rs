//! Counts names by state, and questions by outcome.

use serde::{Deserialize, Serialize};

use super::question::QueryOutcome;

/// Numbers of names by state, and of questions by outcome.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Exact names of the policy.
    pub names: usize,
    /// Names with learned addresses that have not expired.
    pub resolved: usize,
    /// Names for which the resolvers have no records.
    pub absent: usize,
    /// Names that could not be resolved.
    pub failing: usize,
    /// Names without an answer yet.
    pub waiting: usize,
    /// Names beyond the limit, which are not resolved.
    pub left_out: usize,
    /// Questions answered with addresses since the daemon's start.
    pub answered: u64,
    /// Questions answered without anything that could be learned.
    pub empty: u64,
    /// Questions that failed.
    pub failed: u64,
}

impl Counts {
    pub(super) fn add(&mut self, outcome: &QueryOutcome) {
        *match outcome {
            QueryOutcome::Addresses(_) => &mut self.answered,
            QueryOutcome::Nothing => &mut self.empty,
            QueryOutcome::Refused(_) | QueryOutcome::Silence(_) => &mut self.failed,
        } += 1;
    }
}
