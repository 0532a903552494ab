//! Compiles a configuration into a policy: one pass per map.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    path::Path,
    sync::Arc,
};

use intune_filter_ebpf::abi::{
    GATEWAY_PASS, GATEWAY_POLICY, GATEWAY_PORTS, Glob, MATCH_STEPS, MacKey, RuleMask, SERVER_DHCP,
    SERVER_RESOLVER, SERVER_VIA, Settings, UNLISTED_DROP, UNLISTED_FORWARD, UNLISTED_NXDOMAIN,
    UNLISTED_REFUSE, V6, port_index, sender,
};
use ipnet::{IpNet, Ipv6Net};

use super::{
    Group, Policy, Rule, RuleBits, Services,
    answers::answers,
    clients::{clients, is_of_link},
    groups::{Assigned, assign},
    limits,
    names::{Builder, Trie},
    nat64::Nat64,
    networks::{embed, merge_ancestors, tries},
    over_https, port_classes,
};
use crate::{
    catalogue::{Catalogue, CatalogueFiles, LATEST_WORD},
    config::{
        Config, DnsUnlisted, GroupMode, OtherVlans, Paths, SourceCheck, ToGateway, UnlistedClients,
    },
    nearest::nearest,
    pattern::Pattern,
    yaml::{FileError, FileErrors},
};

/// Configuration with its catalogue and the policy compiled from both.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// Configuration as read from its file.
    pub config: Config,
    /// Built-in catalogue, or the one that the configuration names.
    pub catalogue: Cow<'static, Catalogue>,
    /// Files of the catalogue; `None` for the built-in one.
    pub files: Option<Arc<CatalogueFiles>>,
    /// Compiled policy.
    pub policy: Policy,
}

/// Reads, checks and compiles a configuration file. `adjust` may replace the file's paths, as
/// command line flags do.
///
/// # Errors
/// Every fault that can be found, with file, line and key.
pub fn load(
    path: &Path,
    adjust: impl FnOnce(&mut Paths),
    previous: &RuleBits,
) -> Result<Loaded, FileErrors> {
    load_text(&path.display().to_string(), &Config::read_text(path)?, adjust, previous)
}

/// Checks and compiles a file's text; `file` is the name in error messages.
///
/// # Errors
/// Every fault that can be found, with file, line and key.
pub fn load_text(
    file: &str,
    text: &str,
    adjust: impl FnOnce(&mut Paths),
    previous: &RuleBits,
) -> Result<Loaded, FileErrors> {
    let read =
        |directory: &Path| CatalogueFiles::read(directory).map_err(|error| error.to_string());
    load_text_with(file, text, adjust, previous, read)
}

/// Checks and compiles a file's text, with `read` to read a site's catalogue from a directory.
///
/// # Errors
/// Every fault that can be found, with file, line and key.
pub fn load_text_with(
    file: &str,
    text: &str,
    adjust: impl FnOnce(&mut Paths),
    previous: &RuleBits,
    read: impl FnOnce(&Path) -> Result<CatalogueFiles, String>,
) -> Result<Loaded, FileErrors> {
    let (config, mut errors) = Config::parse_part(file, text);
    let Some(mut config) = config else { return Err(FileErrors::new(file, errors)) };
    adjust(&mut config.paths);
    let catalogue = match &config.paths.catalogue {
        None => match Catalogue::edition_named(&config.choice.edition) {
            Some(catalogue) => Ok((Cow::Borrowed(catalogue), None)),
            None => {
                errors.push(unknown_edition(&config));
                return Err(FileErrors::new(file, errors));
            }
        },
        Some(directory) => read(directory).and_then(|files| {
            let catalogue = files.parse().map_err(|error| error.to_string())?;
            Ok((Cow::Owned(catalogue), Some(Arc::new(files))))
        }),
    };
    let (catalogue, files) = match catalogue {
        Ok(catalogue) => catalogue,
        Err(error) => {
            errors.push(config.error("paths.catalogue", error));
            return Err(FileErrors::new(file, errors));
        }
    };
    let (policy, found) = compile_part(&config, &catalogue, previous);
    FileError::add(&mut errors, found);
    if errors.is_empty() {
        Ok(Loaded { config, catalogue, files, policy })
    } else {
        Err(FileErrors::new(file, errors))
    }
}

