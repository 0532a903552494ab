//! Defines and reads the treatment of packets to a client that answer nothing: a word, or rules.

use std::collections::BTreeSet;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::{
    ports::{Ports, protocols},
    yaml::{Fields, Findings, Place, Read, is_list, word},
};

/// Treatment of packets to a client that belong to no flow of the client's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Inbound {
    /// Denied.
    #[default]
    Deny,
    /// Passed, whoever sends them.
    Allow,
    /// Passed if a rule lets them in.
    #[serde(untagged)]
    Rules(Vec<InboundRule>),
}

impl Inbound {
    /// Returns the rules; none for a word.
    #[must_use]
    pub fn rules(&self) -> &[InboundRule] {
        match self {
            Self::Deny | Self::Allow => &[],
            Self::Rules(rules) => rules,
        }
    }
}

impl InboundRule {
    /// Whether the rule lets in what another one does, in whatever order both say it.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        let services = |rule: &Self| rule.services.iter().cloned().collect::<BTreeSet<_>>();
        let from = |rule: &Self| rule.from.iter().copied().collect::<BTreeSet<_>>();
        services(self) == services(other) && from(self) == from(other) && self.ports == other.ports
    }

    /// Whether hosts anywhere may send, by a prefix of everything.
    #[must_use]
    pub fn is_for_everyone(&self) -> bool {
        self.from.iter().any(|net| net.prefix_len() == 0)
    }
}

/// Senders, and the ports that they reach at a client.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InboundRule {
    /// Services and sets of services: their destinations may send, to the services' ports.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<String>,
    /// Prefixes that may send, to `ports`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub from: Vec<IpNet>,
    /// Ports of the client.
    #[serde(flatten)]
    pub ports: Ports,
}

impl Read for Inbound {
    fn read(place: Place<'_>, findings: &mut Findings) -> Option<Self> {
        match word(place) {
            Some("deny") => return Some(Self::Deny),
            Some("allow") => return Some(Self::Allow),
            Some(_) => {}
            None if is_list(place) => return Vec::read(place, findings).map(Self::Rules),
            None => {}
        }
        findings.expected(
            place,
            "deny or allow, or a list of {services: [...]} or {from: [...], tcp: [...]}",
        )
    }
}

impl Read for InboundRule {
    fn read(place: Place<'_>, findings: &mut Findings) -> Option<Self> {
        let mut fields = Fields::open(place, findings)?;
        let rule = Self {
            services: fields.or("services", Vec::new()),
            from: fields.or("from", Vec::new()),
            ports: fields.ports().map(|ports| ports.clone().unwrap_or_default()),
        };
        // By the keys: a value that was refused has its error already.
        let ports = protocols(" or ");
        let has_ports = rule.ports.iter().any(|(protocol, _)| fields.has(protocol.as_str()));
        let wrong = match (fields.has("services"), fields.has("from")) {
            (false, false) => Some("nobody may send, expected services or from".to_owned()),
            (true, true) => Some("both services and from, expected one of them".to_owned()),
            (true, false) if has_ports => {
                Some(format!("a service has its own ports, expected no {ports}"))
            }
            (false, true) if !has_ports => {
                Some(format!("no port of the clients, expected at least one under {ports}"))
            }
            _ => None,
        };
        if let Some(wrong) = wrong {
            fields.findings.report(place, wrong);
        }
        fields.close();
        Some(rule)
    }
}
