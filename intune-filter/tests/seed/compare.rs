//! In what the list and a catalogue disagree.

use std::collections::BTreeSet;

use intune_filter::{
    catalogue::{Address, Catalogue, Location, Region, Rule, RuleId, Service},
    pattern::Pattern,
};
use intune_filter_ebpf::abi::TransportProtocol;

use crate::list::{Kind, List, Row, Section};

/// Everything in which list and catalogue disagree.
pub fn disagreements(list: &List, catalogue: &Catalogue) -> Vec<String> {
    let mut found = Vec::new();
    for section in &list.sections {
        for row in &section.rows {
            let faults = if row.by.is_empty() {
                uncovered(row, catalogue)
            } else {
                row.by.iter().flat_map(|id| covered(list, section, row, id, catalogue)).collect()
            };
            let place = format!("{}: {:?}", section.r#where, row.printed);
            found.extend(faults.into_iter().map(|fault| format!("{place}: {fault}")));
        }
    }
    for service in catalogue.services() {
        for rule in &service.rules {
            found.extend(unlisted(list, catalogue, service, rule));
        }
    }
    let listed: BTreeSet<_> = list.tenants().collect();
    if catalogue.tenants().collect::<BTreeSet<_>>() != listed {
        found.push("the tenant locations are not those of the list".to_owned());
    }
    found
}

/// What is wrong with a row that no rule covers.
fn uncovered(row: &Row, catalogue: &Catalogue) -> Vec<String> {
    let mut found = Vec::new();
    if row.reason.as_ref().is_none_or(|reason| reason.trim().is_empty()) {
        found.push("neither a rule nor a reason".to_owned());
    }
    match row.kind {
        Kind::Link => {}
        Kind::Host => {
            // A wildcard must not be allowed by another name either.
            let name = row.printed.replace('*', "any");
            for (id, pattern) in patterns(catalogue) {
                if pattern.as_str() == row.printed || pattern.matches(&name) {
                    found.push(format!("{id} has {pattern}, although there is a reason not to"));
                }
            }
        }
        _ => found.push("only a host or a link may have no rule".to_owned()),
    }
    found
}

/// What is wrong with how the rule `id` covers a row.
fn covered(
    list: &List,
    section: &Section,
    row: &Row,
    id: &RuleId,
    catalogue: &Catalogue,
) -> Vec<String> {
    let Some((service, rule)) = catalogue.rule(id) else { return vec![format!("no rule {id}")] };
    let mut found = Vec::new();
    let mut expect = |holds: bool, fault: &str| {
        if !holds {
            found.push(format!("{id}: {fault}"));
        }
    };
    let from_list = list.is_source_of(catalogue, rule);
    if row.is_destination() || row.kind == Kind::Port {
        let (tcp, udp) = row.ports(section);
        expect(from_list, "another document is its source");
        expect(!tcp.is_empty() || !udp.is_empty(), "the row has no ports");
        expect(
            tcp == rule.ports[TransportProtocol::Tcp].iter().copied().collect(),
            "other TCP ports",
        );
        expect(
            udp == rule.ports[TransportProtocol::Udp].iter().copied().collect(),
            "other UDP ports",
        );
        if row.protocol.as_ref().is_some_and(|protocol| protocol.starts_with("HTTP")) {
            expect(udp.is_empty(), "HTTP over UDP");
        }
    }
    if row.is_destination() {
        expect(is_written_right(row), "`as` is not what is printed");
        for (location, expected) in locations(list, rule, row.region) {
            let has = has_destination(catalogue, service, rule, &location, row);
            expect(has == expected, &format!("{location:?}: expected {expected}, found {has}"));
        }
    }
    match row.kind {
        Kind::Note => {
            let says = row.says.as_deref().unwrap_or("");
            let noted = service.notes.iter().any(|note| note.contains(says));
            expect(!says.is_empty() && noted, "no note of the service says so");
        }
        Kind::Link => expect(!from_list, "the linked document is not its source"),
        Kind::Tenant => {
            expect(row.region.is_some(), "the row has no region");
            expect(catalogue.region_of(&row.printed) == row.region, "another region");
        }
        _ => {}
    }
    found
}

/// Whether a row's `as` means what is printed, or the row says why it does not.
fn is_written_right(row: &Row) -> bool {
    let (printed, meant) = (row.printed.trim(), row.destination());
    match row.kind {
        Kind::Url => printed.strip_prefix("https://") == Some(meant),
        Kind::Storage => {
            let same = meant.strip_suffix(".blob.core.windows.net") == Some(printed);
            same != row.reason.is_some()
        }
        Kind::Host => {
            meant == printed || meant.parse::<Pattern>().is_ok_and(|meant| meant.matches(printed))
        }
        _ => meant == printed,
    }
}

/// Every location that may make a difference, and whether it must select what belongs to `region`.
fn locations(list: &List, rule: &Rule, region: Option<Region>) -> Vec<(Location, bool)> {
    let expected = |of: Region| region.is_none_or(|region| region == of);
    let mut locations = vec![(Location::All, true)];
    if region.is_some() || rule.to.iter().any(|datum| !datum.when.is_always()) {
        locations.extend(Region::ALL.iter().map(|of| (Location::Region(*of), expected(*of))));
        locations.extend(list.tenants().map(|(tenant, of)| {
            (Location::Tenant { tenant: tenant.to_owned(), region: of }, expected(of))
        }));
    }
    locations
}

fn has_destination(
    catalogue: &Catalogue,
    service: &Service,
    rule: &Rule,
    location: &Location,
    row: &Row,
) -> bool {
    let destinations = catalogue.destinations(service, rule, &location.clone().into());
    if row.kind == Kind::Prefix {
        destinations.cidrs.iter().any(|cidr| cidr.to_string() == row.destination())
    } else {
        destinations.fqdns.iter().any(|pattern| pattern.as_str() == row.destination())
    }
}

/// What a rule has that the list does not.
fn unlisted(list: &List, catalogue: &Catalogue, service: &Service, rule: &Rule) -> Vec<String> {
    let id = service.rule_id(rule);
    let rows: Vec<&Row> = list.rows().filter(|row| row.by.contains(&id)).collect();
    let mut found = Vec::new();
    if rows.is_empty() {
        found.push(format!("{id}: no row of the list names it"));
    }
    if list.is_source_of(catalogue, rule) {
        let listed: BTreeSet<&str> =
            rows.iter().filter(|row| row.is_destination()).map(|row| row.destination()).collect();
        for destination in own_destinations(rule) {
            if !listed.contains(destination.as_str()) {
                found.push(format!("{id}: {destination} is not in the list"));
            }
        }
        let has_ports = |row: &&Row| row.is_destination() || row.kind == Kind::Port;
        if !rows.iter().any(has_ports) {
            found.push(format!("{id}: no row has its ports"));
        }
    }
    found
}

fn own_destinations(rule: &Rule) -> Vec<String> {
    rule.to.iter().map(|datum| datum.address.to_string()).collect()
}

fn patterns(catalogue: &Catalogue) -> impl Iterator<Item = (RuleId, &Pattern)> {
    catalogue.services().iter().flat_map(|service| {
        service.rules.iter().flat_map(|rule| {
            rule.to.iter().filter_map(|datum| match &datum.address {
                Address::Fqdn(pattern) => Some((service.rule_id(rule), pattern)),
                _ => None,
            })
        })
    })
}