/// Compiles a configuration. A rule in `previous` keeps its bit.
///
/// # Errors
/// Faults of the configuration with respect to the catalogue: unknown services, tenant or region,
/// overrides without effect or in contradiction, too many rules.
pub fn compile(
    config: &Config,
    catalogue: &Catalogue,
    previous: &RuleBits,
) -> Result<Policy, FileErrors> {
    let (policy, errors) = compile_part(config, catalogue, previous);
    if errors.is_empty() { Ok(policy) } else { Err(config.errors(errors)) }
}

/// Compiles as much as possible, and returns every fault found.
fn compile_part(
    config: &Config,
    catalogue: &Catalogue,
    previous: &RuleBits,
) -> (Policy, Vec<FileError>) {
    let (services, mut errors) = Services::of(config, catalogue);
    let mut warnings = warnings(config);
    warnings.extend_from_slice(services.warnings());
    let assigned = assign(config, &services, previous, &mut errors, &mut warnings);
    let Assigned { rules, masks, inbound, freed, reused } = assigned;
    let outbound = masks.iter().fold(RuleMask::EMPTY, |all, mask| all | *mask);
    let trie = trie(config, &rules, &mut errors);
    let (ports, port_classes) = port_classes::of(config, &rules, &mut errors);
    let (clients4, clients6) = clients(config, &masks, &inbound);
    let (nets4, nets6) = tries(&networks(&rules, &config.nat64));
    let (answers4, answers6) = tries(&answers(&config.dns.allow_private, &config.nat64));
    let groups = config.clients.iter().zip(masks.iter().zip(&inbound));
    let groups = groups.map(|(group, (rules, inbound))| Group {
        name: group.name.clone(),
        rules: *rules,
        inbound: *inbound,
        mode: group.mode,
    });
    let policy = Policy {
        zones: config.zones(),
        groups: groups.collect(),
        services: services.all().to_vec(),
        clients4,
        clients6,
        nets4,
        nets6,
        answers4,
        answers6,
        ports,
        port_classes,
        servers: servers(config),
        group_macs: group_macs(config),
        source_checks: source_checks(config),
        gateway_ports: gateway_ports(&config.to_gateway),
        settings: Settings { outbound_rules: outbound, ..settings(config, &trie, &rules) },
        nat64: Nat64::new(config.nat64.clone()),
        edges: trie.edges,
        globs: trie.globs,
        rules,
        freed,
        reused,
        warnings,
    };
    (policy, errors)
}

/// Returns the error of an edition that is not built in.
pub(crate) fn unknown_edition(config: &Config) -> FileError {
    let editions: Vec<&str> = Catalogue::editions().collect();
    let found = &config.choice.edition;
    let message =
        format!("unknown edition {found:?}, expected {LATEST_WORD} or {}", editions.join(" or "));
    let near = nearest(found, editions.iter().copied().chain([LATEST_WORD]));
    config.error("edition", message).meaning(near)
}

