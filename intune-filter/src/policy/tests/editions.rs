//! Tests the choice among editions and their data, and files that were written for an earlier edition.

use super::config;
use crate::{
    catalogue::Catalogue,
    policy::{Narrowed, Policy, Rule, RuleBits, Services, compile, load_text, taken},
    yaml::FileError,
};

/// Edition in which services of 2023-09 have been split and have gained rules.
const EDITION: &str = "
format: 2
edition: 2026-08
sources: {doc: {title: Document, date: 2026-08-21}}
tenants: {AMSUB0502: europe}
sets: {windows: [clock, probe, update], default: [windows]}
";

const SERVICES: &str = "
format: 2
services:
  - id: clock
    title: Time
    aliases: [ntp]
    rules:
      - {id: time, udp: [123], from: doc, to: [time.example]}
  - id: probe
    title: Probes
    aliases: [ntp]
    rules:
      - {id: http, aliases: [ntp/probes], tcp: [80], from: doc, to: [probe.example]}
  - id: windows-update
    title: Update
    aliases: [update]
    rules:
      - {id: metadata, tcp: [443], from: doc, to: [meta.example]}
      - {id: content, tcp: [80], from: doc, to: [content.example]}
  - id: update-old
    title: Retired
    rules:
      - {id: old, tcp: [80], from: doc, status: legacy, to: [old.example]}
      - {id: seen, tcp: [80], from: doc, status: observed, to: [seen.example]}
  - id: enrolment
    title: Enrolment
    rules:
      - id: aliases
        tcp: [443]
        from: doc
        to: [{fqdn: 'enrol.{domain}'}, {fqdn: worldwide.example, when: {cloud: worldwide}}]
";

fn edition() -> Catalogue {
    let sets = EDITION.replace("probe, update", "probe, windows-update");
    Catalogue::parse([("edition.yaml", &*sets), ("a.yaml", SERVICES)]).unwrap()
}

/// The rules in force with names and ports, and the warnings.
fn compiled(services: &str, more: &str) -> (Vec<String>, Vec<FileError>) {
    let policy: Policy = compile(&config(services, more), &edition(), &RuleBits::new())
        .unwrap_or_else(|errors| panic!("{errors}"));
    let mut rules: Vec<String> = policy
        .rules
        .values()
        .map(|rule| {
            let names: Vec<String> = rule.fqdns.iter().map(ToString::to_string).collect();
            let ports =
                rule.ports.iter().flat_map(|(_, ports)| ports.iter().map(ToString::to_string));
            format!("{} {} {}", rule.id, names.join(","), ports.collect::<Vec<_>>().join(","))
        })
        .collect();
    rules.sort();
    (rules, policy.warnings)
}

fn refused(services: &str, more: &str) -> String {
    let config = config(services, more);
    compile(&config, &edition(), &RuleBits::new()).unwrap_err().to_string()
}

#[test]
fn entries_for_an_earlier_edition_change_what_became_of_the_service() {
    let windows = "[windows]";
    // One rule of 2023-09, two of now.
    let (rules, warnings) =
        compiled(windows, "services: [{id: windows-update, fqdns: [wsus.example]}]");
    assert_eq!(
        rules,
        [
            "clock/time time.example 123",
            "probe/http probe.example 80",
            "windows-update/content wsus.example 80",
            "windows-update/metadata wsus.example 443",
        ]
    );
    let said = |warnings: &[FileError], key: &str, text: &str| {
        let said = warnings.iter().any(|one| one.key == key && one.message.contains(text));
        assert!(said, "{key}: {text}: {warnings:?}");
    };
    said(&warnings, "services[0]", "has several rules, and all change: metadata, content");

    // A rule by its id of then, in the service that has taken it over; and one that kept its id.
    let more = "services: [{id: ntp, rules: [{id: probes, tcp: [8080]}, {id: time, udp: [124]}]}]";
    let (rules, warnings) = compiled("[ntp]", more);
    assert_eq!(rules, ["clock/time time.example 124", "probe/http probe.example 8080"]);
    said(&warnings, "services[0].id", "this is clock and probe");

    // What 2023-09 refused, or no edition knows, is refused still.
    for (entry, says) in [
        ("{id: ntp, tcp: [1]}", "ntp has several rules (time, http)"),
        (
            "{id: ntp, rules: [{id: x, tcp: [1]}]}",
            "ntp has no such rule, expected one of time, http",
        ),
        ("{id: update, tcp: [1]}", "another name of windows-update, expected that id"),
        ("{id: clock, rules: [{id: probes, tcp: [1]}]}", "no such rule, expected one of time"),
    ] {
        let error = refused(windows, &format!("services: [{entry}]"));
        assert!(error.contains(says), "{entry}: {error}");
    }
}

