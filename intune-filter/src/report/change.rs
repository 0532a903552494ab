//! Defines the JSON of `apply`, `reload`, `confirm`, `apply --dry-run`, `config diff` and `detach`.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::{config::OtherVlan, events::Flow, policy::Difference};

/// Result of `apply` and `reload`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Changed {
    /// Number of the contract, [`super::SCHEMA`].
    pub schema: u32,
    /// File of the configuration in force.
    pub file: String,
    /// Whether the policy differs from the one before.
    pub changed: bool,
    /// Generation of the policy in force.
    pub generation: u32,
    /// Digest of the configuration in force.
    pub digest: String,
    /// Traffic that opens and closes, and settings that change.
    #[serde(flatten)]
    pub difference: Difference,
    /// Number of flows that have ended.
    pub flows_ended: usize,
    /// Number of names that were forgotten.
    pub names_forgotten: usize,
    /// VLANs whose frames the configuration denies, and the one before did not.
    #[serde(default)]
    pub denied_vlans: Vec<OtherVlan>,
    /// Seconds until the previous configuration returns, unless this one is confirmed.
    pub confirm_within_s: Option<u64>,
    /// Whether the configuration file differs from the configuration in force.
    pub overrides_file: bool,
    /// Interfaces to which the configuration could not be applied.
    pub failed_interfaces: Vec<FailedInterface>,
}

/// Interface that exists and could not be attached to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedInterface {
    /// Name of the interface.
    pub name: String,
    /// Message of the error.
    pub error: String,
}

/// Result of `apply --dry-run` and `config diff`, which change nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Preview {
    /// Number of the contract, [`super::SCHEMA`].
    pub schema: u32,
    /// File of the examined configuration.
    pub file: String,
    /// File of the configuration in force.
    pub in_force: String,
    /// Whether the policy would differ from the one in force.
    pub changed: bool,
    /// Generation of the policy in force.
    pub generation: u32,
    /// Digest of the examined configuration.
    pub digest: String,
    /// Traffic that would open and close, and settings that would change.
    #[serde(flatten)]
    pub difference: Difference,
    /// VLANs whose frames the configuration denies, and the one before did not.
    #[serde(default)]
    pub denied_vlans: Vec<OtherVlan>,
    /// Number of flows that would end.
    pub flows_ended: usize,
    /// First flows that would end.
    pub flows: Vec<Flow>,
    /// Number of names that would be forgotten.
    pub names_forgotten: usize,
    /// First names that would be forgotten.
    pub names: Vec<LostName>,
}

/// Learned name that no rule would have any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LostName {
    /// Name without a rule.
    pub name: String,
    /// Address that the name led to.
    pub address: IpAddr,
}

/// Result of `confirm`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confirmed {
    /// Number of the contract, [`super::SCHEMA`].
    pub schema: u32,
    /// File of the configuration in force.
    pub file: String,
    /// Generation of the policy in force.
    pub generation: u32,
    /// Digest of the configuration in force.
    pub digest: String,
    /// Whether the configuration file differs from the configuration in force.
    pub overrides_file: bool,
}

/// Result of `detach`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Detached {
    /// Number of the contract, [`super::SCHEMA`].
    pub schema: u32,
    /// Whether there was anything to detach.
    pub detached: bool,
}
