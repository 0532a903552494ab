//! Defines the JSON of `explain`.

use std::net::IpAddr;

use serde::Serialize;

/// Result of `explain`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explained {
    /// Number of the contract, [`super::SCHEMA`].
    pub schema: u32,
    /// Verdict for the destination as a whole: a denial if any address is denied.
    #[serde(flatten)]
    pub overall: Option<Verdict>,
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
    /// Verdict for each address of the destination.
    pub addresses: Vec<Verdict>,
}

/// Verdict over one first packet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// `allow` or `deny`.
    pub verdict: &'static str,
    /// Reason of the verdict: [`intune_filter_ebpf::abi::Reason::as_str`].
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
