//! Sets carry their scenarios, tenants and clouds narrow, what is retired or broad is off, and every
//! id of the edition before resolves.

use std::collections::BTreeSet;

use intune_filter::{
    catalogue::{
        Address, Catalogue, Cloud, Datum, Location, Role, RuleId, Selector, Service, Status,
    },
    pattern::Pattern,
    ports::Ports as RulePorts,
};
use intune_filter_ebpf::abi::TransportProtocol;

use crate::{
    CLOUDS, data, edition, everything,
    fixtures::{Missing, Ports, decisions, missing, narrowed, retired},
    judge::{Reach, fill},
    old, site,
};

/// Sets, or services that are in no set, that have to carry a scenario.
const SCENARIOS: [(&str, &[&str]); 10] = [
    ("all-platforms", &["windows", "apple", "android"]),
    ("windows-autopilot", &["windows"]),
    ("win32-apps", &["windows"]),
    ("windows-update", &["windows"]),
    ("microsoft-store", &["windows"]),
    ("defender", &["windows"]),
    ("remote-help", &["remote-help"]),
    ("apple-enrolment", &["apple"]),
    ("macos-enrolment", &["apple"]),
    ("android-enrolment", &["android"]),
];

/// Retired names that a wildcard, which the documents still require, has.
const BELOW_A_WILDCARD: [(&str, &str); 1] = [("ax.itunes.apple.com", "*.itunes.apple.com")];

