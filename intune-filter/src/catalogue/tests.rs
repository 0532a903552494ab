//! Tests the built-in editions as a whole, queries, and refused catalogues of format 1.

use std::{fs, path::Path};

use intune_filter_ebpf::abi::{RULES, TITLE_CAPACITY};
use sha2::{Digest as _, Sha256};

use super::*;

/// Rules of a built-in edition at most, so that a site has bits left for its own.
const BUILTIN_RULES_MAX: usize = 144;

/// The edition whose files are frozen.
fn first() -> &'static Catalogue {
    Catalogue::edition_named("2023-09").unwrap()
}

fn every_edition() -> impl Iterator<Item = &'static Catalogue> {
    Catalogue::editions().map(|name| Catalogue::edition_named(name).unwrap())
}

fn rule_id(text: &str) -> RuleId {
    text.parse().unwrap()
}

fn ids(services: Vec<&Service>) -> Vec<&str> {
    services.into_iter().map(|service| service.id.as_str()).collect()
}

fn fqdns(rule: &str, location: &Location) -> Vec<String> {
    let catalogue = first();
    let (service, rule) = catalogue.rule(&rule_id(rule)).unwrap();
    let destinations = catalogue.destinations(service, rule, &location.clone().into());
    destinations.fqdns.iter().map(ToString::to_string).collect()
}

#[test]
fn builtin_holds_every_file_of_each_edition() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/catalogue");
    let mut editions: Vec<String> = fs::read_dir(&directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    editions.sort();
    assert_eq!(editions, Catalogue::editions().collect::<Vec<_>>());
    for name in Catalogue::editions() {
        let mut loaded = Catalogue::load(&directory.join(name)).unwrap();
        name.clone_into(&mut loaded.edition.name);
        let mut builtin = Catalogue::edition_named(name).unwrap().clone();
        // A directory is read in the order of the names.
        for catalogue in [&mut loaded, &mut builtin] {
            catalogue.services.sort_by(|a, b| a.id.cmp(&b.id));
            catalogue.sets.values_mut().for_each(|services| services.sort());
        }
        assert_eq!(loaded, builtin, "{name}");
        let date: Date = loaded.edition().date().unwrap().clone();
        assert!(date.to_string().starts_with("20"), "{name}: {date}");
    }
    assert_eq!(Catalogue::edition_named("latest"), Catalogue::edition_named(LATEST));
    assert_eq!(Catalogue::edition_named("2022-01"), None);
}

#[test]
fn the_first_edition_is_never_edited() {
    const DIGEST: &str = "083b2282c0f225c6a5f5758425b048e1c656bc1da33292a021402a113faea1ae";
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/catalogue/2023-09");
    let texts = CatalogueFiles::read(&directory).unwrap().texts;
    let named = texts.iter().map(|(path, text)| {
        let name = path.file_name().unwrap().to_str().unwrap();
        format!("{name} {}\n{text}", text.len())
    });
    let digest = Sha256::digest(named.collect::<String>());
    let digest: String = digest.iter().map(|octet| format!("{octet:02x}")).collect();
    assert_eq!(digest, DIGEST);
}

#[test]
fn builtin_leaves_bits_for_the_site() {
    const { assert!(BUILTIN_RULES_MAX < RULES) };
    for catalogue in every_edition() {
        let rules: usize = catalogue.services().iter().map(|service| service.rules.len()).sum();
        assert!(rules <= BUILTIN_RULES_MAX, "{rules} rules");
        for service in catalogue.services() {
            for rule in &service.rules {
                let id = service.rule_id(rule);
                assert!(id.to_string().len() <= TITLE_CAPACITY, "{id}");
                assert_eq!(rule_id(&id.to_string()), id);
                assert_eq!(catalogue.rule(&id), Some((service, rule)));
            }
        }
    }
}

#[test]
fn the_first_edition_has_destinations_wherever_the_tenant_is() {
    let catalogue = first();
    let mut locations: Vec<Location> = Region::ALL.iter().copied().map(Location::Region).collect();
    locations.extend(catalogue.tenants().map(|(tenant, _)| catalogue.tenant(tenant).unwrap()));
    locations.push(Location::All);
    for location in locations {
        let selector = Selector::from(location.clone());
        for service in catalogue.services() {
            for rule in &service.rules {
                let found = catalogue.destinations(service, rule, &selector);
                assert_eq!(
                    found.fqdns.is_empty() && found.cidrs.is_empty(),
                    rule.site_networks,
                    "{} {location:?}",
                    service.rule_id(rule)
                );
            }
        }
    }
}

