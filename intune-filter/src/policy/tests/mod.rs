//! Tests the policy compiler by hand-made tables, and by random configurations against a model that
//! reads them directly.

mod editions;
mod groups;
mod maps;
mod matcher;
mod model;
mod names;
mod port_classes;
mod services;
mod summary;

use intune_filter_ebpf::abi::RuleMask;

use super::{Policy, RuleBits, compile};
use crate::{catalogue::Catalogue, config::Config, yaml::FileError};

/// Catalogue with every shape of rule.
const CATALOGUE: &str = "
services:
  - id: core
    title: Core
    source: {document: D, section: S}
    default: true
    sets: [windows, apple]
    aliases: [connector]
    rules:
      - {id: core, fqdns: ['*.core.example', core.example], cidrs: [10.1.0.0/16], tcp: [80, 443]}
  - id: regional
    title: Regional
    source: {document: D, section: S}
    default: true
    sets: [windows]
    rules:
      - id: attest
        cidrs: [10.2.0.0/16]
        tcp: [443]
        selected:
          - {region: europe, fqdns: [eu.example]}
          - {region: europe, tenants: [AMSUB0502], fqdns: [tenant.example], cidrs: [10.2.5.0/24]}
          - {region: asia-pacific, tenants: [AMSUC0101], fqdns: [ap.example]}
      - id: everywhere
        fqdns: ['#-any.example', 'pre*.example']
        tcp: ['5000-5010']
        udp: [53, 123]
  - id: protection
    title: Protection
    source: {document: D, section: S}
    default: false
    sets: [windows]
    rules:
      - {id: wip, destinations_of: core/core, tcp: [444]}
  - id: peers
    title: Peers
    source: {document: D, section: S}
    default: false
    sets: [windows]
    rules:
      - {id: content, site_networks: true, tcp: [7680]}
      - {id: teredo, site_networks: true, udp: [3544]}
  - id: asia
    title: Asia
    source: {document: D, section: S}
    default: false
    sets: [apple]
    rules:
      - {id: only, selected: [{region: asia-pacific, fqdns: [only.example]}], tcp: [443]}
";

fn catalogue() -> Catalogue {
    Catalogue::parse([("catalogue.yaml", CATALOGUE)]).unwrap()
}

/// Returns a configuration of one interface and one group with these services, and further keys.
fn config(services: &str, more: &str) -> Config {
    let text = format!(
        "interfaces: [{{name: eth1}}]\n\
         clients: [{{name: lan, networks: [192.168.0.0/24], services: {services}}}]\n\
         dns: {{resolvers: [192.168.0.1]}}\n{more}\n"
    );
    Config::parse("config.yaml", &text).unwrap_or_else(|errors| panic!("{errors}"))
}

fn policy(config: &Config) -> Policy {
    let compiled = compile(config, &catalogue(), &RuleBits::new());
    compiled.unwrap_or_else(|errors| panic!("{errors}"))
}

fn errors(config: &Config) -> Vec<FileError> {
    match compile(config, &catalogue(), &RuleBits::new()) {
        Ok(_) => panic!("accepted"),
        Err(errors) => errors.errors().to_vec(),
    }
}

/// The full ids of a mask's rules.
fn ids(policy: &Policy, mask: RuleMask) -> Vec<String> {
    let mut ids: Vec<String> = policy.rules_of(mask).map(|rule| rule.id.to_string()).collect();
    ids.sort();
    ids
}

/// Returns the full ids of all rules in force.
fn in_force(policy: &Policy) -> Vec<String> {
    ids(policy, RuleMask::ALL)
}
