//! Defines the JSON of what is on-link behind the filtered interfaces, in `status` and `check`.

use serde::Serialize;

/// Prefix that is on-link behind a filtered interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OnLinkPrefix {
    /// Name of the zone.
    pub zone: String,
    /// Prefix.
    pub network: String,
    /// Groups that have addresses of it; empty if its clients are in no group.
    pub groups: Vec<String>,
}
