//! `apply`, `reload`, `confirm`, `apply --dry-run`, `config diff` and `detach`.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::{events::Flow, policy::Difference};

/// Result of `apply` and `reload`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Changed {
    /// [`super::SCHEMA`].
    pub schema: u32,
    /// File of the configuration in force.
    pub file: String,
    /// Whether the policy is another one than before.
    pub changed: bool,
    /// Generation of the policy in force.
    pub generation: u32,
    /// Digest of the configuration in force.
    pub digest: String,
    /// What opens, closes and is set.
    #[serde(flatten)]
    pub difference: Difference,
    /// Flows that have ended.
    pub flows_ended: usize,
    /// Names that were forgotten.
    pub names_forgotten: usize,
    /// Seconds after which the configuration before comes back, unless confirmed.
    pub confirm_within_s: Option<u64>,
    /// Whether the configuration file says otherwise.
    pub overrides_file: bool,
    /// Interfaces that the configuration does not reach.
    pub failed_interfaces: Vec<FailedInterface>,
}

/// An interface that exists and could not be attached to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedInterface {
    /// Its name.
    pub name: String,
    /// Why.
    pub error: String,
}

/// Result of `apply --dry-run` and `config diff`: nothing was changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Preview {
    /// [`super::SCHEMA`].
    pub schema: u32,
    /// File of the configuration that was looked at.
    pub file: String,
    /// File of the configuration in force.
    pub in_force: String,
    /// Whether the policy would be another one.
    pub changed: bool,
    /// Generation of the policy in force.
    pub generation: u32,
    /// Digest of the configuration that was looked at.
    pub digest: String,
    /// What would open, close and be set.
    #[serde(flatten)]
    pub difference: Difference,
    /// Flows that would end.
    pub flows_ended: usize,
    /// The first of them.
    pub flows: Vec<Flow>,
    /// Names that would be forgotten.
    pub names_forgotten: usize,
    /// The first of them.
    pub names: Vec<LostName>,
}

/// A name of a learned address that no rule would have any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LostName {
    /// The name.
    pub name: String,
    /// The address.
    pub address: IpAddr,
}

/// Result of `confirm`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confirmed {
    /// [`super::SCHEMA`].
    pub schema: u32,
    /// File of the configuration in force.
    pub file: String,
    /// Generation of the policy in force.
    pub generation: u32,
    /// Digest of the configuration in force.
    pub digest: String,
    /// Whether the configuration file says otherwise.
    pub overrides_file: bool,
}

/// Result of `detach`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Detached {
    /// [`super::SCHEMA`].
    pub schema: u32,
    /// Whether there was anything to detach.
    pub detached: bool,
}
