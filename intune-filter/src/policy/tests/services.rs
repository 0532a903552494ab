//! Tests overrides, the site's own services, and destinations selected by region.

use intune_filter_ebpf::abi::TransportProtocol;

use super::{config, errors, ids, in_force, policy};
use crate::policy::{Origin, Policy, Rule};

fn rule<'a>(policy: &'a Policy, id: &str) -> &'a Rule {
    policy.rules.values().find(|rule| rule.id.to_string() == id).expect(id)
}

fn fqdns(policy: &Policy, id: &str) -> Vec<String> {
    rule(policy, id).fqdns.iter().map(ToString::to_string).collect()
}

fn cidrs(policy: &Policy, id: &str) -> Vec<String> {
    rule(policy, id).cidrs.iter().map(ToString::to_string).collect()
}

#[track_caller]
fn refused(services: &str, more: &str, key: &str, says: &str) {
    let errors = errors(&config(services, more));
    let [error] = &errors[..] else { panic!("{errors:?}") };
    assert_eq!(error.key, key, "{error}");
    assert!(error.message.contains(says), "{error}");
    assert!(error.line.is_some());
}

#[test]
fn a_region_or_tenant_selects() {
    for (more, names, networks) in [
        ("", vec!["eu.example", "tenant.example", "ap.example"], 2),
        ("region: all", vec!["eu.example", "tenant.example", "ap.example"], 2),
        ("region: europe", vec!["eu.example", "tenant.example"], 2),
        ("region: north-america", vec![], 1),
        ("tenant: AMSUB0502", vec!["eu.example", "tenant.example"], 2),
        ("tenant: amsub0502", vec!["eu.example", "tenant.example"], 2),
        ("tenant: AMSUB0502\nregion: europe", vec!["eu.example", "tenant.example"], 2),
        ("tenant: AMSUC0101", vec!["ap.example"], 1),
    ] {
        let policy = policy(&config("[regional]", more));
        assert_eq!(fqdns(&policy, "regional/attest"), names, "{more}");
        assert_eq!(cidrs(&policy, "regional/attest").len(), networks, "{more}");
        assert_eq!(fqdns(&policy, "regional/everywhere").len(), 2);
    }
}

#[test]
fn tenants_that_are_unknown_or_elsewhere() {
    refused("[core]", "tenant: AMSUZ0000", "tenant", "unknown tenant location \"AMSUZ0000\"");
    let says = "contradicts tenant AMSUB0502, which is in europe";
    refused("[core]", "tenant: AMSUB0502\nregion: asia-pacific", "region", says);
    refused("[core]", "tenant: AMSUB0502\nregion: all", "region", says);
}

#[test]
fn an_override_replaces_what_it_names() {
    let more = "services: [{id: core, title: Ours, fqdns: [a.example], tcp: [8443]}]";
    let policy = policy(&config("[core, protection]", more));
    let service = policy.services.iter().find(|service| service.id == "core").unwrap();
    assert_eq!((service.title.as_str(), service.origin), ("Ours", Origin::Overridden));
    assert_eq!(fqdns(&policy, "core/core"), ["a.example"]);
    assert_eq!(cidrs(&policy, "core/core"), ["10.1.0.0/16"]);
    assert_eq!(rule(&policy, "core/core").ports[TransportProtocol::Tcp], ["8443".parse().unwrap()]);
    // A rule with the same destinations has the new ones, and its own ports.
    assert_eq!(fqdns(&policy, "protection/wip"), ["a.example"]);
    assert_eq!(
        rule(&policy, "protection/wip").ports[TransportProtocol::Tcp],
        ["444".parse().unwrap()]
    );
}

#[test]
fn an_override_replaces_what_a_region_selects() {
    let more = "services: [{id: regional, rules: [{id: attest, fqdns: [a.example]}]}]";
    let policy = policy(&config("[regional]", more));
    assert_eq!(fqdns(&policy, "regional/attest"), ["a.example"]);
    assert_eq!(cidrs(&policy, "regional/attest"), ["10.2.0.0/16", "10.2.5.0/24"]);
}

#[test]
fn destinations_of_another_rule_end_when_own_ones_are_named() {
    let policy =
        policy(&config("[protection]", "services: [{id: protection, cidrs: [10.9.0.0/16]}]"));
    assert_eq!(cidrs(&policy, "protection/wip"), ["10.9.0.0/16"]);
    assert_eq!(fqdns(&policy, "protection/wip"), [""; 0]);
}

#[test]
fn site_networks_are_the_sites() {
    let policy = policy(&config("[peers]", "services: [{id: peers, cidrs: [10.7.0.0/16]}]"));
    assert_eq!(cidrs(&policy, "peers/content"), ["10.7.0.0/16"]);
    assert_eq!(cidrs(&policy, "peers/teredo"), ["10.7.0.0/16"]);
    assert_eq!(
        rule(&policy, "peers/teredo").ports[TransportProtocol::Udp],
        ["3544".parse().unwrap()]
    );
    refused("[peers]", "", "clients[0].services[0]", "needs the site's own networks");
}

