//! Summarises a policy for `check`: as a value for JSON, and as text for people.

use std::fmt;

use serde::Serialize;

use intune_filter_ebpf::abi::{GROUPS, RULES};

use super::{ClientPrefix, Origin, Policy, map_memory};
use crate::{
    config::{Config, Zone},
    ports::PerProtocol,
};

/// Summary of a policy.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// Zones that are judged.
    pub zones: Vec<ZoneSummary>,
    /// Client groups with the services of each.
    pub groups: Vec<GroupSummary>,
    /// Services that some group uses.
    pub services: Vec<ServiceSummary>,
    /// Sizes of the policy.
    pub counts: Counts,
    /// Kernel memory of the maps, in octets.
    pub memory: Memory,
    /// Warnings about a configuration that is valid.
    pub warnings: Vec<String>,
    /// Configuration with every default written out.
    pub configuration: Config,
}

/// Zone.
#[derive(Clone, Debug, Serialize)]
pub struct ZoneSummary {
    /// Number of the zone.
    pub number: u32,
    /// Name of the interface.
    pub interface: String,
    /// VLAN id, 0 for untagged frames.
    pub vlan: u16,
}

/// Client group.
#[derive(Clone, Debug, Serialize)]
pub struct GroupSummary {
    /// Name of the group.
    pub name: String,
    /// Zones of the group.
    pub zones: Vec<String>,
    /// Prefixes of the clients.
    pub networks: Vec<String>,
    /// Treatment of packets that the policy denies.
    pub mode: &'static str,
    /// Services that the group may reach.
    pub services: Vec<String>,
}

/// Service in force.
#[derive(Clone, Debug, Serialize)]
pub struct ServiceSummary {
    /// Id of the service.
    pub id: String,
    /// Title for people.
    pub title: String,
    /// Origin in the catalogue, the configuration, or both.
    pub origin: Origin,
    /// Traffic that the service opens beyond its purpose.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub risk: Option<String>,
    /// Rules in force.
    pub rules: Vec<RuleSummary>,
}

/// Rule in force.
#[derive(Clone, Debug, Serialize)]
pub struct RuleSummary {
    /// Id of the rule with its service.
    pub id: String,
    /// Bit of the rule.
    pub bit: u8,
    /// Number of name patterns.
    pub fqdns: usize,
    /// Number of prefixes.
    pub cidrs: usize,
    /// Its ports.
    #[serde(flatten)]
    pub ports: PerProtocol<Vec<String>>,
}

/// Sizes of a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Rules in force.
    pub rules: usize,
    /// Client prefixes, counted once per zone.
    pub clients: usize,
    /// Destination prefixes, after NAT64 embedding.
    pub networks: usize,
    /// Name patterns.
    pub patterns: usize,
    /// Edges of the patterns' trie.
    pub edges: usize,
    /// Globs of the patterns' trie.
    pub globs: usize,
}

/// Kernel memory of the maps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Memory {
    /// Octets of all maps.
    pub total: u64,
    /// Memory of each map.
    pub maps: Vec<MapSummary>,
}

/// Kernel memory of one map.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MapSummary {
    /// Name of the map.
    pub name: &'static str,
    /// Capacity, in elements; of a ring buffer, in octets.
    pub entries: u64,
    /// Size in octets.
    pub bytes: u64,
}

/// Summarises a policy. Per-CPU maps are counted for `cpus` CPUs.
#[must_use]
pub fn summarize(config: &Config, policy: &Policy, cpus: u32) -> Summary {
    let zone = |zone: &Zone| ZoneSummary {
        number: zone.number,
        interface: zone.interface.clone(),
        vlan: zone.vlan,
    };
    let maps: Vec<MapSummary> = map_memory(&config.maps, policy, cpus)
        .into_iter()
        .map(|map| MapSummary { name: map.name, entries: map.entries, bytes: map.bytes })
        .collect();
    Summary {
        zones: policy.zones.iter().map(zone).collect(),
        groups: groups(config, policy),
        services: services(policy),
        counts: Counts {
            rules: policy.rules.len(),
            clients: clients(&policy.clients4) + clients(&policy.clients6),
            networks: policy.nets4.len() + policy.nets6.len(),
            patterns: policy.rules.values().map(|rule| rule.fqdns.len()).sum(),
            edges: policy.edges.len(),
            globs: policy.globs.len(),
        },
        memory: Memory { total: maps.iter().map(|map| map.bytes).sum(), maps },
        warnings: config.errors(policy.warnings.clone()).lines(),
        configuration: config.clone(),
    }
}

