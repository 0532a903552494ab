//! Tests with random configurations that the compiled maps allow exactly what a slow reading of
//! configuration and catalogue allows.

use std::{collections::BTreeSet, net::IpAddr};

use intune_filter_ebpf::abi::{RULES, RuleMask, TransportProtocol};
use ipnet::IpNet;
use proptest::{collection::vec, option, prelude::*, sample::subsequence};

use super::catalogue;
use crate::{
    catalogue::{Address, Catalogue},
    config::{Config, Parts, Region, SiteService},
    pattern::Pattern,
    policy::{RuleBits, compile},
    ports::PortRange,
};

/// Packet, with the names that its destination was learned from.
#[derive(Debug)]
struct Probe {
    zone: u32,
    source: IpAddr,
    destination: IpAddr,
    names: Vec<String>,
    udp: bool,
    port: u16,
}

impl Probe {
    fn protocol(&self) -> TransportProtocol {
        if self.udp { TransportProtocol::Udp } else { TransportProtocol::Tcp }
    }
}

/// A rule as the configuration and the catalogue say it.
struct ModelRule {
    id: String,
    services: Vec<String>,
    fqdns: Vec<Pattern>,
    cidrs: Vec<IpNet>,
    tcp: Vec<PortRange>,
    udp: Vec<PortRange>,
}

fn parts_for<'a>(site: Option<&'a SiteService>, rule: &str) -> Option<&'a Parts> {
    let site = site?;
    match site.rules.iter().find(|changed| changed.id == rule) {
        Some(changed) => Some(&changed.parts),
        None => site.rules.is_empty().then_some(&site.parts),
    }
}

fn rules(config: &Config, catalogue: &Catalogue) -> Vec<ModelRule> {
    let mut rules = Vec::new();
    for service in catalogue.services() {
        let site = config.services.iter().find(|site| site.id == service.id);
        let mut names = vec![service.id.clone(), "all".to_owned()];
        names.extend(catalogue.sets_of(service).into_iter().map(ToOwned::to_owned));
        names.extend(service.aliases.iter().cloned());
        for rule in &service.rules {
            let parts = parts_for(site, &rule.id);
            let (mut fqdns, mut cidrs) = (Vec::new(), Vec::new());
            for datum in &rule.to {
                let when = &datum.when;
                let is_there = |region: &crate::catalogue::Region| match config.region {
                    None | Some(Region::All) => true,
                    Some(of_site) => region.as_str() == of_site.as_str(),
                };
                let is_tenants = config.tenant.as_ref().is_none_or(|tenant| {
                    let region = catalogue.region_of(tenant).unwrap();
                    (when.region.is_empty() || when.region.contains(&region))
                        && (when.tenant.is_empty() || when.tenant.contains(tenant))
                });
                if (when.region.is_empty() || when.region.iter().any(is_there)) && is_tenants {
                    match &datum.address {
                        Address::Fqdn(pattern) => fqdns.push(pattern.clone()),
                        Address::Cidr(cidr) => cidrs.push(*cidr),
                        Address::Template(_) => panic!("the tests' catalogue has none"),
                    }
                }
            }
            let named = parts.is_some_and(|parts| parts.fqdns.is_some() || parts.cidrs.is_some());
            if let (Some(other), false) = (&rule.destinations_of, named) {
                // The tests' catalogue has one such rule, after core.
                assert_eq!(other.to_string(), "core/core");
                let core: &ModelRule = &rules[0];
                (fqdns, cidrs) = (core.fqdns.clone(), core.cidrs.clone());
            }
            let over = |protocol: TransportProtocol| {
                let given = parts.and_then(|parts| parts.ports[protocol].clone());
                given.unwrap_or_else(|| rule.ports[protocol].clone())
            };
            rules.push(ModelRule {
                id: format!("{}/{}", service.id, rule.id),
                services: names.clone(),
                fqdns: parts.and_then(|parts| parts.fqdns.clone()).unwrap_or(fqdns),
                cidrs: parts.and_then(|parts| parts.cidrs.clone()).unwrap_or(cidrs),
                tcp: over(TransportProtocol::Tcp),
                udp: over(TransportProtocol::Udp),
            });
        }
    }
    for site in &config.services {
        if catalogue.service(&site.id).is_none() {
            rules.push(ModelRule {
                id: format!("{}/site", site.id),
                services: vec![site.id.clone(), "all".to_owned()],
                fqdns: site.parts.fqdns.clone().unwrap_or_default(),
                cidrs: site.parts.cidrs.clone().unwrap_or_default(),
                tcp: site.parts.ports[TransportProtocol::Tcp].clone().unwrap_or_default(),
                udp: site.parts.ports[TransportProtocol::Udp].clone().unwrap_or_default(),
            });
        }
    }
    rules
}

