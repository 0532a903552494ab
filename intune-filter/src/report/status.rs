//! Defines the JSON of `status`.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{CatalogueStatus, FailedInterface, OnLinkPrefix, Origin};
use crate::names::resolution::ResolutionStatus as Resolution;

/// Result of `status`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Status {
    /// Number of the contract, [`super::SCHEMA`].
    pub schema: u32,
    /// State of the daemon.
    pub daemon: Daemon,
    /// Problems that the daemon reports.
    pub problems: Vec<Problem>,
    /// Configuration in force, as the daemon reports it.
    pub configuration: Option<ConfigurationStatus>,
    /// Edition of the catalogue in force, as the daemon reports it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub catalogue: Option<CatalogueStatus>,
    /// Whether a policy is in force and some interface is attached.
    pub enforcing: bool,
    /// Generation of the policy in force.
    pub generation: u32,
    /// Remaining seconds of the warm-up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warm_up_s_left: Option<u64>,
    /// Interfaces that are configured, have a link or have a zone.
    pub interfaces: Vec<Interface>,
    /// What is on-link behind the filtered interfaces.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub on_link: Vec<OnLinkPrefix>,
    /// Packets by reason.
    pub counters: BTreeMap<&'static str, u64>,
    /// DNS queries to other servers than the site's resolvers.
    pub other_dns: OtherDns,
    /// Fill levels of the maps, by name.
    pub maps: BTreeMap<String, MapUsage>,
    /// Functions that are suspended while no daemon runs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub waiting: Vec<&'static str>,
    /// What the configuration leaves open to devices on the clients' network.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Boot guard of `boot: closed`, as found on the machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gate: Option<BootGate>,
}

/// Daemon as seen by a command.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Daemon {
    /// Whether a daemon listens.
    pub running: bool,
    /// Process id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<i32>,
    /// Status that the daemon reports.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub details: Option<Box<DaemonStatus>>,
}

/// Status that a daemon reports.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DaemonStatus {
    /// Whether the start is complete.
    pub ready: bool,
    /// Current problems.
    pub problems: Vec<Problem>,
    /// Number of names with learned addresses.
    pub names: usize,
    /// Configured interfaces that do not exist.
    pub missing_interfaces: Vec<String>,
    /// Interfaces that exist and could not be attached to.
    pub failed_interfaces: Vec<FailedInterface>,
    /// Answered flows that were evicted.
    pub flows_evicted: u64,
    /// Configuration in force.
    pub configuration: ConfigurationStatus,
    /// Edition of the catalogue in force.
    #[serde(default)]
    pub catalogue: Option<CatalogueStatus>,
    /// Boot guard of `boot: closed`; `None` if that is not configured.
    pub gate: Option<GateStatus>,
    /// Resolution of exact names by the daemon.
    pub resolution: Resolution,
}

/// Problem. Codes are texts, since a daemon of another release may have more of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Code, such as `reload_refused`.
    pub code: String,
    /// Time at which the problem began.
    pub since: Timestamp,
    /// Description of the problem, in lines.
    pub text: String,
}

/// Configuration in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigurationStatus {
    /// File that the configuration was read from.
    pub file: String,
    /// Digest of the configuration.
    pub digest: String,
    /// Origin relative to the configuration file.
    pub origin: Origin,
    /// Whether the configuration file differs from the configuration in force.
    pub overrides_file: bool,
    /// Last reload.
    pub reload: Option<LastReload>,
    /// Confirmation that the configuration waits for.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<Waiting>,
}

/// Time and result of a reload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastReload {
    /// Time of the reload.
    pub at: Timestamp,
    /// Result of the reload.
    pub result: ReloadResult,
    /// Errors of the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Result of a reload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReloadResult {
    /// The file is in force.
    InForce,
    /// The file is equivalent to the configuration in force.
    Unchanged,
    /// The file cannot be used.
    Refused,
}

/// Pending confirmation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// Seconds left for the confirmation.
    pub confirm_within_s: u64,
    /// Error that prevents the return of the previous configuration.
    pub rollback_error: Option<String>,
}

/// Boot guard of `boot: closed`, as the daemon reports it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GateStatus {
    /// Interfaces from and to which nothing is forwarded.
    pub shut: Vec<String>,
    /// Whether the table is owned by the daemon, so that no other process can change it.
    pub owned: bool,
    /// Error that prevents the guard.
    pub error: Option<String>,
}

/// Boot guard of `boot: closed`, as found on the machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BootGate {
    /// Whether the guard's table exists; `None` if unknown.
    pub table: Option<bool>,
    /// Configured interfaces that no program judges now, or would judge once they appear.
    pub unjudged: Vec<String>,
}

/// Interface on the LAN side.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Interface {
    /// Name of the interface.
    pub name: String,
    /// Mode in which packets are judged; `None` if they are not.
    pub mode: Option<&'static str>,
    /// Whether the programs of both directions are attached to the interface.
    pub attached: bool,
    /// VLAN ids that are judged, 0 for untagged frames.
    pub vlans: Vec<u32>,
}

/// Packets of clients to DNS servers other than the site's resolvers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct OtherDns {
    /// Packets to port 53 of other servers.
    pub port_53: u64,
    /// Packets to port 853, DNS over TLS or QUIC.
    pub port_853: u64,
    /// Queries for names of known servers of DNS over HTTPS.
    pub https_names: u64,
}

/// Fill level of a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct MapUsage {
    /// Elements in the map.
    pub entries: u64,
    /// Capacity in elements.
    pub capacity: u64,
}
