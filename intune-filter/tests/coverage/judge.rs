//! Judges what an edition lets a site reach, through the catalogue itself.

use std::collections::BTreeMap;

use intune_filter::{
    catalogue::{Catalogue, Destinations, Selector, Service},
    pattern::Pattern,
    ports::PortRange,
};
use intune_filter_ebpf::abi::TransportProtocol;
use ipnet::IpNet;

use crate::fixtures::Ports;

/// What services reach under one selector.
pub struct Reach<'a> {
    rules: Vec<(&'a str, Destinations, &'a intune_filter::ports::Ports)>,
}

/// Services that cover a row, and the ports that none covers.
pub struct Coverage<'a> {
    /// Ports that a service covers, by the service.
    pub by: BTreeMap<&'a str, Ports>,
    /// Ports that no service covers.
    pub left: Ports,
}

impl Coverage<'_> {
    pub fn is_full(&self) -> bool {
        !self.by.is_empty() && self.left.is_unsaid()
    }
}

impl<'a> Reach<'a> {
    pub fn of(
        catalogue: &'a Catalogue,
        services: impl IntoIterator<Item = &'a Service>,
        selector: &Selector,
    ) -> Self {
        let rules = services.into_iter().flat_map(|service| {
            service.rules.iter().map(move |rule| {
                let to = catalogue.destinations(service, rule, selector);
                (service.id.as_str(), to, &rule.ports)
            })
        });
        Self { rules: rules.collect() }
    }

    /// Returns who covers an address on which ports.
    pub fn cover(&self, address: &str, wanted: &Ports) -> Coverage<'a> {
        let samples = Samples::of(address);
        let mut by = BTreeMap::<&str, Ports>::new();
        for (service, to, ports) in &self.rules {
            if !samples.are_in(to) {
                continue;
            }
            let tcp = &ports[TransportProtocol::Tcp];
            let udp = &ports[TransportProtocol::Udp];
            let unsaid = wanted.is_unsaid();
            let mut add = |wanted: &[PortRange], have: &[PortRange], udp: bool| {
                let hit = wanted.iter().filter(|range| is_within(**range, have)).copied();
                let hit: Vec<PortRange> = if unsaid { have.to_vec() } else { hit.collect() };
                if !hit.is_empty() {
                    let entry = by.entry(service).or_default();
                    let list = if udp { &mut entry.udp } else { &mut entry.tcp };
                    list.extend(
                        hit.into_iter().filter(|range| !list.contains(range)).collect::<Vec<_>>(),
                    );
                }
            };
            add(&wanted.tcp, tcp, false);
            add(&wanted.udp, udp, true);
        }
        let left = |wanted: &[PortRange], of: fn(&Ports) -> &Vec<PortRange>| {
            let is_left = |range: &&PortRange| !by.values().any(|ports| of(ports).contains(*range));
            wanted.iter().filter(is_left).copied().collect()
        };
        let left = Ports {
            tcp: left(&wanted.tcp, |ports| &ports.tcp),
            udp: left(&wanted.udp, |ports| &ports.udp),
            any: wanted.any,
        };
        Coverage { by, left }
    }
}

/// Whether one of the ranges has the whole range.
pub fn is_within(range: PortRange, ranges: &[PortRange]) -> bool {
    ranges.iter().any(|one| one.first() <= range.first() && range.last() <= one.last())
}

/// Addresses that stand for a row: those in its prefix, or names that its pattern matches.
enum Samples {
    Prefix(IpNet),
    Names(Vec<String>),
    /// The row has no address.
    None,
}

impl Samples {
    fn of(address: &str) -> Self {
        if let Ok(prefix) = address.parse() {
            return Self::Prefix(prefix);
        }
        if let Ok(address) = address.parse::<std::net::IpAddr>() {
            return Self::Prefix(address.into());
        }
        let filled = fill(address);
        if filled.parse::<Pattern>().is_err() {
            return Self::None;
        }
        let names = match filled.strip_prefix("*.") {
            // A wildcard is covered by what has the names one label below it and two.
            Some(parent) => vec![format!("probe.{parent}"), format!("a.probe.{parent}")],
            None if filled.contains('*') => {
                vec![filled.replace('*', "probe"), filled.replace('*', "7")]
            }
            None => vec![filled.replace('#', "0"), filled.replace('#', "50")],
        };
        Self::Names(names)
    }

    fn are_in(&self, to: &Destinations) -> bool {
        match self {
            Self::Prefix(prefix) => to.cidrs.iter().any(|cidr| cidr.contains(prefix)),
            Self::Names(names) => {
                names.iter().all(|name| to.fqdns.iter().any(|pattern| pattern.matches(name)))
            }
            Self::None => false,
        }
    }
}

/// Domain and country of the site that the tests stand for.
pub const DOMAIN: &str = "contoso.example";
pub const COUNTRY: &str = "co.uk";

/// Replaces the variables of a site.
pub fn fill(address: &str) -> String {
    address.replace("{domain}", DOMAIN).replace("{country}", COUNTRY)
}
