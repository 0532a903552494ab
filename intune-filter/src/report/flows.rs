//! Defines the JSON of `flows`, an array.

use serde::Serialize;

use crate::events::{Flow, Traffic};

/// Flow that is alive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LiveFlow {
    /// Client, destination and their names.
    #[serde(flatten)]
    pub flow: Flow,
    /// `new` until the remote side has answered, then `established`, and `closing` once the flow
    /// has ended, while late packets may still arrive.
    pub state: &'static str,
    /// Traffic of the flow.
    #[serde(flatten)]
    pub traffic: Traffic,
    /// Seconds since the flow was opened.
    pub age_s: u64,
    /// Seconds since the last packet, accurate to one second.
    pub idle_s: u64,
}
