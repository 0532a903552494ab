//! Defines the JSON of `endpoints list` and `match`.

use std::collections::BTreeSet;

use ipnet::IpNet;
use serde::Serialize;

use crate::{
    pattern::Pattern,
    ports::{PerProtocol, PortRange, Ports},
};

/// Service with the destinations and ports of all its rules: an element of `endpoints list`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Endpoints {
    /// Name patterns of all rules, each once.
    pub fqdns: BTreeSet<Pattern>,
    /// Prefixes of all rules, each once.
    pub cidrs: BTreeSet<IpNet>,
    /// Ports of all rules.
    #[serde(flatten)]
    pub ports: PerProtocol<BTreeSet<PortRange>>,
    /// The service.
    #[serde(flatten)]
    pub service: CatalogueService,
}

/// Service of the catalogue or of the site.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CatalogueService {
    /// Id of the service.
    pub id: String,
    /// Title for people.
    pub title: String,
    /// Source of the catalogue's entry, or `this site`.
    pub source: String,
    /// Whether a group may use the service; without a configuration, whether it is in the set
    /// `default`.
    pub enabled: bool,
    /// Region whose destinations are listed, or `all`.
    pub region: &'static str,
    /// Traffic that the service opens beyond its purpose.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub risk: Option<String>,
    /// Remarks of the source about the service.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// Rules of the service.
    pub rules: Vec<CatalogueRule>,
}

/// One set of destinations and one set of ports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CatalogueRule {
    /// Id of the rule with its service, `SERVICE/RULE`.
    pub id: String,
    /// Name patterns.
    pub fqdns: Vec<Pattern>,
    /// Prefixes.
    pub cidrs: Vec<IpNet>,
    /// Ports.
    #[serde(flatten)]
    pub ports: Ports,
}

/// Result of `match`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Matches {
    /// Number of the contract, [`super::SCHEMA`].
    pub schema: u32,
    /// Name that was asked for.
    pub name: String,
    /// Matching patterns, by service.
    pub services: Vec<Match>,
}

/// Pattern of a service, with the ports of those rules alone that have the pattern.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Match {
    /// Id of the service.
    pub id: String,
    /// Pattern that matches.
    pub pattern: Pattern,
    /// Ports.
    #[serde(flatten)]
    pub ports: PerProtocol<BTreeSet<PortRange>>,
    /// The rules' full ids.
    pub rules: Vec<String>,
}
