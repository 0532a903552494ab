//! `endpoints list` and `match`.

use std::collections::BTreeSet;

use ipnet::IpNet;
use serde::Serialize;

use crate::{
    pattern::Pattern,
    ports::{PerProtocol, PortRange, Ports},
};

/// A service with the destinations and ports of all its rules: an element of `endpoints list`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Endpoints {
    /// Names of all rules, each once.
    pub fqdns: BTreeSet<Pattern>,
    /// Networks of all rules, each once.
    pub cidrs: BTreeSet<IpNet>,
    /// Ports of all rules.
    #[serde(flatten)]
    pub ports: PerProtocol<BTreeSet<PortRange>>,
    /// The service.
    #[serde(flatten)]
    pub service: CatalogueService,
}

/// A service of the catalogue or of the site.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CatalogueService {
    /// Its id.
    pub id: String,
    /// Its name for people.
    pub title: String,
    /// Where it comes from.
    pub source: String,
    /// Whether a group may use it; without a configuration, whether it is in the set `default`.
    pub enabled: bool,
    /// The region whose destinations are listed, or `all`.
    pub region: &'static str,
    /// What it opens beyond its purpose.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub risk: Option<String>,
    /// What its source has to say about it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// What it consists of.
    pub rules: Vec<CatalogueRule>,
}

/// One set of destinations and one set of ports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CatalogueRule {
    /// Its full id, `SERVICE/RULE`.
    pub id: String,
    /// Names.
    pub fqdns: Vec<Pattern>,
    /// Networks.
    pub cidrs: Vec<IpNet>,
    /// Ports.
    #[serde(flatten)]
    pub ports: Ports,
}

/// Result of `match`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Matches {
    /// [`super::SCHEMA`].
    pub schema: u32,
    /// The name that was asked for.
    pub name: String,
    /// Patterns that match, by service.
    pub services: Vec<Match>,
}

/// A pattern of a service, with the ports of the rules that it stands in: no other rule's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Match {
    /// The service's id.
    pub id: String,
    /// The pattern.
    pub pattern: Pattern,
    /// Ports.
    #[serde(flatten)]
    pub ports: PerProtocol<BTreeSet<PortRange>>,
    /// The rules' full ids.
    pub rules: Vec<String>,
}
