//! Watches the files that a refused configuration depends on until they are mended.

use std::path::PathBuf;

use crate::daemon::config_source::mended::Watch;

/// Configuration file that cannot be used, with the watch on it.
pub(super) struct Watched {
    pub(super) paths: Vec<PathBuf>,
    pub(super) watch: Watch,
}

impl Watched {
    /// Waits for a change of the file; forever without a watch.
    pub(super) async fn changed(watched: &mut Option<Self>) {
        match watched {
            Some(watched) => watched.watch.changed().await,
            None => std::future::pending().await,
        }
    }
}