/// Counts the client prefixes that belong to groups.
fn clients<A>(prefixes: &[ClientPrefix<A>]) -> usize {
    prefixes.iter().filter(|prefix| (prefix.value.group as usize) < GROUPS).count()
}

fn groups(config: &Config, policy: &Policy) -> Vec<GroupSummary> {
    let summary = |(configured, group): (&crate::config::ClientGroup, &super::Group)| {
        let in_force = |service: &&super::Service| {
            let mut rules = policy.rules_of(group.rules);
            rules.any(|rule| rule.id.service == service.id)
        };
        GroupSummary {
            name: group.name.clone(),
            zones: config.zones_of(configured).iter().map(ToString::to_string).collect(),
            networks: configured.networks.iter().map(ToString::to_string).collect(),
            mode: group.mode.as_str(),
            services: policy.services.iter().filter(in_force).map(|s| s.id.clone()).collect(),
        }
    };
    config.clients.iter().zip(&policy.groups).map(summary).collect()
}

fn services(policy: &Policy) -> Vec<ServiceSummary> {
    let texts =
        |ranges: &[crate::ports::PortRange]| ranges.iter().map(ToString::to_string).collect();
    let summary = |service: &super::Service| {
        let ours = policy.rules.iter().filter(|(_, rule)| rule.id.service == service.id);
        let rules: Vec<RuleSummary> = ours
            .map(|(bit, rule)| RuleSummary {
                id: rule.id.to_string(),
                bit: *bit,
                fqdns: rule.fqdns.len(),
                cidrs: rule.cidrs.len(),
                ports: rule.ports.map(|ranges| texts(ranges)),
            })
            .collect();
        (!rules.is_empty()).then(|| ServiceSummary {
            id: service.id.clone(),
            title: service.title.clone(),
            origin: service.origin,
            risk: service.risk.clone(),
            rules,
        })
    };
    policy.services.iter().filter_map(summary).collect()
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Groups")?;
        for group in &self.groups {
            let (zones, networks) = (group.zones.join(", "), group.networks.join(", "));
            writeln!(f, "  {} ({}) on {zones}: {networks}", group.name, group.mode)?;
            writeln!(f, "    may reach {}", or_nothing(&group.services.join(", ")))?;
        }
        writeln!(f, "\nServices in force")?;
        for service in &self.services {
            let origin = match service.origin {
                Origin::Catalogue => "",
                Origin::Overridden => " (changed by the site)",
                Origin::Site => " (the site's own)",
            };
            writeln!(f, "  {}: {}{origin}", service.id, service.title)?;
            for rule in &service.rules {
                let ports: String = rule
                    .ports
                    .iter()
                    .map(|(protocol, ranges)| ports(protocol.as_str(), ranges))
                    .collect();
                let (names, networks) = (rule.fqdns, rule.cidrs);
                writeln!(f, "    {}: {names} names, {networks} networks{ports}", rule.id)?;
            }
            if let Some(risk) = &service.risk {
                writeln!(f, "    risk: {risk}")?;
            }
        }
        let counts = self.counts;
        writeln!(
            f,
            "\n{} of {RULES} rules; {} client prefixes, {} networks, {} name patterns ({} edges, {} \
             globs); maps take {:.1} MiB at most",
            counts.rules,
            counts.clients,
            counts.networks,
            counts.patterns,
            counts.edges,
            counts.globs,
            self.memory.total as f64 / f64::from(1 << 20),
        )?;
        if !self.warnings.is_empty() {
            writeln!(f, "\nWarnings")?;
        }
        self.warnings.iter().try_for_each(|warning| writeln!(f, "  {warning}"))
    }
}

impl Summary {
    /// Formats the configuration with its defaults.
    #[must_use]
    pub const fn defaults(&self) -> Defaults<'_> {
        Defaults(&self.configuration)
    }
}

/// Configuration with its defaults, as text for people.
#[derive(Clone, Copy, Debug)]
pub struct Defaults<'a>(&'a Config);

impl fmt::Display for Defaults<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Configuration with its defaults")?;
        let configuration = serde_yaml::to_string(self.0).map_err(|_| fmt::Error)?;
        configuration.lines().try_for_each(|line| writeln!(f, "  {line}"))
    }
}

fn or_nothing(text: &str) -> &str {
    if text.is_empty() { "nothing" } else { text }
}

fn ports(protocol: &str, ranges: &[String]) -> String {
    if ranges.is_empty() {
        return String::new();
    }
    format!(", {protocol} {}", ranges.join(" "))
}