/// Returns the rules that allow a packet, and the group of its source.
fn allowed(
    config: &Config,
    rules: &[ModelRule],
    probe: &Probe,
) -> (Option<usize>, BTreeSet<String>) {
    let mut best: Option<(u8, usize)> = None;
    for (index, group) in config.clients.iter().enumerate() {
        if !config.zones_of(group).iter().any(|zone| zone.number == probe.zone) {
            continue;
        }
        for (_, network) in group.prefixes() {
            if network.contains(&probe.source)
                && best.is_none_or(|(length, _)| network.prefix_len() > length)
            {
                best = Some((network.prefix_len(), index));
            }
        }
    }
    let Some((_, group)) = best else { return (None, BTreeSet::new()) };
    let services = &config.clients[group].services;
    let allows = |rule: &&ModelRule| {
        let ports = if probe.udp { &rule.udp } else { &rule.tcp };
        rule.services.iter().any(|name| services.contains(name))
            && ports.iter().any(|range| range.contains(probe.port))
            && (rule.cidrs.iter().any(|network| network.contains(&probe.destination))
                || rule.fqdns.iter().any(|p| probe.names.iter().any(|name| p.matches(name))))
    };
    (Some(group), rules.iter().filter(allows).map(|rule| rule.id.clone()).collect())
}

const NETWORKS: [&str; 12] = [
    "0.0.0.0/0",
    "10.0.0.0/8",
    "10.1.0.0/16",
    "10.1.2.0/24",
    "10.1.2.128/25",
    "10.1.2.3/32",
    "10.2.0.0/15",
    "::/0",
    "fd00::/8",
    "fd00:1::/32",
    "fd00:1:2::/48",
    "fd00:1:2::3/128",
];
const ADDRESSES: [&str; 12] = [
    "10.1.2.3",
    "10.1.2.4",
    "10.1.2.200",
    "10.1.9.9",
    "10.2.5.1",
    "10.3.0.1",
    "11.0.0.1",
    "fd00:1:2::3",
    "fd00:1:2::4",
    "fd00:1:9::1",
    "fd00:9::1",
    "2001:200::1",
];
const PATTERNS: [&str; 8] = [
    "*",
    "*.example",
    "a.example",
    "*.a.example",
    "pre*.example",
    "#-any.example",
    "core.example",
    "b*.core.example",
];
const NAMES: [&str; 10] = [
    "a.example",
    "b.a.example",
    "core.example",
    "b.core.example",
    "bb.core.example",
    "prefix.example",
    "7-any.example",
    "51-any.example",
    "eu.example",
    "other.test",
];
const PORTS: [&str; 7] = ["80", "443", "444", "5000-5010", "1-65535", "53", "5010-5020"];

fn list(items: Vec<&'static str>) -> String {
    let quoted: Vec<String> = items.iter().map(|item| format!("'{item}'")).collect();
    format!("[{}]", quoted.join(", "))
}

/// Generates some of `items`, perhaps none unless one is required.
fn some(
    items: &[&'static str],
    most: usize,
    always: bool,
) -> BoxedStrategy<Option<Vec<&'static str>>> {
    let some = subsequence(items.to_vec(), 1..most);
    if always { some.prop_map(Some).boxed() } else { option::weighted(0.4, some).boxed() }
}

/// Generates `fqdns`, `cidrs`, `tcp` and `udp` of an entry; enough of them for a rule if it is
/// `complete`.
fn parts(complete: bool) -> impl Strategy<Value = String> {
    (
        some(&PATTERNS, 4, false),
        some(&NETWORKS, 4, complete),
        some(&PORTS, 3, complete),
        some(&PORTS, 3, false),
    )
        .prop_map(|(fqdns, cidrs, tcp, udp)| {
            [("fqdns", fqdns), ("cidrs", cidrs), ("tcp", tcp), ("udp", udp)]
                .into_iter()
                .filter_map(|(key, items)| Some(format!(", {key}: {}", list(items?))))
                .collect()
        })
}

fn services() -> impl Strategy<Value = String> {
    let own = vec(parts(true), 0..4).prop_map(|all| {
        all.iter()
            .enumerate()
            .map(|(index, parts)| format!("  - {{id: own{index}, allow_broad: true{parts}}}\n"))
            .collect::<String>()
    });
    let core = option::of(parts(false)).prop_map(|parts| {
        parts.map(|parts| format!("  - {{id: core, allow_broad: true, title: T{parts}}}\n"))
    });
    let regional = option::of(parts(false)).prop_map(|parts| {
        parts.map(|parts| {
            format!("  - {{id: regional, allow_broad: true, rules: [{{id: attest{parts}}}]}}\n")
        })
    });
    let protection = option::of(parts(false)).prop_map(|parts| {
        parts.map(|parts| format!("  - {{id: protection, allow_broad: true, title: T{parts}}}\n"))
    });
    let peers = subsequence(NETWORKS.to_vec(), 1..3)
        .prop_map(|networks| format!("  - {{id: peers, cidrs: {}}}\n", list(networks)));
    (own, core, regional, protection, peers).prop_map(|(own, core, regional, protection, peers)| {
        let overrides = [core, regional, protection].into_iter().flatten().collect::<String>();
        format!("services:\n{own}{overrides}{peers}")
    })
}

