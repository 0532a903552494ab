//! Lists the rows of the threat model's page, each with the condition under which it applies. A test
//! holds the titles and the words of `helps` to the page.

use std::collections::BTreeMap;

use super::site::{GroupAt, Site, has_wildcard, listed, names};
use crate::{
    config::{
        Boot, DnsUnlisted, GroupMode, Inbound, InboundRule, Limit, OtherVlans, Resolver,
        SourceCheck, ToGateway, UnlistedClients,
    },
    policy::{Origin, Service},
};

/// Row of the page.
pub(super) struct Row {
    pub(super) title: &'static str,
    /// Words of the page's right column.
    pub(super) helps: &'static str,
    pub(super) everywhere: bool,
    /// Finds out whether and to whom it is open.
    pub(super) find: fn(&Site<'_>) -> Option<Found>,
}

/// Circumstances of an open attack.
#[derive(Default)]
pub(super) struct Found {
    pub(super) who: Vec<String>,
    pub(super) keys: Vec<String>,
    /// Other words than the row's, where those are of no use.
    pub(super) helps: Option<&'static str>,
}

impl Found {
    /// Returns nothing if nobody can do it.
    fn by(who: Vec<String>, keys: Vec<String>) -> Option<Self> {
        (!who.is_empty()).then_some(Self { who, keys, helps: None })
    }
}

const fn here(
    title: &'static str,
    helps: &'static str,
    find: fn(&Site<'_>) -> Option<Found>,
) -> Row {
    Row { title, helps, everywhere: false, find }
}

const fn everywhere(title: &'static str, helps: &'static str) -> Row {
    Row { title, helps, everywhere: true, find: |_| Some(Found::default()) }
}

/// All rows, in the order of the page.
pub(super) const ROWS: [Row; 22] = [
    here(
        "Forged answers from the resolver's side.",
        "a resolver on the gateway itself, which asks beyond it over TLS or from random ports",
        forged_answers,
    ),
    here(
        "A neighbour's place in the neighbour table.",
        "macs of the group, which ARP does not change",
        neighbours_place,
    ),
    here(
        "The zone's shared limits.",
        "port security on the switch; macs for such routers; larger limits.zone",
        shared_limits,
    ),
    Row {
        title: "The flow table.",
        helps: "port security on the switch, with few MAC addresses for a port; larger maps.flows4, \
                smaller limits.flows, narrow networks",
        everywhere: true,
        find: flow_table,
    },
    here(
        "The table of addresses.",
        "no wildcards for domains in which others can create names; a small dns.ttl.max",
        table_of_addresses,
    ),
    here("An exempt address.", "macs", exempt_address),
    everywhere(
        "A flow of a lost name.",
        "a daemon that is stopped, not killed; the client connects again",
    ),
    here(
        "A resolver on another port of the gateway.",
        "to_gateway: policy, or a list of ports",
        resolver_on_another_port,
    ),
    here("Foreign tags.", "other_vlans: deny, with which tags fail", foreign_tags),
    everywhere("Others' DNS over TCP.", "port security on the switch; smaller limits"),
    everywhere("A neighbour's next packets.", "source guard on the switch"),
    here(
        "A connection that was not judged for a while.",
        "a check of the connected clients before a change of modes",
        not_judged_for_a_while,
    ),
    here("A stolen group.", "a VLAN for each group", stolen_group),
    here("Shared addresses.", "fewer services", |site| {
        Found::by(
            site.by_services(|service| has_risk(service, &["shared CDN", "shared storage"])),
            Vec::new(),
        )
    }),
    here("Wildcards.", "an override without the pattern", |site| {
        Found::by(site.by_services(is_wild), Vec::new())
    }),
    here("Other tenants.", "tenant restrictions of the identity service", |site| {
        Found::by(site.by_services(|service| has_risk(service, &["tenant"])), Vec::new())
    }),
    everywhere("DNS over HTTPS to an address that a service has.", "none by this filter"),
    here("DNS tunnelling.", "dns.unlisted: nxdomain or refuse", tunnelling),
    here("An address of another network.", "source_check: strict", other_network),
    here("A source in no group.", "unlisted_clients: deny", no_group),
    here("Unsolicited packets.", "inbound: deny, or a list of rules", unsolicited),
    here("Packets before the filter.", "boot: closed", before_the_filter),
];

fn forged_answers(site: &Site<'_>) -> Option<Found> {
    let (environment, resolvers) = (site.environment, &site.config.dns.resolvers);
    let (mut keys, mut by_way) = (Vec::new(), BTreeMap::<String, Vec<String>>::new());
    for (index, resolver) in resolvers.iter().enumerate() {
        let Resolver { address, via } = resolver;
        let by_route = environment.resolver_interfaces.get(address).into_iter();
        let ways = if via.is_empty() { listed(by_route) } else { listed(via) };
        if !ways.is_empty() && !environment.own_addresses.contains(address) {
            keys.push(format!("dns.resolvers[{index}]"));
            by_way.entry(ways).or_default().push(address.to_string());
        }
    }
    let learning =
        site.groups(|at| !at.is_exempt() && site.has_rule(at, |rule| !rule.fqdns.is_empty()));
    let who = by_way.into_iter().map(|(ways, addresses)| {
        format!(
            "clients of {}, with who can send as {} behind {ways}",
            names(&learning),
            listed(addresses)
        )
    });
    Found::by(if learning.is_empty() { Vec::new() } else { who.collect() }, keys)
}

fn neighbours_place(site: &Site<'_>) -> Option<Found> {
    let has_neighbours = |at: GroupAt<'_>| {
        let without = &site.environment.without_macs;
        site.config.zones_of(at.group).iter().any(|zone| !without.contains(&zone.interface))
    };
    let groups = site.groups(|at| !at.is_exempt() && at.can_be_taken() && has_neighbours(at));
    let line = |at: &GroupAt<'_>| {
        format!("devices on {}, against {}", site.zones_of(&[*at]), at.group.name)
    };
    Found::by(groups.iter().map(line).collect(), groups.iter().map(|at| at.key("macs")).collect())
}

