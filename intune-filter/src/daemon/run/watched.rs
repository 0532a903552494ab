//! The files that a refused configuration depends on, watched until they are mended.

use std::path::PathBuf;

use crate::daemon::config_source::mended::Watch;

/// The configuration file, while it cannot be used.
pub(super) struct Watched {
    pub(super) paths: Vec<PathBuf>,
    pub(super) watch: Watch,
}

impl Watched {
    /// Waits for a change of the file, or for ever if there is nothing to wait for.
    pub(super) async fn changed(watched: &mut Option<Self>) {
        match watched {
            Some(watched) => watched.watch.changed().await,
            None => std::future::pending().await,
        }
    }
}
