//! `flows`: an element each.

use serde::Serialize;

use crate::events::{Flow, Traffic};

/// A flow that is alive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LiveFlow {
    /// Client and destination.
    #[serde(flatten)]
    pub flow: Flow,
    /// `new` until the far end has answered, then `established`, and `closing` once it has ended:
    /// what is still on its way may arrive.
    pub state: &'static str,
    /// What it has carried.
    #[serde(flatten)]
    pub traffic: Traffic,
    /// Seconds since it was opened.
    pub age_s: u64,
    /// Seconds since its last packet, to within one.
    pub idle_s: u64,
}
