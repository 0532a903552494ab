//! Tells what a site's variables leave out of the catalogue, and what stays broad.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use intune_filter_ebpf::abi::RuleMask;
use ipnet::IpNet;
use serde::Serialize;

use super::Policy;
use crate::{
    catalogue::{
        Address, Catalogue, Cloud, Datum, Location, Risk, Role, Selector, Service, Variable,
    },
    config::Config,
    pattern::{Broad, Pattern, broad, on_shared},
};

/// Names that are listed for people; JSON has all.
const FEW: usize = 6;

/// What a configuration takes of its catalogue.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Taken {
    /// Keys that leave something out, with what they say and the number of names and prefixes.
    pub narrowed: Vec<Narrowed>,
    /// Keys that could leave something out, or add what is waiting for them.
    pub open: Vec<Narrowed>,
    /// What is broad all the same.
    pub broad: Breadth,
}

/// Key with the number of names and prefixes that it leaves out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Narrowed {
    /// Key of the configuration.
    pub key: &'static str,
    /// Value of the key; what is missing, for a key that is not given.
    pub value: String,
    /// Names and prefixes of the services in force that are concerned.
    pub count: usize,
}

/// What is broad in a policy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Breadth {
    /// Names and patterns in force.
    pub names: usize,
    /// Those of them with a wildcard.
    pub wildcards: usize,
    /// Prefixes in force.
    pub networks: usize,
    /// Those of them that are there for what is not learned by name.
    pub fallback: usize,
    /// IPv4 addresses in the prefixes.
    pub ipv4_addresses: u64,
    /// Names on storage where anyone can have one.
    pub shared_storage: BTreeSet<String>,
    /// Names on CDNs and clouds that serve strangers.
    pub shared_cdn: BTreeSet<String>,
    /// Patterns below which there is more than the service.
    pub over_broad: BTreeSet<String>,
    /// Names that serve every tenant.
    pub other_tenants: BTreeSet<String>,
}

/// Returns what a policy takes of its catalogue.
#[must_use]
pub fn taken(
    config: &Config,
    catalogue: &Catalogue,
    selector: &Selector,
    policy: &Policy,
) -> Taken {
    let mut used: BTreeSet<&str> =
        policy.rules.values().map(|rule| rule.id.service.as_str()).collect();
    // A service of which nothing is left counts where a group names it.
    let named = config.clients.iter().flat_map(|group| &group.services);
    let named = named.filter_map(|name| catalogue.resolve(name)).flatten();
    used.extend(named.map(|service| service.id.as_str()));
    let services = catalogue.services().iter();
    let services: Vec<&Service> =
        services.filter(|service| used.contains(service.id.as_str())).collect();
    let mut taken = Taken { broad: breadth(catalogue, selector, policy), ..Taken::default() };
    let count = |other: &Selector| {
        let differs = |service: &Service, datum: &Datum| {
            let of = |selector: &Selector| selector.takes(catalogue, &service.id, datum);
            of(other) && !of(selector)
        };
        let data = |service: &&&Service| -> usize {
            let rules = service.rules.iter().flat_map(|rule| &rule.to);
            rules.filter(|datum| differs(service, datum)).count()
        };
        services.iter().map(|service| data(&service)).sum::<usize>()
    };
    let anywhere = Selector { location: Location::All, ..selector.clone() };
    match &selector.location {
        Location::All => {
            let located = |datum: &&Datum| {
                !datum.when.tenant.is_empty()
                    || !datum.when.region.is_empty()
                    || has_variable(datum, Variable::Tenant)
            };
            let data = services.iter().flat_map(|service| data_of(catalogue, selector, service));
            let count = data.filter(located).count();
            taken.tell_open("tenant", "every tenant and region is on", count);
        }
        Location::Region(region) => {
            taken.tell("region", region.to_string(), count(&anywhere));
        }
        Location::Tenant { tenant, region } => {
            taken.tell("tenant", format!("{tenant} ({region})"), count(&anywhere));
        }
    }
    let clouds = Cloud::ALL.iter().filter(|cloud| **cloud != selector.cloud);
    let of_others: usize =
        clouds.map(|cloud| count(&Selector { cloud: *cloud, ..selector.clone() })).sum();
    let cloud = match selector.cloud {
        Cloud::UsGovernment => format!("{} (GCC High and DoD together)", selector.cloud),
        Cloud::Worldwide | Cloud::China => selector.cloud.to_string(),
    };
    taken.tell("cloud", cloud, of_others);
    if !selector.countries.is_empty() {
        let everywhere = Selector { countries: Vec::new(), ..selector.clone() };
        taken.tell("country", selector.countries.join(", "), count(&everywhere));
    }
    if !selector.gcc {
        let gcc = Selector { gcc: true, ..selector.clone() };
        taken.tell("gcc", "false".to_owned(), count(&gcc));
    }
    for (variable, key, values, absent) in [
        (
            Variable::Domain,
            "domains",
            &selector.domains,
            "no name below a domain of the site is on",
        ),
        (Variable::Country, "country", &selector.countries, "no name of a country is on"),
    ] {
        let data = services.iter().flat_map(|service| data_of(catalogue, selector, service));
        let waiting = data.filter(|datum| has_variable(datum, variable)).count();
        if values.is_empty() {
            taken.tell_open(key, absent, waiting);
        }
    }
    let legacy = Selector { legacy: true, ..selector.clone() };
    taken.tell("catalogue.legacy", selector.legacy.to_string(), count(&legacy));
    let mut observed = selector.clone();
    observed.observed.extend(services.iter().map(|service| service.id.clone()));
    let chosen: Vec<&str> = selector.observed.iter().map(String::as_str).collect();
    taken.tell("catalogue.observed", format!("[{}]", chosen.join(", ")), count(&observed));
    taken
}

