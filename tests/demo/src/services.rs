//! The services that the demo probes, and an opinion of its own on what they allow.

use std::{collections::BTreeSet, net::IpAddr};

use anyhow::{Context as _, Result, ensure};
use intune_filter::{
    catalogue::{Catalogue, Selector},
    pattern::{Form, Label, Pattern},
    ports::PortRange,
};
use intune_filter_ebpf::abi::TransportProtocol;
use ipnet::IpNet;
use serde_json::Value;

use intune_filter_tests::probe::Transport;

/// A service of the catalogue.
#[derive(Clone, Debug)]
pub struct Service {
    /// Its name in configurations.
    pub id: String,
    /// Its name for people.
    pub title: String,
    /// Rules of the service.
    pub rules: Vec<Rule>,
}

/// One set of destinations and one set of ports.
#[derive(Clone, Debug, Default)]
pub struct Rule {
    /// Names.
    pub fqdns: Vec<Pattern>,
    /// Networks.
    pub cidrs: Vec<IpNet>,
    /// TCP ports.
    pub tcp: Vec<PortRange>,
    /// UDP ports.
    pub udp: Vec<PortRange>,
}

/// Reads what `intune-filter endpoints list --json` prints. It tells ports by service; which of
/// them belong to which names is the catalogue's to say. Rules of retired names, of another cloud or
/// of values that the site has not given lead nowhere, and are left out with services that have no
/// other.
pub fn services(list: &Value) -> Result<Vec<Service>> {
    let catalogue = Catalogue::builtin();
    let listed = list.as_array().context("endpoints list prints no list")?;
    let mut services = Vec::new();
    for entry in listed {
        let id = entry["id"].as_str().context("a service without id")?;
        let title = entry["title"].as_str().context("a service without title")?;
        let service = catalogue.service(id).with_context(|| format!("{id} is in no catalogue"))?;
        let rules = service.rules.iter().map(|rule| {
            let destinations = catalogue.destinations(service, rule, &Selector::default());
            let mut cidrs = destinations.cidrs;
            if rule.site_networks {
                cidrs = serde_json::from_value(entry["cidrs"].clone())?;
            }
            let fqdns = destinations.fqdns;
            let [tcp, udp] = [TransportProtocol::Tcp, TransportProtocol::Udp]
                .map(|protocol| rule.ports[protocol].clone());
            Ok((Rule { fqdns, cidrs, tcp, udp }, rule.site_networks))
        });
        let rules: Vec<(Rule, bool)> =
            rules.collect::<Result<_>>().with_context(|| format!("the networks of {id}"))?;
        let leads = |(rule, of_site): (Rule, bool)| {
            (of_site || !rule.has_no_destinations()).then_some(rule)
        };
        let rules: Vec<Rule> = rules.into_iter().filter_map(leads).collect();
        if !rules.is_empty() {
            services.push(Service { id: id.to_owned(), title: title.to_owned(), rules });
        }
    }
    ensure!(services.len() * 10 >= listed.len() * 9, "most services have to lead somewhere");
    let ids: BTreeSet<&str> = listed.iter().filter_map(|entry| entry["id"].as_str()).collect();
    for service in catalogue.services() {
        ensure!(ids.contains(service.id.as_str()), "endpoints list does not list {}", service.id);
    }
    Ok(services)
}

impl Rule {
    /// Every port, or of a wide range its ends.
    #[must_use]
    pub fn ports(&self) -> Vec<(Transport, u16)> {
        const WIDE: usize = 8;
        let all = |transport, ranges: &[PortRange]| {
            let ports = ranges.iter().flat_map(|range| match range.ports().len() {
                0..=WIDE => range.ports().collect(),
                _ => vec![range.first(), range.last()],
            });
            ports.map(move |port| (transport, port)).collect::<Vec<_>>()
        };
        [all(Transport::Tcp, &self.tcp), all(Transport::Udp, &self.udp)].concat()
    }

    /// Whether there is nowhere to send a probe.
    #[must_use]
    pub const fn has_no_destinations(&self) -> bool {
        self.fqdns.is_empty() && self.cidrs.is_empty()
    }

    /// Whether the rule opens this port.
    #[must_use]
    pub fn opens(&self, transport: Transport, port: u16) -> bool {
        let ranges = match transport {
            Transport::Tcp => &self.tcp,
            Transport::Udp => &self.udp,
        };
        ranges.iter().any(|range| range.contains(port))
    }

    /// Whether the name is one of its destinations.
    #[must_use]
    pub fn names(&self, name: &str) -> bool {
        self.fqdns.iter().any(|pattern| pattern.matches(name))
    }

    /// Whether the address is in one of its networks.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.cidrs.iter().any(|network| network.contains(&address))
    }
}

/// Names that a pattern stands for: each kind that it has.
#[must_use]
pub fn samples(pattern: &Pattern) -> Vec<String> {
    let names = pattern.names();
    if let (Some(first), Some(last)) = (names.first(), names.last()) {
        return BTreeSet::from([first.clone(), last.clone()]).into_iter().collect();
    }
    let Form { below, labels } = pattern.form();
    if labels.is_empty() {
        // Of every name, one will do.
        return vec!["any.test".to_owned()];
    }
    let labels = labels.iter().map(|label| match label {
        Label::Exact(label) => (*label).to_owned(),
        Label::Glob { prefix, suffix } => format!("{prefix}7{suffix}"),
    });
    let name = labels.collect::<Vec<_>>().join(".");
    if below { vec![format!("lab.{name}"), format!("two.levels.{name}")] } else { vec![name] }
}
