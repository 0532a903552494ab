//! How many names are in which state, and what came of the questions.

use serde::{Deserialize, Serialize};

use super::question::Outcome;

/// How the names are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Exact names of the policy.
    pub names: usize,
    /// Those with addresses that were learned and have not expired.
    pub resolved: usize,
    /// Those of which resolvers say that there is nothing.
    pub absent: usize,
    /// Those that could not be resolved.
    pub failing: usize,
    /// Those that no answer has come for yet.
    pub waiting: usize,
    /// Those beyond them that are not resolved, since they are too many.
    pub left_out: usize,
    /// Questions that were answered with addresses, since the daemon's start.
    pub answered: u64,
    /// Questions that were answered with nothing that could be learned.
    pub empty: u64,
    /// Questions that failed.
    pub failed: u64,
}

impl Counts {
    pub(super) fn add(&mut self, outcome: &Outcome) {
        *match outcome {
            Outcome::Addresses(_) => &mut self.answered,
            Outcome::Nothing => &mut self.empty,
            Outcome::Refused(_) | Outcome::Silence(_) => &mut self.failed,
        } += 1;
    }
}