/// Returns warnings about traffic that the configuration leaves open.
fn warnings(config: &Config) -> Vec<FileError> {
    let mut warnings = Vec::new();
    if config.dns.unlisted == DnsUnlisted::Forward {
        warnings.push(config.error("dns.unlisted", "forward leaves DNS tunnelling open"));
    }
    if config.unlisted_clients == UnlistedClients::Allow {
        let message = "allow lets a device out that changes its address";
        warnings.push(config.error("unlisted_clients", message));
    }
    if config.warm_up.0 != 0 {
        let message = format!(
            "for {} after a start without learned addresses, clients reach every public \
             destination on the ports of services that have names",
            config.warm_up
        );
        warnings.push(config.error("warm_up", message));
    }
    for (index, group) in config.clients.iter().enumerate() {
        for (at, network) in group.prefixes().filter(|(_, network)| is_of_link(network)) {
            let message = format!(
                "{network} is in no group: link-local sources may ask what any group of their zone may, \
                 and reach the gateway alone"
            );
            warnings.push(config.error(format!("clients[{index}].networks[{at}]"), message));
        }
        for (at, rule) in group.inbound.rules().iter().enumerate() {
            for (n, network) in rule.from.iter().enumerate().filter(|(_, net)| is_of_link(net)) {
                let message = format!(
                    "{network} lets nobody in: routers do not forward link-local sources, which reach \
                     the gateway alone"
                );
                let key = format!("clients[{index}].inbound[{at}].from[{n}]");
                warnings.push(config.error(key, message));
            }
        }
        let what = match group.mode {
            GroupMode::Enforce => continue,
            GroupMode::Audit => "audit denies nothing".to_owned(),
            GroupMode::Exempt => {
                group.taken().unwrap_or_else(|| "exempt judges nothing".to_owned())
            }
        };
        warnings.push(config.error(format!("clients[{index}].mode"), what));
    }
    warnings
}

fn trie(config: &Config, rules: &BTreeMap<u8, Rule>, errors: &mut Vec<FileError>) -> Trie {
    let mut builder = Builder::new();
    over_https::NAMES.iter().for_each(|name| builder.add_over_https(name));
    if !config.nat64.is_empty() {
        builder.add_nat64_discovery();
    }
    let mut inner: Vec<&Pattern> = Vec::new();
    for (bit, rule) in rules {
        let mut error = |message: String| {
            let own = config.services.iter().position(|site| site.id == rule.id.service);
            let key = own.map_or("clients".to_owned(), |index| format!("services[{index}]"));
            errors.push(config.error(key, message));
        };
        for pattern in &rule.fqdns {
            if let Err(full) = builder.add(pattern, RuleMask::of(*bit)) {
                error(format!(
                    "{pattern} of {}: too many patterns with a * within the label before {:?}, \
                     expected at most {}",
                    rule.id,
                    full.parent,
                    Glob::PER_NODE
                ));
            }
        }
        inner.extend(rule.fqdns.iter().filter(|pattern| pattern.has_inner_glob()));
        // Without inner globs, the limits of a name and of a node's globs are limit enough.
        if !inner.is_empty() && builder.steps() > u64::from(MATCH_STEPS) {
            error(format!(
                "{}: a name can match too many patterns at once, {} steps of the kernel, expected \
                 at most {MATCH_STEPS}: fewer patterns with a * that is not in their leftmost label \
                 ({})",
                rule.id,
                builder.steps(),
                listed(&inner)
            ));
            break;
        }
    }
    builder.finish()
}

/// Lists the first few patterns.
fn listed(patterns: &[&Pattern]) -> String {
    const FEW: usize = 5;
    let few: Vec<&str> = patterns.iter().take(FEW).map(|pattern| pattern.as_str()).collect();
    let more = patterns.len().saturating_sub(FEW);
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    few.join(", ") + &more
}

fn group_macs(config: &Config) -> Vec<MacKey> {
    let groups = (0..).zip(&config.clients);
    groups
        .flat_map(|(group, of)| of.macs.iter().map(move |mac| MacKey { mac: mac.octets(), group }))
        .collect()
}

/// Returns for each zone the senders that its interface lets pass.
fn source_checks(config: &Config) -> Vec<(u32, u32)> {
    let passes = |check| match check {
        SourceCheck::Strict => sender::HERE,
        SourceCheck::Loose => sender::HERE | sender::APART,
        SourceCheck::Off => sender::HERE | sender::APART | sender::NOWHERE,
    };
    config.zones().iter().map(|zone| (zone.number, passes(zone.source_check))).collect()
}