#[test]
fn names_of_an_earlier_edition_are_services() {
    let (rules, warnings) = compiled("[ntp]", "");
    assert_eq!(rules, ["clock/time time.example 123", "probe/http probe.example 80"]);
    assert_eq!(warnings, []);
}

#[test]
fn what_is_off_by_default_can_be_taken() {
    for (more, expected) in [
        ("", &[][..]),
        ("catalogue: {legacy: true}", &["update-old/old old.example 80"]),
        ("catalogue: {observed: [update-old]}", &["update-old/seen seen.example 80"]),
        ("catalogue: {observed: [windows-update]}", &[]),
    ] {
        let (rules, warnings) = compiled("[update-old]", more);
        assert_eq!(rules, expected, "{more}");
        let says =
            warnings.iter().any(|one| one.message.contains("update-old has nothing for this"));
        assert_eq!(says, expected.is_empty(), "{more}: {warnings:?}");
    }
    let error = refused("[ntp]", "catalogue: {observed: [update-oldd]}");
    assert!(error.contains("catalogue.observed[0]: unknown service"), "{error}");
    assert!(error.contains("did you mean update-old"), "{error}");
}

#[test]
fn the_sites_domains_and_cloud_narrow() {
    for (more, expected) in [
        ("", "enrolment/aliases worldwide.example 443"),
        ("domains: [contoso.com]", "enrolment/aliases enrol.contoso.com,worldwide.example 443"),
        ("domains: [a.test]\ncloud: china", "enrolment/aliases enrol.a.test 443"),
    ] {
        assert_eq!(compiled("[enrolment]", more).0, [expected], "{more}");
    }
}

#[test]
fn a_tenant_of_any_edition_is_known() {
    let (rules, warnings) = compiled("[ntp]", "tenant: amsub0502");
    assert_eq!((rules.len(), warnings.len()), (2, 0));
    // Of 2023-09 alone, as far as this edition says.
    let (rules, warnings) = compiled("[ntp]", "tenant: AMSUD0101");
    assert_eq!(rules.len(), 2);
    let [warning] = &warnings[..] else { panic!("{warnings:?}") };
    assert_eq!(warning.key, "tenant");
    assert!(warning.message.contains("its region asia-pacific counts"), "{warning}");
    let error = refused("[ntp]", "tenant: AMSUB0503");
    for says in
        ["tenant: unknown tenant location", "AMSUA0101, ", "AMSUD0101", "did you mean AMSUB050"]
    {
        assert!(error.contains(says), "{says}: {error}");
    }
    assert!(refused("[ntp]", "tenant: AMSUD0101\nregion: europe").contains("in asia-pacific"));
}