const SERVICES: [&str; 10] = [
    "core",
    "regional",
    "protection",
    "peers",
    "asia",
    "default",
    "all",
    "windows",
    "apple",
    "connector",
];

fn groups() -> impl Strategy<Value = String> {
    // Each prefix goes to one group, or to none.
    let owners = vec(0..5_usize, NETWORKS.len());
    let details = vec(
        (
            prop_oneof![Just(""), Just(", on: eth1"), Just(", on: eth1.20"), Just(", on: eth2")],
            subsequence(SERVICES.to_vec(), 0..4),
        ),
        4,
    );
    (owners, details).prop_map(|(owners, details)| {
        let mut text = "clients:\n".to_owned();
        for (index, (on, services)) in details.into_iter().enumerate() {
            let ours = NETWORKS.iter().zip(&owners).filter(|(_, owner)| **owner == index);
            let networks: Vec<&str> = ours.map(|(network, _)| *network).collect();
            if !networks.is_empty() {
                text += &format!(
                    "  - {{name: g{index}, networks: {}, services: {}{on}}}\n",
                    list(networks),
                    list(services)
                );
            }
        }
        // A configuration needs a group.
        text + "  - {name: last, networks: [192.0.2.0/24], services: []}\n"
    })
}

fn configuration() -> impl Strategy<Value = String> {
    let place = prop_oneof![
        Just(""),
        Just("region: europe\n"),
        Just("region: asia-pacific\n"),
        Just("region: all\n"),
        Just("tenant: AMSUB0502\n"),
        Just("tenant: AMSUC0101\n"),
    ];
    (groups(), services(), place).prop_map(|(groups, services, place)| {
        format!(
            "interfaces: [{{name: eth1, vlans: [20, 30]}}, {{name: eth2}}]\n\
             dns: {{resolvers: [192.0.2.1]}}\n{place}{groups}{services}"
        )
    })
}

fn probes() -> impl Strategy<Value = Vec<Probe>> {
    let address = || proptest::sample::select(ADDRESSES.to_vec());
    let port =
        proptest::sample::select(vec![1_u16, 53, 80, 443, 444, 5000, 5010, 5015, 7680, 3544]);
    let probe =
        (1..5_u32, address(), address(), subsequence(NAMES.to_vec(), 0..3), any::<bool>(), port);
    let probe = probe.prop_map(|(zone, source, destination, names, udp, port)| Probe {
        zone,
        source: source.parse().unwrap(),
        destination: destination.parse().unwrap(),
        names: names.into_iter().map(str::to_owned).collect(),
        udp,
        port,
    });
    vec(probe, 60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn compiled_maps_allow_what_the_configuration_says(
        text in configuration(),
        probes in probes(),
        bits in vec(0..RULES as u8, 8),
    ) {
        let catalogue = catalogue();
        let config = match Config::parse("random.yaml", &text) {
            Ok(config) => config,
            Err(errors) => return Err(TestCaseError::fail(format!("{errors}\n{text}"))),
        };
        let ids = ["core/core", "regional/attest", "own0/site", "own1/site", "peers/content", "a/b",
            "c/d", "protection/wip"];
        let previous: RuleBits =
            ids.iter().zip(bits).map(|(id, bit)| (id.parse().unwrap(), bit)).collect();
        let policy = match compile(&config, &catalogue, &previous) {
            Ok(policy) => policy,
            Err(errors) => return Err(TestCaseError::fail(format!("{errors}\n{text}"))),
        };
        let rules = rules(&config, &catalogue);
        for probe in probes {
            let (group, expected) = allowed(&config, &rules, &probe);
            let client = policy.client(probe.zone, probe.source);
            prop_assert_eq!(client.map(|client| client.group as usize), group, "{}", text);
            let learned = probe.names.iter().fold(RuleMask::EMPTY, |mask, name| mask | policy.rules_of_name(name));
            let mask = client.map_or(RuleMask::EMPTY, |client| client.rules)
                & (policy.rules_of_address(probe.destination) | learned)
                & policy.rules_of_port(probe.protocol(), probe.port);
            let found: BTreeSet<String> =
                policy.rules_of(mask).map(|rule| rule.id.to_string()).collect();
            prop_assert_eq!(mask.iter().count(), found.len());
            prop_assert_eq!(found, expected, "{} -> {} {}", probe.source, probe.destination, text);
        }
    }
}
