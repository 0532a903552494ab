//! The last reload, as `status` tells of it.

use super::RunError;
use crate::{
    daemon::problems,
    report::{self, Changed, ReloadResult},
};

/// How the last reload went.
#[derive(Clone, Debug)]
pub(super) struct LastReload {
    pub(super) told: report::LastReload,
    /// Whether nothing else was wrong than that the configuration in force waited.
    pub(super) waited: bool,
}

impl LastReload {
    /// A reload that has just ended.
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