#[test]
fn the_edition_is_chosen_by_its_name() {
    let load = |more: &str| {
        let text = format!(
            "interfaces: [{{name: eth1}}]\n\
             clients: [{{name: lan, networks: [192.168.0.0/24], services: [intune-core]}}]\n\
             dns: {{resolvers: [192.168.0.1]}}\n{more}\n"
        );
        load_text("config.yaml", &text, |_| {}, &RuleBits::new())
    };
    for name in Catalogue::editions() {
        let loaded = load(&format!("edition: {name}")).unwrap();
        assert_eq!(loaded.catalogue.edition().name, name);
    }
    assert_eq!(load("").unwrap().catalogue.edition().name, crate::catalogue::LATEST);
    let error = load("edition: 2020-01").unwrap_err().to_string();
    assert!(error.starts_with("config.yaml:4: edition: unknown edition \"2020-01\""), "{error}");
    assert!(error.contains("expected latest or 2023-09 or 2026-08"), "{error}");

    let directory = tempfile::tempdir().unwrap();
    std::fs::write(
        directory.path().join("edition.yaml"),
        EDITION.replace("edition: 2026-08", "edition: mine"),
    )
    .unwrap();
    let services = SERVICES
        .replace("id: clock", "id: intune-core")
        .replace("id: windows-update", "id: update");
    let services = services.replace("aliases: [update]", "");
    let sets = std::fs::read_to_string(directory.path().join("edition.yaml")).unwrap();
    std::fs::write(directory.path().join("edition.yaml"), sets.replace("clock", "intune-core"))
        .unwrap();
    std::fs::write(directory.path().join("a.yaml"), services).unwrap();
    let paths = format!("paths: {{catalogue: {:?}}}", directory.path());
    let loaded = load(&paths).unwrap();
    assert_eq!(loaded.catalogue.edition().name, "mine");
    assert_eq!(loaded.policy.warnings, []);
    let loaded = load(&format!("edition: 2023-09\n{paths}")).unwrap();
    assert_eq!(loaded.catalogue.edition().name, "mine");
    let [warning] = &loaded.policy.warnings[..] else { panic!("{:?}", loaded.policy.warnings) };
    assert!(warning.message.contains("paths.catalogue is in place of every edition"), "{warning}");
}

/// Entries of `services` that sites wrote for 2023-09, of every kind and for every service.
fn corpus(of: &Catalogue) -> Vec<String> {
    let mut entries = vec!["services: []".to_owned()];
    entries.extend(of.tenants().map(|(tenant, _)| format!("tenant: {tenant}")));
    entries.extend(["region: europe".to_owned(), "region: asia-pacific".to_owned()]);
    for service in of.services() {
        let id = &service.id;
        let mut add = |parts: &str| entries.push(format!("services: [{{id: {id}, {parts}}}]"));
        add("title: Other");
        if let [rule] = &service.rules[..] {
            add("cidrs: [10.0.0.0/8]");
            if !rule.site_networks {
                add("fqdns: [site.example]");
                add("tcp: [443, 8443]");
            }
        }
        if service.rules.iter().any(|rule| rule.site_networks) {
            add("cidrs: [10.0.0.0/8]");
        }
        for rule in &service.rules {
            add(&format!("rules: [{{id: {}, tcp: [8443], cidrs: [192.0.2.0/24]}}]", rule.id));
        }
    }
    entries
}

#[test]
fn what_was_written_for_the_first_edition_loads_with_every_one() {
    let first = Catalogue::edition_named("2023-09").unwrap();
    let corpus = corpus(first);
    assert!(corpus.len() > 150, "{}", corpus.len());
    for name in Catalogue::editions() {
        let catalogue = Catalogue::edition_named(name).unwrap();
        for entry in &corpus {
            let config = config("[default]", entry);
            let (services, errors) = Services::of(&config, catalogue);
            assert_eq!(errors, [], "{name}: {entry}");
            // Each entry has an effect on a rule with what it says.
            let has = |text: &str, in_rule: fn(&Rule) -> String| {
                let mut rules = services.all().iter().flat_map(|service| &service.rules);
                !entry.contains(text) || rules.any(|rule| in_rule(rule).contains(text))
            };
            let said = has("8443", |rule| format!("{:?}", rule.ports))
                && has("site.example", |rule| format!("{:?}", rule.fqdns))
                && has("192.0.2.0/24", |rule| format!("{:?}", rule.cidrs));
            assert!(said, "{name}: {entry} has no effect");
        }
        let services = first.services().iter();
        let names = services.flat_map(|service| service.aliases.iter().chain([&service.id]));
        for known in names.map(String::as_str).chain(first.sets()) {
            let (services, errors) = Services::of(&config("[default]", ""), catalogue);
            assert_eq!(errors, []);
            let resolved = services.resolve(known).map(|(services, _)| services.len());
            assert!(resolved.is_some_and(|found| found > 0), "{name}: {known}: {resolved:?}");
        }
    }
}

