//! What a policy comes to, for `check`: as a value for JSON, and as text for people.

use std::fmt;

use serde::Serialize;

use intune_filter_ebpf::abi::{GROUPS, RULES};

use super::{ClientPrefix, Origin, Policy, map_memory};
use crate::{
    config::{Config, Zone},
    ports::PerProtocol,
};

/// What a policy comes to.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// What is judged.
    pub zones: Vec<ZoneSummary>,
    /// Who may do what.
    pub groups: Vec<GroupSummary>,
    /// The services that some group uses.
    pub services: Vec<ServiceSummary>,
    /// Sizes of the policy.
    pub counts: Counts,
    /// Kernel memory of the maps, in octets.
    pub memory: Memory,
    /// What is worth knowing although it is no fault.
    pub warnings: Vec<String>,
    /// The configuration with every default written out.
    pub configuration: Config,
}

/// A zone.
#[derive(Clone, Debug, Serialize)]
pub struct ZoneSummary {
    /// Its number.
    pub number: u32,
    /// The interface's name.
    pub interface: String,
    /// The VLAN id, 0 for untagged frames.
    pub vlan: u16,
}

/// A client group.
#[derive(Clone, Debug, Serialize)]
pub struct GroupSummary {
    /// Its name.
    pub name: String,
    /// The zones that it is in.
    pub zones: Vec<String>,
    /// The clients' addresses.
    pub networks: Vec<String>,
    /// What becomes of its denied packets.
    pub mode: &'static str,
    /// The services that it may reach.
    pub services: Vec<String>,
}

/// A service in force.
#[derive(Clone, Debug, Serialize)]
pub struct ServiceSummary {
    /// Its id.
    pub id: String,
    /// What it is called.
    pub title: String,
    /// Where it comes from.
    pub origin: Origin,
    /// What it opens beyond its purpose.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub risk: Option<String>,
    /// Its rules in force.
    pub rules: Vec<RuleSummary>,
}

/// A rule in force.
#[derive(Clone, Debug, Serialize)]
pub struct RuleSummary {
    /// Its full id.
    pub id: String,
    /// Its bit.
    pub bit: u8,
    /// How many host name patterns it has.
    pub fqdns: usize,
    /// How many networks it has.
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
    /// Client prefixes, one for each zone.
    pub clients: usize,
    /// Destination networks.
    pub networks: usize,
    /// Host name patterns.
    pub patterns: usize,
    /// Edges of their trie.
    pub edges: usize,
    /// Patterns with a `*` within a label.
    pub globs: usize,
}

/// Kernel memory of the maps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Memory {
    /// Of all maps.
    pub total: u64,
    /// Of each.
    pub maps: Vec<MapSummary>,
}

/// A map.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MapSummary {
    /// Its name.
    pub name: &'static str,
    /// Its capacity.
    pub entries: u64,
    /// Octets.
    pub bytes: u64,
}

/// Sums a policy up. Per-CPU maps are counted for `cpus` of them.
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

/// Client prefixes of groups.
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
        for warning in &self.warnings {
            writeln!(f, "  {warning}")?;
        }
        writeln!(f, "\nConfiguration with its defaults")?;
        let configuration = serde_yaml::to_string(&self.configuration).map_err(|_| fmt::Error)?;
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