/// Returns the data of a service that the site takes.
fn data_of<'a>(
    catalogue: &'a Catalogue,
    selector: &'a Selector,
    service: &'a Service,
) -> impl Iterator<Item = &'a Datum> {
    let data = service.rules.iter().flat_map(|rule| &rule.to);
    data.filter(move |datum| selector.takes(catalogue, &service.id, datum))
}

fn has_variable(datum: &Datum, variable: Variable) -> bool {
    matches!(&datum.address, Address::Template(template) if template.variable() == variable)
}

impl Taken {
    fn tell(&mut self, key: &'static str, value: String, count: usize) {
        if count > 0 {
            self.narrowed.push(Narrowed { key, value, count });
        }
    }

    fn tell_open(&mut self, key: &'static str, value: &str, count: usize) {
        if count > 0 {
            self.open.push(Narrowed { key, value: value.to_owned(), count });
        }
    }
}

fn breadth(catalogue: &Catalogue, selector: &Selector, policy: &Policy) -> Breadth {
    let (mut patterns, mut networks) = (BTreeSet::<&Pattern>::new(), BTreeSet::<IpNet>::new());
    let outbound = policy.groups.iter().fold(RuleMask::EMPTY, |all, group| all | group.rules);
    for rule in policy.rules_of(outbound) {
        patterns.extend(&rule.fqdns);
        networks.extend(&rule.cidrs);
    }
    let mut breadth = Breadth {
        names: patterns.len(),
        wildcards: patterns.iter().filter(|pattern| pattern.as_str().contains('*')).count(),
        networks: networks.len(),
        ipv4_addresses: ipv4_addresses(&networks),
        ..Breadth::default()
    };
    // What the catalogue says of its data, and what the names themselves say.
    let mut risks: BTreeMap<String, Risk> = BTreeMap::new();
    let mut fallback = BTreeSet::new();
    for service in catalogue.services() {
        for datum in data_of(catalogue, selector, service) {
            if let Some(risk) = datum.risk {
                risks.insert(datum.address.to_string(), risk);
            }
            if let (Some(Role::Fallback), Address::Cidr(cidr)) = (datum.role, &datum.address) {
                fallback.insert(*cidr);
            }
        }
    }
    breadth.fallback = networks.intersection(&fallback).count();
    for pattern in patterns {
        let name = pattern.to_string();
        let told = risks.get(&name);
        let of_name = broad(pattern).or_else(|| on_shared(pattern.as_str()));
        let list = match (told, of_name) {
            (Some(Risk::SharedStorage), _) | (None, Some(Broad::Storage(_))) => {
                &mut breadth.shared_storage
            }
            (Some(Risk::SharedCdn), _) | (None, Some(Broad::Shared(_))) => &mut breadth.shared_cdn,
            (Some(Risk::OverBroad | Risk::Telemetry), _)
            | (None, Some(Broad::Everything | Broad::Public(_))) => &mut breadth.over_broad,
            (Some(Risk::OtherTenants), _) => &mut breadth.other_tenants,
            (Some(Risk::Unclaimed), _) => &mut breadth.shared_storage,
            (None, None) => continue,
        };
        list.insert(name);
    }
    breadth
}

/// Returns the number of IPv4 addresses in prefixes, each counted once.
fn ipv4_addresses(networks: &BTreeSet<IpNet>) -> u64 {
    let v4 = networks.iter().filter_map(|network| match network {
        IpNet::V4(v4) => Some(*v4),
        IpNet::V6(_) => None,
    });
    let merged = ipnet::Ipv4Net::aggregate(&v4.collect::<Vec<_>>());
    merged.iter().map(|network| 1 << (32 - network.prefix_len())).sum()
}

impl fmt::Display for Taken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Narrowed { key, value, count } in &self.narrowed {
            writeln!(f, "  {key} {value}: {count} names and networks are off")?;
        }
        for Narrowed { key, value, count } in &self.open {
            writeln!(f, "  {key} is not given: {value} ({count})")?;
        }
        let Breadth { names, wildcards, networks, fallback, ipv4_addresses, .. } = &self.broad;
        writeln!(
            f,
            "  still broad: {names} names, {wildcards} of them wildcards; {networks} networks with \
             {ipv4_addresses} IPv4 addresses, {fallback} of them only for what is not learned by name"
        )?;
        for (what, names) in [
            ("on shared storage", &self.broad.shared_storage),
            ("on a shared CDN or cloud", &self.broad.shared_cdn),
            ("over-broad", &self.broad.over_broad),
            ("of every tenant", &self.broad.other_tenants),
        ] {
            if names.is_empty() {
                continue;
            }
            let few: Vec<&str> = names.iter().take(FEW).map(String::as_str).collect();
            let more = names.len().saturating_sub(FEW);
            let more = if more == 0 { String::new() } else { format!(" and {more} more") };
            writeln!(f, "    {what} ({}): {}{more}", names.len(), few.join(", "))?;
        }
        Ok(())
    }
}