#[test]
fn a_set_leaves_out_what_has_no_destinations_and_says_so() {
    let policy = policy(&config("[windows]", ""));
    assert!(!in_force(&policy).iter().any(|id| id.starts_with("peers/")));
    let told: Vec<_> = policy.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("clients[0].services[0]: peers needs the site's own networks"));
}

#[test]
fn a_rule_of_another_region_takes_no_bit() {
    let policy = policy(&config("[asia, core]", "region: europe"));
    assert_eq!(in_force(&policy), ["core/core"]);
    assert!(policy.warnings[0].message.contains("asia has nothing for this site"));
}

#[test]
fn one_rule_can_lose_a_protocol() {
    let rules = "services: [{id: regional, rules: [{id: everywhere, udp: []}]}]";
    let policy = policy(&config("[regional]", rules));
    assert!(rule(&policy, "regional/everywhere").ports[TransportProtocol::Udp].is_empty());
    assert!(!rule(&policy, "regional/everywhere").ports[TransportProtocol::Tcp].is_empty());
}

#[test]
fn overrides_that_cannot_be_meant() {
    let none = "no port, expected at least one";
    for (site, key, says) in [
        ("{id: core}", "services[0]", "overrides nothing"),
        ("{id: connector, tcp: [1]}", "services[0].id", "another name of core"),
        ("{id: windows, tcp: [1]}", "services[0].id", "a set of services"),
        ("{id: all, tcp: [1]}", "services[0].id", "a set of services"),
        ("{id: regional, tcp: [1]}", "services[0]", "several rules (attest, everywhere)"),
        ("{id: regional, cidrs: [10.0.0.0/8]}", "services[0]", "several rules"),
        ("{id: peers, cidrs: [10.0.0.0/8], tcp: [1]}", "services[0]", "several rules"),
        (
            "{id: core, rules: [{id: x, tcp: [1]}]}",
            "services[0].rules[0].id",
            "expected one of core",
        ),
        ("{id: core, tcp: []}", "services[0].tcp", none),
        ("{id: core, rules: [{id: core, tcp: []}]}", "services[0].rules[0].tcp", none),
        ("{id: core, fqdns: [], cidrs: []}", "services[0]", "no destination"),
        ("{id: core, fqdns: [a.example, A.example.]}", "services[0].fqdns[1]", "stands twice"),
    ] {
        refused(
            "[ntp]",
            &format!("services: [{{id: ntp, cidrs: [1.0.0.0/8], tcp: [1]}}, {site}]"),
            &key.replace("services[0]", "services[1]"),
            says,
        );
    }
}

#[test]
fn own_services() {
    let more = "services:\n  \
        - {id: one, cidrs: [10.30.0.10/32], tcp: [631], udp: [5353]}\n  \
        - {id: two, title: Two, rules: [{id: a, fqdns: [a.example], tcp: [1]}, {id: b, cidrs: [10.0.0.0/8], udp: [2]}]}";
    let policy = policy(&config("[one, two]", more));
    assert_eq!(in_force(&policy), ["one/site", "two/a", "two/b"]);
    assert_eq!(ids(&policy, policy.rules_of_port(TransportProtocol::Udp, 5353)), ["one/site"]);
    assert_eq!(ids(&policy, policy.rules_of_name("a.example")), ["two/a"]);
    let titles: Vec<_> = policy.services.iter().rev().take(2).map(|s| s.title.as_str()).collect();
    assert_eq!(titles, ["Two", "one"]);
}

#[test]
fn own_services_that_can_allow_nothing() {
    for (site, key, says) in [
        ("{id: x, cidrs: [10.0.0.0/8]}", "services[0]", "no port"),
        ("{id: x, cidrs: [10.0.0.0/8], tcp: []}", "services[0].tcp", "an empty port list"),
        (
            "{id: x, cidrs: [10.0.0.0/8], tcp: [1], udp: []}",
            "services[0].udp",
            "an empty port list",
        ),
        ("{id: x, tcp: [1]}", "services[0]", "no destination"),
        ("{id: x, fqdns: [], cidrs: [], tcp: [1]}", "services[0]", "no destination"),
        ("{id: x, rules: [{id: y, tcp: [1]}]}", "services[0].rules[0]", "no destination"),
        ("{id: x, cidrs: [10.0.0.0/8, 10.0.0.0/8], tcp: [1]}", "services[0].cidrs[1]", "twice"),
    ] {
        refused("[core]", &format!("services: [{site}]"), key, says);
    }
}
