//! The services as commands show them: this site's, or without a configuration the whole
//! catalogue's of all regions.

use std::collections::BTreeSet;

use ipnet::IpNet;
use serde::Serialize;

use super::error::Failure;
use crate::{
    catalogue::{Catalogue, DEFAULT_SET, Selector},
    config::Config,
    pattern::Pattern,
    policy::Services,
    ports::PortRange,
};

/// A service.
#[derive(Clone, Debug, Serialize)]
pub struct Service {
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
    pub rules: Vec<Rule>,
}

/// One set of destinations and one set of ports.
#[derive(Clone, Debug, Serialize)]
pub struct Rule {
    /// Its full id, `SERVICE/RULE`.
    pub id: String,
    /// Names.
    pub fqdns: Vec<Pattern>,
    /// Networks.
    pub cidrs: Vec<IpNet>,
    /// TCP ports.
    pub tcp: Vec<PortRange>,
    /// UDP ports.
    pub udp: Vec<PortRange>,
}

impl Service {
    /// Every pattern of its rules, each once.
    #[must_use]
    pub fn fqdns(&self) -> BTreeSet<&Pattern> {
        self.rules.iter().flat_map(|rule| &rule.fqdns).collect()
    }

    /// Every network of its rules, each once.
    #[must_use]
    pub fn cidrs(&self) -> BTreeSet<IpNet> {
        self.rules.iter().flat_map(|rule| rule.cidrs.iter().copied()).collect()
    }

    /// The TCP ports of its rules.
    #[must_use]
    pub fn tcp(&self) -> BTreeSet<PortRange> {
        self.rules.iter().flat_map(|rule| rule.tcp.iter().copied()).collect()
    }

    /// The UDP ports of its rules.
    #[must_use]
    pub fn udp(&self) -> BTreeSet<PortRange> {
        self.rules.iter().flat_map(|rule| rule.udp.iter().copied()).collect()
    }
}

/// The services of a configuration, or without one of the catalogue.
pub fn services(config: Option<&Config>, catalogue: &Catalogue) -> Result<Vec<Service>, Failure> {
    match config {
        Some(config) => of_site(config, catalogue),
        None => Ok(of_catalogue(catalogue)),
    }
}

fn of_catalogue(catalogue: &Catalogue) -> Vec<Service> {
    catalogue
        .services()
        .iter()
        .map(|service| Service {
            id: service.id.clone(),
            title: service.title.clone(),
            source: service.source.to_string(),
            enabled: service.is_in(DEFAULT_SET),
            region: "all",
            risk: service.risk.clone(),
            notes: service.notes.clone(),
            rules: service
                .rules
                .iter()
                .map(|rule| {
                    let destinations = catalogue.destinations(rule, &Selector::All);
                    Rule {
                        id: service.rule_id(rule).to_string(),
                        fqdns: destinations.fqdns.into_iter().cloned().collect(),
                        cidrs: destinations.cidrs.into_iter().copied().collect(),
                        tcp: rule.tcp.clone(),
                        udp: rule.udp.clone(),
                    }
                })
                .collect(),
        })
        .collect()
}

fn of_site(config: &Config, catalogue: &Catalogue) -> Result<Vec<Service>, Failure> {
    let (services, errors) = Services::of(config, catalogue);
    if !errors.is_empty() {
        return Err(config.errors(errors).into());
    }
    let enabled: BTreeSet<&str> = config
        .clients
        .iter()
        .flat_map(|group| &group.services)
        .filter_map(|name| services.resolve(name))
        .flat_map(|(services, _)| services)
        .map(|service| service.id.as_str())
        .collect();
    let region = config
        .tenant
        .as_deref()
        .and_then(|tenant| catalogue.tenant(tenant))
        .and_then(|selector| selector.region())
        .map(crate::catalogue::Region::as_str)
        .or_else(|| config.region.map(crate::config::Region::as_str))
        .unwrap_or("all");
    let listed = services.all().iter().map(|service| {
        let origin = catalogue.service(&service.id);
        Service {
            id: service.id.clone(),
            title: service.title.clone(),
            source: origin.map_or("this site".to_owned(), |origin| origin.source.to_string()),
            enabled: enabled.contains(service.id.as_str()),
            region,
            risk: service.risk.clone(),
            notes: origin.map(|origin| origin.notes.clone()).unwrap_or_default(),
            rules: service
                .rules
                .iter()
                .map(|rule| Rule {
                    id: rule.id.to_string(),
                    fqdns: rule.fqdns.clone(),
                    cidrs: rule.cidrs.clone(),
                    tcp: rule.tcp.clone(),
                    udp: rule.udp.clone(),
                })
                .collect(),
        }
    });
    Ok(listed.collect())
}

/// Ports as a list for people: `tcp 80, 443; udp 123`.
#[must_use]
pub fn ports(tcp: &BTreeSet<PortRange>, udp: &BTreeSet<PortRange>) -> String {
    [("tcp", tcp), ("udp", udp)]
        .into_iter()
        .filter(|(_, ports)| !ports.is_empty())
        .map(|(protocol, ports)| {
            let ports: Vec<String> = ports.iter().map(ToString::to_string).collect();
            format!("{protocol} {}", ports.join(", "))
        })
        .collect::<Vec<_>>()
        .join("; ")
}
