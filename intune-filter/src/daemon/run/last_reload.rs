//! Records the last reload for `status`.

use super::RunError;
use crate::{
    daemon::problems,
    report::{self, Changed, ReloadResult},
};

/// Result of the last reload.
#[derive(Clone, Debug)]
pub(super) struct LastReload {
    pub(super) told: report::LastReload,
    /// Whether the pending confirmation of the configuration in force was the only reason of the
    /// refusal.
    pub(super) waited: bool,
}

impl LastReload {
    /// Returns the result of a reload that has just ended.
    pub(super) fn new(result: Result<&Changed, &RunError>) -> Self {
        let (result, error) = match result {
            Ok(change) if change.changed => (ReloadResult::InForce, None),
            Ok(_) => (ReloadResult::Unchanged, None),
            Err(error) => (ReloadResult::Refused, Some(error.to_string())),
        };
        let told = report::LastReload { at: problems::now(), result, error };
        Self { told, waited: false }
    }
}