/// Returns the open ports of the gateway, encoded by [`port_index`].
fn gateway_ports(to_gateway: &ToGateway) -> Vec<u32> {
    let ToGateway::Ports(ports) = to_gateway else { return Vec::new() };
    let mut ports: Vec<u32> = ports
        .iter()
        .flat_map(|(protocol, ranges)| {
            let ports = ranges.iter().flat_map(|range| range.ports());
            ports.map(move |port| port_index(protocol.number(), port))
        })
        .collect();
    ports.sort_unstable();
    ports.dedup();
    ports
}

fn networks(rules: &BTreeMap<u8, Rule>, nat64: &[Ipv6Net]) -> BTreeMap<IpNet, RuleMask> {
    let mut table: BTreeMap<IpNet, RuleMask> = BTreeMap::new();
    for (bit, rule) in rules {
        for network in &rule.cidrs {
            table.entry(*network).or_default().set(*bit);
            if let IpNet::V4(v4) = network {
                for embedded in nat64.iter().filter_map(|prefix| embed(*prefix, *v4)) {
                    table.entry(IpNet::V6(embedded)).or_default().set(*bit);
                }
            }
        }
    }
    merge_ancestors(table)
}

fn servers(config: &Config) -> HashMap<V6, u32> {
    let mut servers: HashMap<V6, u32> = HashMap::new();
    let mut add = |address: IpAddr, bits| *servers.entry(address.into()).or_default() |= bits;
    for resolver in &config.dns.resolvers {
        let via = if resolver.via.is_empty() { 0 } else { SERVER_VIA };
        add(resolver.address, SERVER_RESOLVER | via);
    }
    for address in &config.dhcp_servers {
        add(*address, SERVER_DHCP);
    }
    servers
}

fn settings(config: &Config, trie: &Trie, rules: &BTreeMap<u8, Rule>) -> Settings {
    let ttl = config.dns.ttl;
    Settings {
        dns_unlisted: match config.dns.unlisted {
            DnsUnlisted::Refuse => UNLISTED_REFUSE,
            DnsUnlisted::Nxdomain => UNLISTED_NXDOMAIN,
            DnsUnlisted::Forward => UNLISTED_FORWARD,
            DnsUnlisted::Drop => UNLISTED_DROP,
        },
        allow_unlisted_clients: (config.unlisted_clients == UnlistedClients::Allow).into(),
        to_gateway: match config.to_gateway {
            ToGateway::Pass => GATEWAY_PASS,
            ToGateway::Policy => GATEWAY_POLICY,
            ToGateway::Ports(_) => GATEWAY_PORTS,
        },
        icmp_echo: config.icmp_echo.into(),
        deny_other_vlans: (config.other_vlans == OtherVlans::Deny).into(),
        ttl_min: ttl.min.0,
        ttl_max: ttl.max.0,
        ttl_grace: ttl.grace.0,
        // The map's size, which the loader of the policy knows.
        limit_sets: 0,
        nat64: (!config.nat64.is_empty()).into(),
        root: trie.root,
        // Warm-up and its end depend on the maps' contents at the start.
        warm_up_until: 0,
        warm_up_rules: rules
            .iter()
            .filter(|(_, rule)| !rule.fqdns.is_empty())
            .map(|(bit, _)| *bit)
            .collect(),
        // Set by the groups.
        outbound_rules: RuleMask::EMPTY,
        limit_queries: limits::of(config.limits.queries),
        limit_flows: limits::of(config.limits.flows),
        zone_queries: limits::of(config.limits.zone.queries),
        zone_flows: limits::of(config.limits.zone.flows),
        mac_queries: limits::of_mac(config.limits.queries, config.maps.pending, 30),
        mac_flows: limits::of_mac(config.limits.flows, config.maps.new_flows, 60),
    }
}
