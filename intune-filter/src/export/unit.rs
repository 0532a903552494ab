//! Joins the rules of a service that have the same ports.

use intune_filter_ebpf::abi::TransportProtocol;
use ipnet::IpNet;

use crate::{
    pattern::Pattern,
    policy::hexadecimal,
    ports::{self, Ports},
    report::CatalogueService,
};

/// Digits of a digest that tell long ids apart.
const DIGITS: usize = 8;

/// Destinations of a service on one set of ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    /// Id of the service.
    pub service: String,
    /// Title of the service.
    pub title: String,
    /// Sources of the service, for people.
    pub source: String,
    /// Ports.
    pub ports: Ports,
    /// Names and patterns, each once, in order.
    pub names: Vec<Pattern>,
    /// Prefixes, each once, in order.
    pub networks: Vec<IpNet>,
}

impl Unit {
    /// Returns the ports for people: `tcp 80, 443; udp 123`.
    #[must_use]
    pub fn ports(&self) -> String {
        ports::text(&self.ports)
    }

    /// Returns an id of letters, digits and hyphens: the service and its ports.
    #[must_use]
    pub fn id(&self) -> String {
        let ports: String =
            self.ports().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        let ports: Vec<&str> = ports.split('-').filter(|part| !part.is_empty()).collect();
        format!("{}-{}", self.service, ports.join("-"))
    }

    /// Returns the id within a length: a longer one ends with a part of its SHA-256.
    #[must_use]
    pub fn id_within(&self, length: usize) -> String {
        let id = self.id();
        if id.len() <= length {
            return id;
        }
        let tail: String = hexadecimal(id.as_bytes()).chars().take(DIGITS).collect();
        let kept: String = id.chars().take(length.saturating_sub(DIGITS + 1)).collect();
        format!("{}-{tail}", kept.trim_end_matches('-'))
    }
}

/// Joins the rules of services that have the same ports; rules without destinations have none.
#[must_use]
pub fn units(services: &[CatalogueService]) -> Vec<Unit> {
    let mut units: Vec<Unit> = Vec::new();
    for service in services {
        for rule in &service.rules {
            if rule.fqdns.is_empty() && rule.cidrs.is_empty() {
                continue;
            }
            let mut ports = rule.ports.clone();
            for protocol in TransportProtocol::ALL {
                ports[protocol].sort_unstable();
                ports[protocol].dedup();
            }
            let is_same = |unit: &&mut Unit| unit.service == service.id && unit.ports == ports;
            let (names, networks) = (rule.fqdns.iter().cloned(), rule.cidrs.iter().copied());
            if let Some(unit) = units.iter_mut().find(is_same) {
                unit.names.extend(names);
                unit.networks.extend(networks);
            } else {
                units.push(Unit {
                    service: service.id.clone(),
                    title: service.title.clone(),
                    source: service.source.clone(),
                    ports,
                    names: names.collect(),
                    networks: networks.collect(),
                });
            }
        }
    }
    for unit in &mut units {
        unit.names.sort_unstable();
        unit.names.dedup();
        unit.networks.sort_unstable();
        unit.networks.dedup();
    }
    units
}