fn shared_limits(site: &Site<'_>) -> Option<Found> {
    let limits = site.config.limits;
    let all = [limits.queries, limits.flows, limits.zone.queries, limits.zone.flows];
    let is_any = all.iter().any(|limit| *limit != Limit::Off);
    is_any.then(|| Found { who: vec![format!("devices on {}", site.zones())], ..Found::default() })
}

/// Open to everyone; some are held back by less than others.
fn flow_table(site: &Site<'_>) -> Option<Found> {
    let (mut who, mut keys) = (Vec::new(), Vec::new());
    if site.config.limits.flows == Limit::Off {
        who.push(format!("devices on {}, without a limit (limits.flows: off)", site.zones()));
        keys.push("limits.flows".to_owned());
    }
    for (index, one) in site.config.interfaces.iter().enumerate() {
        if one.source_check == SourceCheck::Off {
            let limit = "with a limit for each address and MAC alone (source_check: off)";
            who.push(format!("devices on {}, {limit}", one.name));
            keys.push(format!("interfaces[{index}].source_check"));
        }
    }
    Some(Found { who, keys, helps: None })
}

fn table_of_addresses(site: &Site<'_>) -> Option<Found> {
    let groups = site.groups(|at| !at.is_exempt() && site.has_rule(at, has_wildcard));
    let who = (!groups.is_empty()).then(|| format!("clients of {}", names(&groups)));
    Found::by(who.into_iter().collect(), Vec::new())
}

fn exempt_address(site: &Site<'_>) -> Option<Found> {
    let groups = site.groups(GroupAt::is_exempt);
    let line = |at: &GroupAt<'_>| {
        let (zones, name) = (site.zones_of(&[*at]), &at.group.name);
        if at.can_be_taken() {
            format!("devices on {zones}, which can take an address of {name}")
        } else {
            format!("devices on {zones} that clone a MAC address of {name}")
        }
    };
    let open: Vec<&GroupAt<'_>> = groups.iter().filter(|at| at.can_be_taken()).collect();
    let mut found = Found::by(
        groups.iter().map(line).collect(),
        open.iter().map(|at| at.key("mode")).collect(),
    )?;
    if open.is_empty() {
        found.helps = Some("a VLAN of its own for exempt devices");
    }
    Some(found)
}

fn resolver_on_another_port(site: &Site<'_>) -> Option<Found> {
    if site.config.to_gateway != ToGateway::Pass {
        return None;
    }
    let listening = site.environment.listening.iter();
    let mut who: Vec<String> = listening
        .map(|reached| {
            format!("clients on {}, who reach {}", reached.zone, listed(&reached.sockets))
        })
        .collect();
    if who.is_empty() {
        who.push(format!("clients on {}, if one listens there", site.zones()));
    }
    Found::by(who, vec!["to_gateway".to_owned()])
}