#[test]
fn regions_and_tenants_select() {
    let catalogue = first();
    let attestation = |location: &Location| fqdns("health-attestation/maa", location);
    assert_eq!(attestation(&Location::All).len(), 16);
    assert_eq!(attestation(&Location::Region(Region::AsiaPacific)).len(), 4);

    let tenant = catalogue.tenant("amsub0502").unwrap();
    assert_eq!(tenant, Location::Tenant { tenant: "AMSUB0502".to_owned(), region: Region::Europe });
    assert!(
        attestation(&tenant).iter().all(|name| name.contains(".neu.") || name.contains(".weu."))
    );
    let storage = fqdns("scripts-and-win32-apps/tenant-storage", &tenant);
    assert_eq!(storage.len(), 6);
    assert!(storage.iter().all(|name| name.starts_with("euprodimedata")), "{storage:?}");

    assert_eq!(catalogue.tenants().count(), 30);
    assert_eq!(catalogue.region_of("AMSUD0101"), Some(Region::AsiaPacific));
    assert_eq!(catalogue.tenant("AMSUZ0101"), None);
    assert_eq!(tenant.region(), Some(Region::Europe));
    assert_eq!(Location::default().region(), None);
    for region in Region::ALL {
        assert_eq!(region.to_string().parse(), Ok(*region));
    }
    assert!("emea".parse::<Region>().unwrap_err().contains("expected north-america"));
}

#[test]
fn names_resolve_to_services() {
    let catalogue = first();
    assert_eq!(ids(catalogue.resolve("certificate-connector").unwrap()), ["intune-core"]);
    assert_eq!(ids(catalogue.resolve("ntp").unwrap()), ["ntp"]);
    assert_eq!(catalogue.resolve("all").unwrap().len(), catalogue.services().len());
    assert!(catalogue.resolve("absent").is_none());
    assert_eq!(catalogue.sets(), ["all", "android", "apple", "default", "windows"]);

    let default = ids(catalogue.set(DEFAULT_SET).unwrap());
    assert!(default.contains(&"intune-core"));
    assert!(!default.contains(&"delivery-optimization-peers"));
    for platform in ["windows", "apple", "android"] {
        let services = ids(catalogue.set(platform).unwrap());
        for needed in ["intune-core", "authentication", "microsoft-graph"] {
            assert!(services.contains(&needed), "{platform} lacks {needed}");
        }
    }
    assert!(!ids(catalogue.set("windows").unwrap()).contains(&"android-aosp"));
}

#[test]
fn information_protection_has_the_destinations_of_the_core() {
    let catalogue = first();
    let destinations = |id: &str| {
        let (service, rule) = catalogue.rule(&rule_id(id)).unwrap();
        catalogue.destinations(service, rule, &Selector::default())
    };
    let core = destinations("intune-core/core");
    assert_eq!((core.fqdns.len(), core.cidrs.len()), (2, 51));
    assert_eq!(destinations("windows-information-protection/wip"), core);
}

const SERVICE: &str = "\
services:
  - id: a
    title: A
    source: {document: D, section: S, date: 2023-09-19}
    default: true
    rules:
      - id: one
        fqdns: [a.example]
        tcp: [80]
";

/// [`SERVICE`] with one replacement, and the line and message of the refusal.
const REFUSED: &[(&str, &str, usize, &str)] = &[
    ("services:", "service:", 1, "service: unknown key, expected one of services"),
    ("    title: A\n", "", 2, "services[0].title: missing, expected a name for people"),
    ("    default: true\n", "", 2, "services[0].default: missing, expected true or false"),
    ("title: A", "title: ' '", 3, "services[0].title: empty"),
    ("title: A", "titel: A", 3, "services[0].titel: unknown key, expected one of id, title, "),
    ("title: A", "title: A\n    title: B", 4, "services[0].title: given twice, first on line 3"),
    (
        "default: true",
        "default: maybe",
        5,
        "services[0].default: expected true or false, found maybe",
    ),
    ("id: a", "id: A", 2, "services[0].id: bad id \"A\""),
    ("id: a", "id: -a", 2, "bad id"),
    ("id: a", "id: all", 2, "\"all\" is the name of a set"),
    (
        "default: true",
        "default: true\n    aliases: [b, a]",
        6,
        "duplicate id \"a\", first used at f.yaml:2",
    ),
    ("default: true", "default: true\n    sets: [default]", 6, "expected `default: true`"),
    ("default: true", "default: true\n    sets: [a]", 6, "set \"a\" is a service's id at f.yaml:2"),
    ("2023-09-19", "19.9.2023", 4, "bad date \"19.9.2023\""),
    ("2023-09-19", "2023-13-19", 4, "bad date"),
    ("document: D", "document: ''", 4, "services[0].source.document: empty"),
    (
        "      - id: one\n        fqdns: [a.example]\n        tcp: [80]\n",
        "      []\n",
        6,
        "no rules",
    ),
    ("id: one", "id: o/e", 7, "bad id \"o/e\""),
    ("        tcp: [80]\n", "", 7, "no ports, expected tcp or udp"),
    ("tcp: [80]", "tcp: []", 7, "no ports, expected tcp or udp"),
    ("tcp: [80]", "tcp: [80, 0]", 9, "port 0"),
    ("tcp: [80]", "tcp: ['9-8']", 9, "inverted range"),
    ("tcp: [80]", "tcp: [80, 80]", 9, "80 stands twice"),
    ("fqdns: [a.example]", "fqdns: []", 7, "no destinations"),
    ("fqdns: [a.example]", "fqdns:\n          - a..example", 9, "a label is empty"),
    ("fqdns: [a.example]", "fqdns: [a.example, A.example.]", 8, "a.example stands twice"),
    (
        "fqdns: [a.example]",
        "cidrs: [10.0.0.1/8]",
        8,
        "services[0].rules[0].cidrs[0]: 10.0.0.1/8 has host bits set, expected 10.0.0.0/8",
    ),
    ("fqdns: [a.example]", "cidrs: [10.0.0.0/33]", 8, "expected a prefix such as"),
    ("fqdns: [a.example]", "site_networks: true\n        fqdns: [a.example]", 7, "in several ways"),
    ("fqdns: [a.example]", "destinations_of: b/one", 8, "no rule b/one"),
    ("fqdns: [a.example]", "destinations_of: b", 8, "expected SERVICE/RULE"),
    ("fqdns: [a.example]", "destinations_of: a/one", 8, "has no destinations of its own"),
    (
        "fqdns: [a.example]",
        "selected: [{region: mars, fqdns: [a.example]}]",
        8,
        "bad region \"mars\", expected north-america",
    ),
    ("fqdns: [a.example]", "selected: [{region: europe}]", 8, "no destinations"),
    (
        "fqdns: [a.example]",
        "selected: [{region: europe, tenants: [X1, X1], fqdns: [a.example]}]",
        8,
        "X1 stands twice",
    ),
    (
        "fqdns: [a.example]",
        "selected: [{region: europe, tenants: [x1], fqdns: [a.example]}]",
        8,
        "bad tenant location",
    ),
    (
        "fqdns: [a.example]",
        "selected:\n          - {region: europe, tenants: [X1], fqdns: [a.example]}\n          - {region: asia-pacific, tenants: [X1], fqdns: [b.example]}",
        10,
        "\"X1\" is in region asia-pacific, but in europe at f.yaml:9",
    ),
];

