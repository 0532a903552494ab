//! Defines a service as it is for a site: with the destinations and overrides of that site.

use ipnet::IpNet;

use crate::{catalogue::RuleId, config::Parts, pattern::Pattern, ports::Ports};

/// Service with the site's overrides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Id of the service.
    pub id: String,
    /// Title for people.
    pub title: String,
    /// Origin in the catalogue, the configuration, or both.
    pub origin: Origin,
    /// Traffic that the service opens beyond its purpose.
    pub risk: Option<String>,
    /// Rules of the service.
    pub rules: Vec<Rule>,
}

/// Origin of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// Catalogue alone.
    Catalogue,
    /// Catalogue, with overrides by the site.
    Overridden,
    /// Configuration of the site alone.
    Site,
}

/// One set of destinations and one set of ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Id of the rule with its service.
    pub id: RuleId,
    /// Name patterns of the destinations.
    pub fqdns: Vec<Pattern>,
    /// Prefixes of the destinations.
    pub cidrs: Vec<IpNet>,
    /// Ports.
    pub ports: Ports,
    /// Whether it is for the site to name its destinations.
    pub site_networks: bool,
    /// Rule whose destinations this rule has.
    pub(super) destinations_of: Option<RuleId>,
}

impl Rule {
    /// Returns the rule with which a group lets senders in, by its number.
    pub(super) fn inbound(group: &str, number: usize, from: &[IpNet], ports: &Ports) -> Self {
        Self {
            id: RuleId { service: format!("inbound@{group}"), rule: number.to_string() },
            fqdns: Vec::new(),
            cidrs: from.to_vec(),
            ports: ports.clone(),
            site_networks: false,
            destinations_of: None,
        }
    }

    /// Replaces the parts that the site names.
    pub(super) fn replace(&mut self, parts: &Parts) {
        if self.destinations_of.is_some() && (parts.fqdns.is_some() || parts.cidrs.is_some()) {
            self.destinations_of = None;
            self.fqdns.clear();
            self.cidrs.clear();
        }
        if let Some(fqdns) = &parts.fqdns {
            self.fqdns.clone_from(fqdns);
        }
        if let Some(cidrs) = &parts.cidrs {
            self.cidrs.clone_from(cidrs);
        }
        for (protocol, ports) in parts.ports.iter() {
            if let Some(ports) = ports {
                self.ports[protocol].clone_from(ports);
            }
        }
    }

    /// Whether the rule has any destination.
    #[must_use]
    pub const fn has_destinations(&self) -> bool {
        !self.fqdns.is_empty() || !self.cidrs.is_empty()
    }
}
