//! Defines the JSON of `explain`.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// Result of `explain`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explained {
    /// Number of the contract, [`super::SCHEMA`].
    pub schema: u32,
    /// Verdict for the destination as a whole: a denial if the query or any address is denied.
    #[serde(flatten)]
    pub overall: Option<Verdict>,
    /// Policy that judged.
    pub judged: Judged,
    /// Name of the destination, or names that led to its address.
    pub name: Option<String>,
    /// Service that comes nearest to a denied destination.
    pub nearest: Option<Nearest>,
    /// Change of the configuration that would allow a denied destination.
    pub remedy: Option<Remedy>,
    /// Notes about the verdict and its sources, for people.
    pub notes: Vec<String>,
    /// Address of the client.
    pub client: IpAddr,
    /// Destination with port and protocol.
    pub destination: String,
    /// Edition of the catalogue that the configuration names.
    pub edition: String,
    /// Sources of the prefix or name that the verdict rests on.
    pub sources: Vec<String>,
    /// `kernel`, or `policy` if no program is loaded.
    pub judged_by: &'static str,
    /// Whether the destination's addresses are known.
    pub resolved: bool,
    /// Patterns that match the destination's name.
    pub patterns: Vec<PatternOf>,
    /// Verdict over the query for the destination's name, to a trusted resolver.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query: Option<Verdict>,
    /// Verdict for each address of the destination.
    pub addresses: Vec<Verdict>,
}

/// Policy that judges.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Judged {
    /// The one in force.
    InForce,
    /// That of a configuration file.
    File,
}

impl Judged {
    /// Returns what the policy is one of, for people.
    #[must_use]
    pub const fn of(self) -> &'static str {
        match self {
            Self::InForce => "in force",
            Self::File => "of the configuration file",
        }
    }
}

/// Service that comes nearest to a denied destination.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Nearest {
    /// Id of the service.
    pub service: String,
    /// Difference that denies: `disabled`, `other_port`, `one_label_off`, `retired in 2025-01`.
    pub why: String,
}

/// Change of the configuration that would allow a denied destination.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Remedy {
    /// Keys to change, as YAML: entries of lists are known by their `name` or `id`.
    pub yaml: String,
    /// Configuration with the change, as YAML that `check` accepts.
    pub configuration: String,
}

/// Verdict over one first packet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// `allow` or `deny`: what happens.
    pub verdict: &'static str,
    /// `allow` or `deny`: what would happen without audit and warm-up.
    pub policy_verdict: &'static str,
    /// Whether the packet passes only because of an audit or the warm-up.
    pub audited: bool,
    /// Reason of the verdict: [`intune_filter_ebpf::abi::Reason::as_str`]; of an audited packet, that of the
    /// denial that it was spared.
    pub reason: &'static str,
    /// Description of the reason.
    pub description: &'static str,
    /// Service of the rule.
    pub service: Option<String>,
    /// Id, with its service, of the rule that allows the packet, or is nearest to a denied one.
    pub rule: Option<String>,
    /// Group of the client.
    pub client_group: Option<String>,
    /// Ground of the verdict.
    pub matched: Option<MatchedBy>,
    /// Destination address; `None` if the name has none yet.
    pub address: Option<IpAddr>,
    /// Relation of the address to the name: `learned`, `answered` (the next answer teaches it), `refused` (no
    /// answer may teach it) or `cut` (in an answer, beyond what is read).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub teaching: Option<&'static str>,
    /// Verdict where the packet comes in, if it goes to another zone. The verdict above comes of both.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sent: Option<Side>,
    /// Verdict where it leaves, if it goes to another zone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arrives: Option<Side>,
}

/// Verdict of one of the two zones that a packet passes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Side {
    /// Interface, or `INTERFACE.VLAN`; `None` for the client's own.
    pub zone: Option<String>,
    /// `allow` or `deny`.
    pub verdict: &'static str,
    /// Whether the packet passes only because of an audit.
    pub audited: bool,
    /// Reason of the verdict.
    pub reason: &'static str,
    /// Description of the reason.
    pub description: &'static str,
    /// Id, with its service, of the rule that allows the packet, or is nearest to a denied one.
    pub rule: Option<String>,
    /// Group of the client on that side.
    pub client_group: Option<String>,
}

/// Ground of a verdict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MatchedBy {
    /// `cidr`, `name`, `flow` or `control`.
    pub kind: &'static str,
    /// Prefix, names, or built-in rule.
    pub value: Option<String>,
}

/// Pattern, with the service that has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PatternOf {
    /// Id of the service.
    pub id: String,
    /// Text of the pattern.
    pub pattern: String,
    /// Sources of the pattern: places in documents, or `this site`.
    pub sources: Vec<String>,
}