#[test]
fn refusals_name_file_and_line() {
    Catalogue::parse([("f.yaml", SERVICE)]).unwrap();
    for (from, to, line, says) in REFUSED {
        let text = SERVICE.replacen(from, to, 1);
        assert_ne!(text, SERVICE, "{from}");
        let Err(error) = Catalogue::parse([("f.yaml", text.as_str())]) else {
            panic!("not refused:\n{text}");
        };
        let error = error.to_string();
        let of_line = format!("f.yaml:{line}: ");
        let told = error.lines().any(|fault| fault.starts_with(&of_line) && fault.contains(says));
        assert!(told, "line {line}: {says}: {error}\n{text}");
        assert!(!error.contains("at line"), "{error}");
    }
}

#[test]
fn every_fault_of_a_file_is_told_at_once() {
    let text = SERVICE
        .replace("title: A", "titel: A")
        .replace("2023-09-19", "19.9.2023")
        .replace("a.example", "a..example")
        .replace("80", "0");
    let error = Catalogue::parse([("f.yaml", text.as_str())]).unwrap_err().to_string();
    let lines: Vec<&str> = error.lines().map(|fault| &fault[..9]).collect();
    let expected = ["f.yaml:2:", "f.yaml:3:", "f.yaml:4:", "f.yaml:8:", "f.yaml:9:"];
    assert_eq!(lines, expected, "{error}");
}

#[test]
fn ids_are_unique_over_all_files() {
    let files = [("f.yaml", SERVICE), ("g.yaml", SERVICE)];
    let error = Catalogue::parse(files).unwrap_err().to_string();
    assert_eq!(error, "g.yaml:2: services[0].id: duplicate id \"a\", first used at f.yaml:2");
    let rules = SERVICE.to_owned() + "      - {id: one, fqdns: [b.example], tcp: [80]}\n";
    let error = Catalogue::parse([("f.yaml", rules.as_str())]).unwrap_err().to_string();
    assert!(error.starts_with("f.yaml:10: services[0].rules[1].id: duplicate id"), "{error}");
}

#[test]
fn directories_without_a_catalogue_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let error = Catalogue::load(directory.path()).unwrap_err();
    assert!(matches!(error, CatalogueError::NoFiles(_)), "{error}");
    let error = Catalogue::load(&directory.path().join("absent")).unwrap_err();
    assert!(matches!(error, CatalogueError::Read { .. }), "{error}");
    fs::write(directory.path().join("a.yaml"), "services: 1").unwrap();
    let error = Catalogue::load(directory.path()).unwrap_err().to_string();
    assert!(error.contains("a.yaml:1: services: expected a list, found 1"), "{error}");
    fs::write(directory.path().join("a.yaml"), SERVICE).unwrap();
    assert_eq!(ids(Catalogue::load(directory.path()).unwrap().services().iter().collect()), ["a"]);
}
