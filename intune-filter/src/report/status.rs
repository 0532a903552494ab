//! `status`.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{FailedInterface, Origin};
use crate::names::resolution::Status as Resolution;

/// Result of `status`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Status {
    /// [`super::SCHEMA`].
    pub schema: u32,
    /// The daemon.
    pub daemon: Daemon,
    /// What is not as it should be, by the daemon's word.
    pub problems: Vec<Problem>,
    /// Which configuration is in force, by the daemon's word.
    pub configuration: Option<ConfigurationStatus>,
    /// Whether a policy is in force and some interface is attached.
    pub enforcing: bool,
    /// Generation of the policy in force.
    pub generation: u32,
    /// Seconds that are left of the warm-up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warm_up_s_left: Option<u64>,
    /// Interfaces that are configured, have a link or have a zone.
    pub interfaces: Vec<Interface>,
    /// Packets by reason.
    pub counters: BTreeMap<&'static str, u64>,
    /// DNS past the site's resolvers.
    pub other_dns: OtherDns,
    /// How full the maps are.
    pub maps: BTreeMap<String, MapUsage>,
    /// What does not go on without a daemon.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub waiting: Vec<&'static str>,
    /// The gate of `boot: closed`, as the machine shows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gate: Option<BootGate>,
}

/// The daemon, as a command finds it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Daemon {
    /// Whether one listens.
    pub running: bool,
    /// Its process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<i32>,
    /// What it tells of itself.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub details: Option<Box<DaemonStatus>>,
}

/// What a daemon tells of itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DaemonStatus {
    /// Whether it has started.
    pub ready: bool,
    /// What is not as it should be.
    pub problems: Vec<Problem>,
    /// How many names it knows.
    pub names: usize,
    /// Configured interfaces that do not exist.
    pub missing_interfaces: Vec<String>,
    /// Interfaces that exist and could not be attached to.
    pub failed_interfaces: Vec<FailedInterface>,
    /// Live flows that gave way to others.
    pub flows_evicted: u64,
    /// The configuration in force.
    pub configuration: ConfigurationStatus,
    /// The gate of `boot: closed`; `None` if that is not configured.
    pub gate: Option<GateStatus>,
    /// Exact names that it resolves itself.
    pub resolution: Resolution,
}

/// A problem. Words are texts: a daemon of another release may have more of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Its word, such as `reload_refused`.
    pub code: String,
    /// When it began.
    pub since: Timestamp,
    /// What is wrong, in lines.
    pub text: String,
}

/// The configuration in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigurationStatus {
    /// The file that it was read from.
    pub file: String,
    /// Digest of what it comes to.
    pub digest: String,
    /// Whether that is the configuration file.
    pub origin: Origin,
    /// Whether the configuration file says otherwise.
    pub overrides_file: bool,
    /// How the last reload went.
    pub reload: Option<LastReload>,
    /// The confirmation that it waits for.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<Waiting>,
}

/// How a reload went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastReload {
    /// When it was.
    pub at: Timestamp,
    /// What became of it.
    pub result: ReloadResult,
    /// What is wrong with the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What became of a reload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReloadResult {
    /// The file is in force.
    InForce,
    /// It comes to what was in force already.
    Unchanged,
    /// It cannot be used.
    Refused,
}

/// A confirmation that is waited for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// Seconds that are left.
    pub confirm_within_s: u64,
    /// Why the configuration before cannot be put back.
    pub rollback_error: Option<String>,
}

/// The gate of `boot: closed`, by the daemon's word.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GateStatus {
    /// Interfaces from and to which nothing is forwarded.
    pub shut: Vec<String>,
    /// Whether nobody else can change it.
    pub owned: bool,
    /// Why it is not kept.
    pub error: Option<String>,
}

/// The gate of `boot: closed`, as the machine shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BootGate {
    /// Whether its table is there; `None` if that cannot be told.
    pub table: Option<bool>,
    /// The configured interfaces that nothing judges now, or would as soon as they appear.
    pub unjudged: Vec<String>,
}

/// An interface on the LAN side.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Where packets from clients are judged; `None` if they are not.
    pub mode: Option<&'static str>,
    /// Whether both programs are on the interface as it is now.
    pub attached: bool,
    /// The VLAN ids that are judged, 0 for untagged frames.
    pub vlans: Vec<u32>,
}

/// Packets by which clients have tried to ask for names past the site's resolvers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct OtherDns {
    /// To others, on port 53.
    pub port_53: u64,
    /// Over TLS or QUIC, on port 853.
    pub port_853: u64,
    /// Queries for names of known servers of DNS over HTTPS.
    pub https_names: u64,
}

/// How full a map is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct MapUsage {
    /// Its elements.
    pub entries: u64,
    /// How many it has room for.
    pub capacity: u64,
}