#[test]
fn what_the_site_narrows_and_what_stays_broad_is_told() {
    let services = "
format: 2
services:
  - id: mixed
    title: Mixed
    rules:
      - id: names
        tcp: [443]
        from: doc
        to:
          - plain.example
          - '*.below.example.com'
          - {fqdn: one.blob.core.windows.net, when: {tenant: AMSUB0502}}
          - {fqdn: two.blob.core.windows.net, when: {region: asia-pacific}}
          - {fqdn: gov.example, when: {cloud: us-government}}
          - {fqdn: login.example, risk: other-tenants}
          - {fqdn: '*.wide.example.com', risk: over-broad}
          - {fqdn: cdn.azureedge.net}
          - {fqdn: gcc.example, when: {gcc: true}}
          - {fqdn: 'enrol.{domain}'}
          - {fqdn: 'accounts.google.{country}'}
          - {fqdn: old.example, status: legacy}
          - {fqdn: seen.example, status: observed}
          - {cidr: 192.0.2.0/25, role: fallback}
          - 192.0.2.0/24
          - 2001:db8::/32
  - id: waiting
    title: Nothing of it is left without a domain
    rules:
      - {id: waiting, tcp: [443], to: ['register.{domain}'], from: doc}
";
    let edition = EDITION.replace("[clock, probe, update]", "[mixed, waiting]");
    let catalogue = Catalogue::parse([("edition.yaml", &*edition), ("a.yaml", services)]).unwrap();
    let of = |more: &str| {
        let config = config("[windows]", more);
        let policy = compile(&config, &catalogue, &RuleBits::new()).unwrap();
        let (services, _) = Services::of(&config, &catalogue);
        taken(&config, &catalogue, services.selector(), &policy)
    };
    let told = |list: &[Narrowed]| -> Vec<String> {
        list.iter().map(|one| format!("{} {} {}", one.key, one.value, one.count)).collect()
    };
    let found = of("");
    assert_eq!(
        told(&found.narrowed),
        ["cloud worldwide 1", "gcc false 1", "catalogue.legacy false 1", "catalogue.observed [] 1"]
    );
    assert_eq!(
        told(&found.open),
        [
            "tenant every tenant and region is on 2",
            "domains no name below a domain of the site is on 2",
            "country no name of a country is on 1",
        ]
    );
    let broad = &found.broad;
    assert_eq!((broad.names, broad.wildcards, broad.networks, broad.fallback), (7, 2, 3, 1));
    assert_eq!(broad.ipv4_addresses, 256, "the two prefixes overlap");
    let list =
        |names: &std::collections::BTreeSet<String>| names.iter().cloned().collect::<Vec<_>>();
    assert_eq!(
        list(&broad.shared_storage),
        ["one.blob.core.windows.net", "two.blob.core.windows.net"]
    );
    assert_eq!(list(&broad.shared_cdn), ["cdn.azureedge.net"]);
    assert_eq!(list(&broad.over_broad), ["*.wide.example.com"]);
    assert_eq!(list(&broad.other_tenants), ["login.example"]);

    let found = of("tenant: AMSUB0502\ndomains: [a.test]\ncountry: [de]\n\
                    catalogue: {legacy: true, observed: [mixed]}");
    assert_eq!(
        told(&found.narrowed),
        ["tenant AMSUB0502 (europe) 1", "cloud worldwide 1", "gcc false 1"]
    );
    assert!(found.open.is_empty(), "{:?}", found.open);
    assert_eq!(list(&found.broad.shared_storage), ["one.blob.core.windows.net"]);
    let text = found.to_string();
    for says in [
        "tenant AMSUB0502 (europe): 1 names and networks are off",
        "still broad: 11 names, 2 of them wildcards; 3 networks with 256 IPv4 addresses, 1 of them",
        "on shared storage (1): one.blob.core.windows.net",
    ] {
        assert!(text.contains(says), "{says}\n{text}");
    }
}