/// Members of a set, or the service itself.
fn members(catalogue: &'static Catalogue, name: &str) -> Vec<&'static Service> {
    catalogue.resolve(name).unwrap_or_else(|| panic!("{name} is neither set nor service"))
}

/// Whether an address is for another tenant or region than a site's.
fn is_elsewhere(row: &Missing) -> bool {
    let regional = |datum: &Datum| !datum.when.tenant.is_empty() || !datum.when.region.is_empty();
    let matches = |datum: &Datum| datum.address.to_string() == row.address;
    edition().services().iter().flat_map(data).any(|datum| regional(datum) && matches(datum))
}

#[test]
fn no_required_row_is_missing_from_the_set_of_its_scenario() {
    let (catalogue, rows) = (edition(), missing());
    let required: Vec<&Missing> =
        rows.iter().filter(|row| row.need.starts_with("required")).collect();
    assert_eq!((rows.len(), required.len()), (294, 264));
    let tenants = catalogue.tenants().map(|(tenant, _)| catalogue.tenant(tenant).unwrap());
    let mut lost = Vec::new();
    let mut judged = 0;
    for location in std::iter::once(Location::All).chain(tenants) {
        let union = location == Location::All;
        let selector = site(Cloud::Worldwide, location);
        for (scenario, sets) in SCENARIOS {
            let of_scenario: Vec<_> =
                required.iter().filter(|row| row.scenario == scenario).collect();
            assert!(!of_scenario.is_empty(), "{scenario}: no row");
            for set in sets {
                let reach = Reach::of(catalogue, members(catalogue, set), &selector);
                for row in &of_scenario {
                    judged += 1;
                    let coverage = reach.cover(&row.address, &row.ports);
                    if !coverage.is_full() && (union || !is_elsewhere(row)) {
                        let place =
                            format!("{set}: {} {}{}", row.service, row.address, coverage.left);
                        lost.push(format!("{place} ({:?})", selector.location));
                    }
                }
            }
        }
    }
    println!("{} required rows, {judged} judgements, {} missing", required.len(), lost.len());
    assert!(lost.is_empty(), "{} missing:\n{}", lost.len(), lost.join("\n"));
    let known = |row: &&Missing| SCENARIOS.iter().any(|(scenario, _)| *scenario == row.scenario);
    assert_eq!(required.iter().filter(|row| known(row)).count(), required.len());
}

#[test]
fn a_tenant_has_the_storage_of_its_own_and_of_no_other() {
    let catalogue = edition();
    assert_eq!(catalogue.tenants().count(), 34);
    let storage = |selector: &Selector| -> Vec<String> {
        let service = catalogue.service("diagnostics").unwrap();
        let rules = service.rules.iter();
        let to = rules.flat_map(|rule| catalogue.destinations(service, rule, selector).fqdns);
        to.map(|pattern| pattern.to_string()).collect()
    };
    for (tenant, region) in catalogue.tenants() {
        let selector = site(Cloud::Worldwide, catalogue.tenant(tenant).unwrap());
        let own = format!("{}lmsas.blob.core.windows.net", tenant.to_lowercase());
        assert_eq!(storage(&selector), [own.as_str()], "{tenant}");
        let of_region = storage(&site(Cloud::Worldwide, Location::Region(region)));
        assert!(of_region.contains(&own) && of_region.len() < 34, "{tenant}: {of_region:?}");
    }
    assert_eq!(storage(&site(Cloud::Worldwide, Location::All)).len(), 34);
    // The other clouds' storage is not in the documents, and is not made of names of this one's.
    assert_eq!(storage(&site(Cloud::UsGovernment, Location::All)), [""; 0]);
    assert_eq!(storage(&site(Cloud::China, Location::All)), [""; 0]);
}

#[test]
fn what_is_retired_is_off_by_default() {
    let catalogue = edition();
    let rows = retired();
    let addresses = rows.iter().filter(|row| row.status == "retired").map(|row| &*row.address);
    let gone: Vec<&str> = addresses.collect();
    assert_eq!((rows.len(), gone.len()), (61, 54));
    for cloud in CLOUDS {
        let selector = site(cloud, Location::All);
        let services = members(catalogue, "default");
        for service in &services {
            for rule in &service.rules {
                let to = catalogue.destinations(service, rule, &selector);
                for address in &gone {
                    // The document's sentence on port 444, in two words.
                    if address.contains(['(', ')']) {
                        let has_444 = |ports: &RulePorts| {
                            !ports.all(|ranges| {
                                ranges
                                    .iter()
                                    .all(|range| !(range.first()..=range.last()).contains(&444))
                            })
                        };
                        assert!(to.fqdns.is_empty() || !has_444(&rule.ports), "{}", service.id);
                        continue;
                    }
                    let by = to.fqdns.iter().map(ToString::to_string);
                    let by: Vec<String> = by
                        .chain(to.cidrs.iter().map(ToString::to_string))
                        .filter(|one| {
                            one == address
                                || one
                                    .parse()
                                    .is_ok_and(|pattern: Pattern| pattern.matches(address))
                        })
                        .collect();
                    let known = |one: &String| BELOW_A_WILDCARD.contains(&(*address, one.as_str()));
                    assert!(by.iter().all(known), "{} has {address}: {by:?}", service.id);
                }
            }
        }
    }
    // Each can be loaded, or nothing of it is left.
    let all = everything(catalogue, Cloud::Worldwide);
    let reach = Reach::of(catalogue, catalogue.services(), &all);
    let loadable = |address: &&&str| !reach.cover(address, &Ports::default()).by.is_empty();
    println!(
        "{} of {} retired rows can be loaded",
        gone.iter().filter(loadable).count(),
        gone.len()
    );
    assert_eq!(
        gone.iter().filter(|address| !loadable(address)).collect::<Vec<_>>(),
        [&"(port", &"444)"]
    );
}

#[test]
fn the_others_have_a_decision_in_each_cloud() {
    let catalogue = edition();
    let decisions = decisions();
    let rows = retired();
    let undecided: BTreeSet<&str> =
        rows.iter().filter(|row| row.status != "retired").map(|row| &*row.address).collect();
    assert_eq!(undecided, decisions.keys().map(String::as_str).collect());
    for (address, decision) in &decisions {
        for cloud in CLOUDS {
            let selector = everything(catalogue, cloud);
            let of_cloud: Vec<(&Service, &Datum)> = catalogue
                .services()
                .iter()
                .flat_map(|service| data(service).map(move |datum| (service, datum)))
                .filter(|(_, datum)| datum.address.to_string() == *address)
                .filter(|(_, datum)| selector.is_for(catalogue, datum))
                .collect();
            // An address that one service has and another had is current.
            let status = [Status::Current, Status::Observed, Status::Legacy]
                .into_iter()
                .find(|status| of_cloud.iter().any(|(_, datum)| datum.status == *status));
            let status = status.map_or("none", Status::as_str);
            assert_eq!(status, decision.status[cloud.as_str()], "{address} in {cloud}");
            let by = of_cloud.iter().map(|(service, _)| service.id.as_str());
            let by: BTreeSet<&str> = by.collect();
            assert!(by.iter().all(|one| decision.services.iter().any(|s| s == one)), "{by:?}");
        }
    }
}

#[test]
fn ports_are_as_narrow_as_in_the_documents() {
    let catalogue = edition();
    let selector = everything(catalogue, Cloud::Worldwide);
    for row in narrowed() {
        let service = catalogue.service(&row.service).unwrap_or_else(|| panic!("{}", row.service));
        for address in &row.addresses {
            let mut found = false;
            for rule in &service.rules {
                let to = catalogue.destinations(service, rule, &selector);
                let named = |address: &String| to.fqdns.iter().any(|one| one.as_str() == address);
                if address == "*" && !to.fqdns.is_empty() || named(address) {
                    found = true;
                    let tcp = &rule.ports[TransportProtocol::Tcp];
                    assert_eq!(*tcp, row.tcp, "{}/{} for {address}", service.id, rule.id);
                }
            }
            assert!(found, "{} has no {address}", row.service);
        }
    }
}

#[test]
fn prefixes_of_core_are_a_fallback_and_nothing_broad_is_on_by_default() {
    let catalogue = edition();
    let default: BTreeSet<&str> =
        members(catalogue, "default").into_iter().map(|service| service.id.as_str()).collect();
    for service in catalogue.services() {
        for datum in data(service) {
            let (id, address) = (&service.id, datum.address.to_string());
            if matches!(datum.address, Address::Cidr(_)) && default.contains(id.as_str()) {
                assert_eq!(datum.role, Some(Role::Fallback), "{id}: {address}");
            }
            let shared = ["azureedge.net", "blob.core.windows.net"].into_iter();
            if shared.clone().any(|domain| address.ends_with(domain)) {
                assert!(datum.risk.is_some(), "{id}: {address} has no risk");
            }
            if datum.status == Status::Current && default.contains(id.as_str()) {
                let wild =
                    address.contains('*') && shared.clone().any(|domain| address.ends_with(domain));
                assert!(!wild, "{id}: {address}, below which anyone may have a name");
                assert!(!address.ends_with("azureedge.net"), "{id}: {address}");
                let storage = address.ends_with("blob.core.windows.net");
                assert!(!storage || !datum.when.tenant.is_empty(), "{id}: {address}");
            }
        }
    }
}

#[test]
fn every_id_of_the_old_edition_resolves() {
    let (new, old) = (edition(), old());
    for service in old.services() {
        let names = std::iter::once(&service.id).chain(&service.aliases);
        for name in names {
            assert!(!new.named(name).is_empty(), "{name} is neither id nor alias");
        }
        for rule in &service.rules {
            let id = RuleId { service: service.id.clone(), rule: rule.id.clone() };
            assert!(!new.rules_named(&id).is_empty(), "{id} is no rule");
        }
    }
    for set in old.sets() {
        assert!(new.set(set).is_some_and(|services| !services.is_empty()), "{set}");
    }
    for (tenant, region) in old.tenants() {
        assert_eq!(new.region_of(tenant), Some(region), "{tenant}");
    }
    let names: BTreeSet<&str> = new.sets().into_iter().collect();
    assert_eq!(names, BTreeSet::from(["all", "android", "apple", "default", "windows"]));
    let of =
        |set| members(new, set).into_iter().map(|one| one.id.as_str()).collect::<BTreeSet<_>>();
    let platforms: BTreeSet<&str> =
        ["windows", "apple", "android"].into_iter().flat_map(of).collect();
    assert_eq!(of("default"), platforms);
}

#[test]
fn each_cloud_has_its_own_core_and_sign_in() {
    let catalogue = edition();
    for (cloud, on, off) in [
        (
            Cloud::Worldwide,
            ["fef.manage.microsoft.com", "login.microsoftonline.com"],
            ["fef.manage.microsoft.us", "login.microsoftonline.us"],
        ),
        (
            Cloud::UsGovernment,
            ["fef.manage.microsoft.us", "login.microsoftonline.us"],
            ["fef.manage.microsoft.com", "login.partner.microsoftonline.cn"],
        ),
        (
            Cloud::China,
            ["fef.manage.microsoftonline.cn", "login.partner.microsoftonline.cn"],
            ["fef.manage.microsoft.com", "login.microsoftonline.us"],
        ),
    ] {
        for set in ["windows", "apple", "android"] {
            let reach = Reach::of(catalogue, members(catalogue, set), &site(cloud, Location::All));
            let reached = |name: &&str| !reach.cover(&fill(name), &Ports::default()).by.is_empty();
            assert!(on.iter().all(reached), "{set} in {cloud}");
            assert!(!off.iter().any(reached), "{set} in {cloud}");
        }
    }
}

/// The page's figures on the names that the daemon resolves in advance.
#[test]
fn the_page_counts_the_exact_names_of_the_default_set() {
    let catalogue = edition();
    let exact = |location| {
        let selector = Selector { location, ..Selector::default() };
        let services = members(catalogue, "default").into_iter();
        let rules = services.flat_map(|one| one.rules.iter().map(move |rule| (one, rule)));
        let names =
            rules.flat_map(|(one, rule)| catalogue.destinations(one, rule, &selector).fqdns);
        names.flat_map(|pattern| pattern.names()).collect::<BTreeSet<_>>().len()
    };
    let (all, one) = (exact(Location::All), exact(catalogue.tenant("AMSUB0502").unwrap()));
    let page = include_str!("../../docs/OPERATING.md");
    let words = page.split_whitespace().collect::<Vec<_>>().join(" ");
    let said = format!("The {all} exact names of the set `default` ({one} with a `tenant`)");
    assert!(words.contains(&said), "OPERATING does not say: {said}");
}
