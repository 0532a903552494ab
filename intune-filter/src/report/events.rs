//! `events`: an object a line.

use serde::{Deserialize, Serialize};

/// A line of `events --json`, and of the daemon's stream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EventLine<E> {
    /// [`super::SCHEMA`].
    pub schema: u32,
    /// The event.
    #[serde(flatten)]
    pub event: E,
}
