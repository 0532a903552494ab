//! Tests what files of format 2 mean, and what is refused.

use crate::catalogue::{
    Address, Catalogue, Cloud, Date, Destinations, Location, Need, Region, Risk, Role, RuleId,
    Selector, Status,
};

const EDITION: &str = "\
format: 2
edition: 2030-01
sources:
  doc: {title: Document, date: 2029-12-01, read: {repo: a/b, commit: c0ffee, path: d.md}}
  page: {title: Page, url: 'https://page.example'}
tenants: {AMSUA0101: north-america, AMSUB0101: europe, AMSUB0102: europe}
sets:
  one: [core]
  two: [one, extra]
  default: [two]
excused: [{source: doc, id: 192, address: '`', reason: misprint}]
";

const SERVICES: &str = "\
format: 2
services:
  - id: core
    title: Core
    aliases: [old, older]
    rules:
      - id: names
        aliases: [ancient/names]
        tcp: [443]
        sni: optional
        from: doc#163
        when: {cloud: [worldwide, china]}
        risk: shared-cdn
        to:
          - core.example
          - 192.0.2.0/24
          - {cidr: 2001:db8::/32, role: fallback, from: page, when: {cloud: us-government}}
          - {fqdn: eu.example, when: {region: europe}}
          - {fqdn: one.example, when: {tenant: AMSUB0101}, risk: shared-storage}
          - {fqdn: two.example, when: {tenant: [AMSUA0101, AMSUB0102]}, need: optional}
          - {fqdn: gcc.example, when: {gcc: true}}
          - {fqdn: de.example, when: {country: de}}
          - {fqdn: '{tenant}-hub.example', since: 2029-01-01}
          - '{Domain}.enrol.example'
          - {fqdn: 'accounts.google.{country}'}
          - {fqdn: dead.example, status: legacy, until: 2025-01-30, replaced_by: core.example}
          - {fqdn: seen.example, status: observed, from: page#thread}
      - {id: other, tcp: [444], destinations_of: core/names, from: doc}
  - id: extra
    title: Extra
    aliases: [old]
    rules:
      - {id: names, udp: [123], to: [{fqdn: time.example, from: doc#9}]}
";

fn parse(edition: &str, services: &str) -> Result<Catalogue, String> {
    Catalogue::parse([("d/edition.yaml", edition), ("d/a.yaml", services)])
        .map_err(|error| error.to_string())
}

fn catalogue() -> Catalogue {
    parse(EDITION, SERVICES).unwrap()
}

fn rule_id(text: &str) -> RuleId {
    text.parse().unwrap()
}

/// The destinations of a rule, as text.
fn reached(rule: &str, selector: &Selector) -> Vec<String> {
    let catalogue = catalogue();
    let (service, rule) = catalogue.rule(&rule_id(rule)).unwrap();
    let Destinations { fqdns, cidrs } = catalogue.destinations(service, rule, selector);
    let names = fqdns.iter().map(ToString::to_string);
    names.chain(cidrs.iter().map(ToString::to_string)).collect()
}

#[test]
fn a_datum_has_what_its_rule_says_and_what_it_says_itself() {
    let catalogue = catalogue();
    let (_, rule) = catalogue.rule(&rule_id("core/names")).unwrap();
    let datum =
        |address: &str| rule.to.iter().find(|datum| datum.address.to_string() == address).unwrap();
    let first = datum("core.example");
    assert!(matches!(first.address, Address::Fqdn(_)));
    assert_eq!(first.from.to_string(), "doc#163");
    assert_eq!((first.status, first.need, first.role), (Status::Current, Need::Required, None));
    assert_eq!(first.risk, Some(Risk::SharedCdn));
    assert_eq!(first.when.cloud, [Cloud::Worldwide, Cloud::China]);
    let prefix = datum("2001:db8::/32");
    assert_eq!(prefix.role, Some(Role::Fallback));
    assert_eq!(prefix.from.to_string(), "page");
    assert_eq!(prefix.when.cloud, [Cloud::UsGovernment]);
    let of_tenant = datum("one.example");
    assert_eq!(of_tenant.when.cloud, [Cloud::Worldwide, Cloud::China], "the rule's own condition");
    assert_eq!(of_tenant.risk, Some(Risk::SharedStorage));
    assert_eq!(datum("two.example").need, Need::Optional);
    let dead = datum("dead.example");
    assert_eq!(dead.replaced_by.as_deref(), Some("core.example"));
    assert_eq!(dead.until, Some("2025-01-30".parse::<Date>().unwrap()));
    let edition = catalogue.edition();
    assert_eq!(edition.name, "2030-01");
    assert_eq!(edition.date().unwrap().to_string(), "2029-12-01");
    assert_eq!(edition.cite(&first.from), "Document, 163 (2029-12-01)");
    assert_eq!(edition.cite(&prefix.from), "Page");
    assert_eq!(edition.excused[0].id.as_deref(), Some("192"));
}

#[test]
fn the_sites_variables_choose() {
    let everywhere = ["core.example", "eu.example", "one.example", "two.example", "de.example"];
    let hubs = ["amsua0101-hub.example", "amsub0101-hub.example", "amsub0102-hub.example"];
    let default = Selector::default();
    assert_eq!(
        reached("core/names", &default),
        [&everywhere[..], &hubs, &["192.0.2.0/24"]].concat()
    );
    assert_eq!(reached("core/other", &default), reached("core/names", &default));

    let tenant = |name: &str, region| Location::Tenant { tenant: name.to_owned(), region };
    for (location, names) in [
        (
            Location::Region(Region::Europe),
            &["eu.example", "one.example", "two.example", hubs[1], hubs[2]][..],
        ),
        (Location::Region(Region::NorthAmerica), &["two.example", hubs[0]]),
        (Location::Region(Region::AsiaPacific), &[]),
        (tenant("AMSUB0101", Region::Europe), &["eu.example", "one.example", hubs[1]]),
        (tenant("AMSUA0101", Region::NorthAmerica), &["two.example", hubs[0]]),
        // Of another edition: no name is made of it.
        (tenant("AMSUB0999", Region::Europe), &["eu.example"]),
    ] {
        let mut found = reached("core/names", &location.clone().into());
        found.retain(|name| !["core.example", "de.example", "192.0.2.0/24"].contains(&&**name));
        assert_eq!(found, names, "{location:?}");
    }

    let with = |change: fn(&mut Selector)| {
        let mut selector = Selector::default();
        change(&mut selector);
        let now = reached("core/names", &selector);
        let before = reached("core/names", &default);
        let came: Vec<String> = now.iter().filter(|one| !before.contains(one)).cloned().collect();
        let went = before.iter().filter(|one| !now.contains(one)).count();
        (came.join(" "), went)
    };
    let filled = |text: &str, went| (text.to_owned(), went);
    assert_eq!(with(|site| site.gcc = true), filled("gcc.example", 0));
    assert_eq!(with(|site| site.legacy = true), filled("dead.example", 0));
    assert_eq!(with(|site| site.observed = ["core".into()].into()), filled("seen.example", 0));
    assert_eq!(with(|site| site.observed = ["extra".into()].into()), filled("", 0));
    assert_eq!(
        with(|site| site.domains = vec!["a.test".into(), "b.test".into()]),
        filled("a.test.enrol.example b.test.enrol.example", 0)
    );
    assert_eq!(with(|site| site.countries = vec!["de".into()]), filled("accounts.google.de", 0));
    assert_eq!(
        with(|site| site.countries = vec!["co.uk".into()]),
        filled("accounts.google.co.uk", 1)
    );
    assert_eq!(with(|site| site.cloud = Cloud::China), filled("", 0));
    assert_eq!(with(|site| site.cloud = Cloud::UsGovernment), filled("2001:db8::/32", 9));
}

#[test]
fn names_are_ids_aliases_and_sets() {
    let catalogue = catalogue();
    let ids = |name: &str| -> Vec<String> {
        let services = catalogue.resolve(name).unwrap_or_default();
        services.into_iter().map(|service| service.id.clone()).collect()
    };
    assert_eq!(ids("core"), ["core"]);
    assert_eq!(ids("older"), ["core"]);
    assert_eq!(ids("old"), ["core", "extra"]);
    assert_eq!(catalogue.service("old"), None);
    assert_eq!(ids("one"), ["core"]);
    for set in ["two", "default", "all"] {
        assert_eq!(ids(set), ["core", "extra"], "{set}");
    }
    assert_eq!(catalogue.resolve("three"), None);
    assert_eq!(catalogue.sets(), ["all", "default", "one", "two"]);
    assert_eq!(catalogue.sets_of(&catalogue.services()[1]), ["default", "two"]);
    let rules = |id: &str| -> Vec<String> {
        let rules = catalogue.rules_named(&rule_id(id));
        rules.into_iter().map(|(service, rule)| service.rule_id(rule).to_string()).collect()
    };
    assert_eq!(rules("ancient/names"), ["core/names"]);
    assert_eq!(rules("old/names"), ["core/names", "extra/names"]);
    assert_eq!(rules("older/other"), ["core/other"]);
    assert_eq!(rules("old/absent"), [""; 0]);
}

/// A replacement in [`SERVICES`], with the line and message of the refusal.
const REFUSED: &[(&str, &str, usize, &str)] = &[
    (
        "format: 2",
        "format: 3",
        1,
        "format: expected 2, the format that this version reads, found 3",
    ),
    ("format: 2\n", "", 1, "format: missing, expected 2"),
    ("id: core\n", "id: Core\n", 3, "bad id \"Core\""),
    ("id: core\n", "id: two\n", 3, "\"two\" is the name of a set"),
    ("id: core\n", "id: extra\n", 29, "duplicate id \"extra\", first used at d/a.yaml:3"),
    ("[old, older]", "[old, extra]", 29, "duplicate id \"extra\""),
    ("[old, older]", "[old, old]", 5, "duplicate id \"old\""),
    ("[old, older]", "[one]", 5, "\"one\" is the name of a set"),
    ("title: Core", "title: ''", 4, "empty, expected a name for people"),
    ("tcp: [443]", "tcp: []", 7, "no ports"),
    ("tcp: [443]", "tcp: [443, 443]", 9, "443 stands twice"),
    ("sni: optional", "sni: maybe", 10, "bad sni \"maybe\", expected required or optional"),
    ("from: doc#163", "from: dok#163", 11, "unknown source \"dok\", expected one under sources"),
    ("        from: doc#163\n", "", 14, "no source, expected from here or at the rule"),
    ("from: doc#163", "from: doc#", 11, "bad source \"doc#\", expected SOURCE or SOURCE#SECTION"),
    ("[worldwide, china]", "[]", 12, "at least one value, or no such key"),
    ("[worldwide, china]", "mars", 12, "bad cloud \"mars\", expected worldwide or us-government"),
    ("region: europe", "region: mars", 18, "bad region \"mars\", expected north-america or europe"),
    ("tenant: AMSUB0101", "tenant: AMSUB0999", 19, "unknown tenant location \"AMSUB0999\""),
    ("gcc: true", "gcc: false", 21, "expected true, or no such key, found false"),
    ("when: {gcc", "if: {gcc", 21, "unknown key, expected one of fqdn, cidr, from"),
    ("risk: shared-cdn", "risk: some", 13, "bad risk \"some\", expected shared-storage or"),
    ("role: fallback", "role: spare", 17, "bad role \"spare\", expected fallback"),
    ("need: optional", "need: some", 20, "bad need \"some\", expected required or optional"),
    ("status: legacy", "status: dead", 26, "bad status \"dead\", expected current or legacy"),
    ("status: legacy, ", "", 26, "current although it has ended, expected status legacy"),
    ("since: 2029-01-01", "since: 2029", 23, "bad date \"2029\""),
    ("{tenant}-hub", "{tenant}-{domain}", 23, "expected one of {domain}, {country} or {tenant}"),
    ("{tenant}-hub", "{city}-hub", 23, "bad template \"{city}-hub.example\""),
    ("192.0.2.0/24", "192.0.2.1/24", 16, "has host bits set, expected 192.0.2.0/24"),
    ("- core.example", "- core..example", 15, "a label is empty"),
    ("{fqdn: eu.example,", "{", 18, "neither fqdn nor cidr, expected one of them"),
    ("{fqdn: eu.example,", "{fqdn: eu.example, cidr: 192.0.2.0/25,", 18, "both fqdn and cidr"),
    (
        "fqdn: eu.example, when: {region: europe}",
        "fqdn: core.example",
        18,
        "stands twice for the same",
    ),
    ("destinations_of: core/names", "site_networks: true, to: [a.example]", 28, "in several ways"),
    ("destinations_of: core/names", "to: []", 28, "no destinations"),
    ("core/names, from", "core/none, from", 28, "no rule core/none, expected an existing"),
    ("core/names, from", "core/other, from", 28, "rule core/other has no destinations of its own"),
    (", from: doc}\n", "}\n", 28, "no source, expected from here or at the rule"),
    ("id: other", "id: names", 28, "duplicate id \"names\", first used by rule 0"),
];

/// A replacement in [`EDITION`], with the line and message of the refusal.
const REFUSED_EDITIONS: &[(&str, &str, usize, &str)] = &[
    ("edition: 2030-01", "edition: 2030/01", 2, "bad id \"2030/01\""),
    ("  doc:", "  Doc:", 4, "bad id \"Doc\""),
    ("title: Document", "title: ' '", 4, "empty, expected the document's title"),
    ("2029-12-01", "1.12.2029", 4, "bad date"),
    ("AMSUA0101:", "amsua0101:", 6, "bad tenant location \"amsua0101\""),
    ("north-america", "america", 6, "bad region \"america\""),
    ("one: [core]", "one: [cor]", 8, "no service or set \"cor\""),
    ("one: [core]", "one: [old]", 8, "no service or set \"old\""),
    ("one: [core]", "one: [core, core]", 8, "core stands twice"),
    ("one: [core]", "one: [two]", 8, "the set holds itself"),
    ("default: [two]", "all: [two]", 10, "all is every service, expected no such key"),
    ("source: doc, id", "source: dok, id", 11, "unknown source \"dok\""),
    ("reason: misprint", "reason: ''", 11, "empty, expected a reason"),
    ("excused:", "excuse:", 11, "unknown key, expected one of format, edition, extends, sources"),
];

#[test]
fn refusals_name_file_line_and_key() {
    let mut untold = Vec::new();
    let mut told = |error: Result<Catalogue, String>, file: &str, line: usize, says: &str| {
        let Err(error) = error else { panic!("not refused: {says}") };
        let place = format!("{file}:{line}: ");
        let told = error.lines().any(|fault| fault.starts_with(&place) && fault.contains(says));
        if !told {
            untold.push(format!("line {line}: {says}\n{error}"));
        }
    };
    for (from, to, line, says) in REFUSED {
        let text = SERVICES.replacen(from, to, 1);
        assert_ne!(text, SERVICES, "{from}");
        // The edition's own sets have to stay whole.
        let edition = EDITION.replace("one: [core]", "one: []").replace("[one, extra]", "[one]");
        told(parse(&edition, &text), "d/a.yaml", *line, says);
    }
    for (from, to, line, says) in REFUSED_EDITIONS {
        let text = EDITION.replacen(from, to, 1);
        assert_ne!(text, EDITION, "{from}");
        told(parse(&text, SERVICES), "d/edition.yaml", *line, says);
    }
    assert!(untold.is_empty(), "{}", untold.join("\n\n"));
}

#[test]
fn files_of_both_formats_are_no_catalogue() {
    let error = parse(EDITION, "services: []\n").unwrap_err();
    assert_eq!(error, "d/a.yaml:1: format: missing, expected 2");
    let error = Catalogue::parse([("a.yaml", SERVICES)]).unwrap_err().to_string();
    assert!(error.contains("a.yaml:1: format: unknown key, expected one of services"), "{error}");
}
