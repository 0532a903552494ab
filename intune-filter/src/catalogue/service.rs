//! Defines the contents of a catalogue: services, rules and their ids.

use std::{fmt, str::FromStr};

use super::{Datum, Provenance, Sni};
use crate::ports::Ports;

/// Name of the set of services that are on by default.
pub const DEFAULT_SET: &str = "default";

/// Name of the set of all services.
pub const ALL_SET: &str = "all";

/// Service that a site may let its clients reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Id in configurations: lower-case letters, digits and hyphens.
    pub id: String,
    /// Title for people.
    pub title: String,
    /// Other names of the service in configurations; one that several services have is all of them.
    pub aliases: Vec<String>,
    /// Traffic that the service opens beyond its purpose: shared addresses, over-broad wildcards.
    pub risk: Option<String>,
    /// Remarks of the sources, or of this catalogue.
    pub notes: Vec<String>,
    /// Rules of the service.
    pub rules: Vec<Rule>,
}

/// One set of destinations and one set of ports, with a bit of its own in the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Id of the rule within its service.
    pub id: String,
    /// Ids that the rule had in earlier editions.
    pub aliases: Vec<RuleId>,
    /// Provenance of the rule, and of its data where they have none of their own.
    pub from: Option<Provenance>,
    /// Destinations of the rule's own.
    pub to: Vec<Datum>,
    /// Rule whose destinations this rule has, instead of its own.
    pub destinations_of: Option<RuleId>,
    /// Whether the destinations are the site's own networks, which only the site can name.
    pub site_networks: bool,
    /// Whether flows have to say their server's name.
    pub sni: Sni,
    /// Ports.
    pub ports: Ports,
}

impl Service {
    /// Returns the rule with an id within the service.
    #[must_use]
    pub fn rule(&self, id: &str) -> Option<&Rule> {
        self.rules.iter().find(|rule| rule.id == id)
    }

    /// Returns the id of one of the service's rules, with the service.
    #[must_use]
    pub fn rule_id(&self, rule: &Rule) -> RuleId {
        RuleId { service: self.id.clone(), rule: rule.id.clone() }
    }

    /// Whether configurations name the service so.
    #[must_use]
    pub fn is_named(&self, name: &str) -> bool {
        self.id == name || self.aliases.iter().any(|alias| alias == name)
    }

    /// Returns every place in the documents that the service was made from, each once, in the order
    /// of its rules.
    #[must_use]
    pub fn provenance(&self) -> Vec<&Provenance> {
        let mut places = Vec::new();
        for rule in &self.rules {
            for place in rule.from.iter().chain(rule.to.iter().map(|datum| &datum.from)) {
                if !places.contains(&place) {
                    places.push(place);
                }
            }
        }
        places
    }
}

/// Id of a rule with its service, `SERVICE/RULE`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RuleId {
    /// Id of the service.
    pub service: String,
    /// Id of the rule within the service.
    pub rule: String,
}

impl FromStr for RuleId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('/') {
            Some((service, rule)) if !service.is_empty() && !rule.is_empty() => {
                Ok(Self { service: service.to_owned(), rule: rule.to_owned() })
            }
            _ => Err(format!("bad rule {text:?}, expected SERVICE/RULE")),
        }
    }
}

impl fmt::Display for RuleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.service, self.rule)
    }
}
