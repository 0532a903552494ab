//! Defines the JSON of `events`, one object per line.

use serde::{Deserialize, Serialize};

/// Line of `events --json`, and of the daemon's stream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EventLine<E> {
    /// Number of the contract, [`super::SCHEMA`].
    pub schema: u32,
    /// Event with its time.
    #[serde(flatten)]
    pub event: E,
}