fn foreign_tags(site: &Site<'_>) -> Option<Found> {
    let (mut who, mut keys) = (Vec::new(), Vec::new());
    let interfaces = &site.config.interfaces;
    let mut helps = Some("every VLAN of the interface, and 0, in vlans");
    if site.config.other_vlans == OtherVlans::Pass {
        let others = site.environment.other_vlans.iter();
        let others = others.filter(|other| !site.config.filters(&other.device));
        who.extend(others.map(|other| format!("devices in {other}")));
        if who.is_empty() {
            let all = interfaces.iter().map(|interface| &interface.name);
            let once = "once the gateway has a VLAN device without a zone";
            who.push(format!("devices on {}, {once}", listed(all)));
        }
        keys.push("other_vlans".to_owned());
        helps = None;
    }
    for (index, interface) in interfaces.iter().enumerate() {
        if !interface.vlans.is_empty() && !interface.vlans.contains(&0) {
            who.push(format!("devices on {} that send untagged frames", interface.name));
            keys.push(format!("interfaces[{index}].vlans"));
        }
    }
    Some(Found { helps, ..Found::by(who, keys)? })
}

fn not_judged_for_a_while(site: &Site<'_>) -> Option<Found> {
    let groups = site.groups(|at| at.group.mode != GroupMode::Enforce);
    let line = |at: &GroupAt<'_>| format!("clients of {} ({})", at.group.name, at.group.mode);
    Found::by(groups.iter().map(line).collect(), Vec::new())
}

fn stolen_group(site: &Site<'_>) -> Option<Found> {
    let targets = site.groups(|at| !at.is_exempt() && at.can_be_taken());
    let (mut who, mut keys) = (Vec::new(), Vec::new());
    for target in targets {
        let zones = site.config.zones_of(target.group);
        let thieves = site.groups(|at| {
            let shares = site.config.zones_of(at.group).iter().any(|zone| zones.contains(zone));
            at.index != target.index && shares && site.reaches_more(target, at)
        });
        if !thieves.is_empty() {
            let name = &target.group.name;
            who.push(format!("clients of {}, who can take an address of {name}", names(&thieves)));
            keys.push(target.key("macs"));
        }
    }
    Found::by(who, keys)
}

fn tunnelling(site: &Site<'_>) -> Option<Found> {
    if site.config.dns.unlisted != DnsUnlisted::Forward {
        return None;
    }
    let judged = site.groups(|at| !at.is_exempt());
    let who = format!("clients of {}, with who has a domain", names(&judged));
    Found::by(vec![who], vec!["dns.unlisted".to_owned()])
}

fn other_network(site: &Site<'_>) -> Option<Found> {
    let interfaces = site.config.interfaces.iter().enumerate();
    let open = interfaces.filter(|(_, one)| one.source_check != SourceCheck::Strict);
    let (who, keys) = open
        .map(|(index, one)| {
            let who = format!("devices on {} (source_check: {})", one.name, one.source_check);
            (who, format!("interfaces[{index}].source_check"))
        })
        .unzip();
    Found::by(who, keys)
}

fn no_group(site: &Site<'_>) -> Option<Found> {
    (site.config.unlisted_clients == UnlistedClients::Allow).then(|| Found {
        who: vec![format!("devices on {}", site.zones())],
        keys: vec!["unlisted_clients".to_owned()],
        helps: None,
    })
}

fn unsolicited(site: &Site<'_>) -> Option<Found> {
    let is_wide = |inbound: &Inbound| {
        *inbound == Inbound::Allow || inbound.rules().iter().any(InboundRule::is_for_everyone)
    };
    let groups = site.groups(|at| is_wide(&at.group.inbound) && !at.is_exempt());
    let line = |at: &GroupAt<'_>| {
        let ports = if at.group.inbound == Inbound::Allow { "every port" } else { "some ports" };
        format!("any host, to {ports} of clients of {}", at.group.name)
    };
    Found::by(
        groups.iter().map(line).collect(),
        groups.iter().map(|at| at.key("inbound")).collect(),
    )
}

fn before_the_filter(site: &Site<'_>) -> Option<Found> {
    (site.config.boot == Boot::Open).then(|| Found {
        who: vec![format!("clients on {}, and who sends to them", site.zones())],
        keys: vec!["boot".to_owned()],
        helps: None,
    })
}

/// Whether the catalogue says of a service what one of these words tells.
fn has_risk(service: &Service, words: &[&str]) -> bool {
    service.risk.as_ref().is_some_and(|risk| words.iter().any(|word| risk.contains(word)))
}

/// Whether a service has wildcards below which others may have names: of the catalogue's services,
/// those that it warns of.
fn is_wild(service: &Service) -> bool {
    let is_known = service.origin == Origin::Catalogue && service.risk.is_none();
    !is_known && service.rules.iter().any(has_wildcard)
}
