//! Compares two editions of the catalogue by their names and prefixes, and their ports.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::port_sets::PortSet;
use crate::{
    catalogue::{Address, Catalogue, Status},
    ports::PerProtocol,
};

/// Difference between two editions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EditionDifference {
    /// Name of the one edition.
    pub from: String,
    /// Name of the other.
    pub to: String,
    /// Names and prefixes that the other alone has.
    pub came: Vec<Changed>,
    /// Names and prefixes that the one alone has.
    pub went: Vec<Changed>,
    /// Names and prefixes of both, with other ports.
    pub changed: Vec<Changed>,
}

/// Name, pattern or prefix with its ports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Changed {
    /// Name, pattern, template or prefix.
    pub address: String,
    /// Services that have it.
    pub services: Vec<String>,
    /// Ports, of the other edition if both have it.
    #[serde(flatten)]
    pub ports: PerProtocol<Vec<String>>,
    /// Ports in the one edition, if they are others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<PerProtocol<Vec<String>>>,
    /// Whether the other edition has it as legacy or observed, which is off by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
    /// What the documents have in its place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replaced_by: Option<String>,
}

/// Services and ports of one address.
#[derive(Default)]
struct Reach<'a> {
    services: BTreeSet<&'a str>,
    ports: PerProtocol<PortSet>,
}

/// Returns what came, went and changed from one edition to another, of what is on by default.
#[must_use]
pub fn edition_difference(from: &Catalogue, to: &Catalogue) -> EditionDifference {
    let (before, after) = (reach(from), reach(to));
    let mut found = EditionDifference {
        from: from.edition().name.clone(),
        to: to.edition().name.clone(),
        came: Vec::new(),
        went: Vec::new(),
        changed: Vec::new(),
    };
    for (address, now) in &after {
        let changed = now.told(address);
        match before.get(address) {
            None => found.came.push(changed),
            Some(then) if then.ports != now.ports => {
                let before = Some(then.ports.map(PortSet::to_texts));
                found.changed.push(Changed { before, ..changed });
            }
            Some(_) => {}
        }
    }
    let off = off(to);
    for (address, then) in before.iter().filter(|(address, _)| !after.contains_key(*address)) {
        let (status, replaced_by) = off.get(address).cloned().unzip();
        let replaced_by = replaced_by.flatten();
        found.went.push(Changed { status, replaced_by, ..then.told(address) });
    }
    found
}

impl Reach<'_> {
    fn told(&self, address: &Address) -> Changed {
        Changed {
            address: address.to_string(),
            services: self.services.iter().map(|id| (*id).to_owned()).collect(),
            ports: self.ports.map(PortSet::to_texts),
            before: None,
            status: None,
            replaced_by: None,
        }
    }
}

/// Returns every address that is on by default for some site.
fn reach(catalogue: &Catalogue) -> BTreeMap<Address, Reach<'_>> {
    let mut all: BTreeMap<Address, Reach<'_>> = BTreeMap::new();
    for service in catalogue.services() {
        for rule in &service.rules {
            let data = catalogue.data(rule).iter();
            for datum in data.filter(|datum| datum.status == Status::Current) {
                let reach = all.entry(datum.address.clone()).or_default();
                reach.services.insert(&service.id);
                for (protocol, ranges) in rule.ports.iter() {
                    reach.ports[protocol].add(&PortSet::of(ranges));
                }
            }
        }
    }
    all
}

/// Returns every address that is off by default, with its status and what replaces it.
fn off(catalogue: &Catalogue) -> BTreeMap<Address, (Status, Option<String>)> {
    let rules = catalogue.services().iter().flat_map(|service| &service.rules);
    let data = rules.flat_map(|rule| &rule.to).filter(|datum| datum.status != Status::Current);
    data.map(|datum| (datum.address.clone(), (datum.status, datum.replaced_by.clone()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edition(name: &str, rules: &str) -> Catalogue {
        let edition = format!(
            "format: 2\nedition: {name}\nsources: {{doc: {{title: Document, date: 2026-08-21}}}}\n"
        );
        let services = format!("format: 2\nservices:\n  - {{id: a, title: A, rules: [{rules}]}}\n");
        Catalogue::parse([("edition.yaml", &*edition), ("a.yaml", &*services)]).unwrap()
    }

    #[test]
    fn what_came_went_and_changed_is_told_by_address() {
        let rule = |id: &str, ports: &str, to: &str| {
            format!("{{id: {id}, tcp: {ports}, from: doc, to: [{to}]}}")
        };
        let old =
            rule("one", "[80, 443]", "same.example, port.example, gone.example, 192.0.2.0/24")
                + ", "
                + &rule("two", "[8443]", "dead.example");
        let new = rule("one", "[443, 80]", "same.example, '{domain}.example'")
            + ", "
            + &rule("narrow", "[443]", "port.example, 192.0.2.0/24")
            + ", "
            + &rule("wide", "['8000-8009', 80]", "192.0.2.0/24")
            + ", {id: old, tcp: [8443], from: doc, to: \
               [{fqdn: dead.example, status: legacy, replaced_by: new.example}]}";
        let (old, new) = (edition("old", &old), edition("new", &new));
        let found = edition_difference(&old, &new);
        let told = |list: &[Changed]| -> Vec<String> {
            let line = |one: &Changed| {
                let tcp = |ports: &PerProtocol<Vec<String>>| {
                    ports.iter().flat_map(|(_, ports)| ports.clone()).collect::<Vec<_>>().join(" ")
                };
                let before = one
                    .before
                    .as_ref()
                    .map_or(String::new(), |ports| format!(" was {}", tcp(ports)));
                let status = one.status.map_or(String::new(), |status| format!(" {status}"));
                let by = one.replaced_by.as_deref().unwrap_or("");
                format!("{} {}{before}{status}{by}", one.address, tcp(&one.ports))
            };
            list.iter().map(line).collect()
        };
        assert_eq!(told(&found.came), ["{domain}.example 80 443"]);
        assert_eq!(
            told(&found.went),
            ["dead.example 8443 legacynew.example", "gone.example 80 443"]
        );
        assert_eq!(
            told(&found.changed),
            ["port.example 443 was 80 443", "192.0.2.0/24 80 443 8000-8009 was 80 443"]
        );
        let same = edition_difference(&new, &new);
        assert!(same.came.is_empty() && same.went.is_empty() && same.changed.is_empty());
    }
}
