//! `explain`.

use std::net::IpAddr;

use serde::Serialize;

/// Result of `explain`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explained {
    /// [`super::SCHEMA`].
    pub schema: u32,
    /// The verdict that counts.
    #[serde(flatten)]
    pub overall: Option<Verdict>,
    /// The client.
    pub client: IpAddr,
    /// Where it wants to go.
    pub destination: String,
    /// `kernel`, or `policy` where nothing is loaded.
    pub judged_by: &'static str,
    /// Whether the destination's addresses are known.
    pub resolved: bool,
    /// Patterns that match the destination's name.
    pub patterns: Vec<PatternOf>,
    /// The verdict for each address of the destination.
    pub addresses: Vec<Verdict>,
}

/// A verdict over one first packet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// `allow` or `deny`.
    pub verdict: &'static str,
    /// [`intune_filter_ebpf::abi::Reason::as_str`].
    pub reason: &'static str,
    /// The reason in words.
    pub description: &'static str,
    /// The service of the rule.
    pub service: Option<String>,
    /// The full id of the rule that allows it or, of a denied one, is nearest.
    pub rule: Option<String>,
    /// The client's group.
    pub client_group: Option<String>,
    /// What it rests on.
    pub matched: Option<MatchedBy>,
    /// The address; `None` if the name has none yet.
    pub address: Option<IpAddr>,
}

/// What a verdict rests on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MatchedBy {
    /// `cidr`, `name`, `flow` or `control`.
    pub kind: &'static str,
    /// The network, the names, or the built-in rule.
    pub value: Option<String>,
}

/// A pattern, and the service that has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PatternOf {
    /// The service's id.
    pub id: String,
    /// The pattern.
    pub pattern: String,
}
