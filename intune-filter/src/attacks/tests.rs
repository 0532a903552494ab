//! Compares what `check` says of the attacks with a file for each of several configurations, and the
//! rows with the page.

use std::{collections::BTreeMap, env, fs, path::PathBuf};

use super::{OpenAttacks, ROWS};
use crate::{
    catalogue::Catalogue,
    config::{Config, Environment, OtherVlan, Reached},
    policy::{RuleBits, compile},
};

/// Environment variable with which the files are written instead of compared.
const VARIABLE: &str = "UPDATE_GOLDEN";

/// The configuration of the demo.
const DEMO: &str = include_str!("../../../config/demo.yaml");

/// A VLAN for each group, with MAC addresses, and a resolver on the gateway.
const STRICT: &str = "
interfaces: [{name: eth1, vlans: [0, 20, 30]}]
to_gateway: policy
other_vlans: deny
boot: closed
clients:
- name: enrolment
  on: eth1.20
  networks: [10.20.0.0/24]
  services: [intune-core]
  macs: [\"02:00:5e:00:53:10\"]
- name: kiosks
  on: eth1.30
  networks: [10.30.0.0/24]
  services: [windows]
  macs: [\"02:00:5e:00:53:20\"]
dns: {resolvers: [10.20.0.1, 10.30.0.1], unlisted: nxdomain}
";

/// One LAN with an exempt group, and a resolver beyond the gateway.
const FLAT: &str = "
interfaces: [{name: eth1}]
to_gateway: {tcp: [22]}
clients:
- {name: office, networks: [10.20.0.0/24], services: [default]}
- {name: kiosks, networks: [10.20.1.0/24], services: [intune-core]}
- {name: servers, networks: [10.20.2.0/24], mode: exempt}
- {name: router, networks: [10.20.3.1/32], mode: exempt, macs: [\"02:00:5e:00:53:10\"]}
dns: {resolvers: [192.0.2.53]}
";

/// What a site may leave open.
const OPEN: &str = "
interfaces: [{name: eth1, vlans: [20], source_check: off}, {name: eth2, source_check: loose}]
unlisted_clients: allow
clients:
- {name: phones, on: eth1, networks: [10.20.0.0/24], services: [own], inbound: allow}
- {name: trial, on: eth2, networks: [10.21.0.0/24], services: [apple], mode: audit}
dns: {resolvers: [10.20.0.1, {address: 192.0.2.53, via: [wg0]}], unlisted: forward}
limits: {queries: off, flows: off}
services: [{id: own, tcp: [443], fqdns: ['*.own.example'], cidrs: [198.51.100.0/24]}]
";

/// Machine with resolvers at the gateway's own addresses, others beyond eth0, a service that listens,
/// and VLAN devices.
fn machine() -> Environment {
    let address = |text: &str| text.parse().unwrap();
    let beyond = ["203.0.113.53", "2001:db8:53::53", "192.0.2.53"];
    Environment {
        own_addresses: ["10.20.0.1", "10.30.0.1", "fd00:20::1"].map(address).to_vec(),
        resolver_interfaces: beyond.map(|text| (address(text), "eth0".to_owned())).into(),
        listening: vec![Reached {
            zone: "eth1".into(),
            sockets: vec!["tcp 10.20.0.1:22".into(), "udp 10.20.0.1:5353".into()],
        }],
        other_vlans: vec![
            OtherVlan { interface: "eth1".into(), vlan: 40, device: "office".into() },
            OtherVlan { interface: "eth1".into(), vlan: 99, device: "eth2".into() },
        ],
        ..Environment::default()
    }
}

fn find(text: &str, environment: &Environment) -> OpenAttacks {
    let config = Config::parse("config.yaml", text).unwrap_or_else(|errors| panic!("{errors}"));
    let policy = compile(&config, Catalogue::builtin(), &RuleBits::new()).unwrap();
    OpenAttacks::find(&config, &policy, environment)
}

fn compare(name: &str, text: &str, environment: &Environment) {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/attacks");
    let path = directory.join(name).with_extension("txt");
    let found = find(text, environment).to_string();
    if env::var_os(VARIABLE).is_some() {
        fs::write(&path, &found).unwrap();
    }
    let file = fs::read_to_string(&path).unwrap_or_default();
    assert!(found == file, "{}:\n{found}\nnot\n{file}\n({VARIABLE}=1 writes it)", path.display());
}

#[test]
fn the_demo() {
    compare("demo", DEMO, &Environment { other_vlans: Vec::new(), ..machine() });
}

#[test]
fn a_vlan_for_each_group() {
    compare("strict", STRICT, &machine());
}

#[test]
fn one_lan_with_an_exempt_group() {
    compare("flat", FLAT, &machine());
}

#[test]
fn all_that_a_site_may_leave_open() {
    compare("open", OPEN, &machine());
}

/// Rows of the page's table: titles, and what a site can do, without the signs of Markdown.
fn page() -> BTreeMap<String, String> {
    let page = include_str!("../../docs/THREAT-MODEL.md");
    let (_, after) = page.split_once("\n## What remains open today\n").unwrap();
    let (table, _) = after.split_once("\n## ").unwrap();
    let rows = table.lines().filter_map(|line| line.strip_prefix("| **"));
    let row = |row: &str| {
        let (title, rest) = row.split_once("**").unwrap();
        let columns: Vec<&str> = rest.trim_end_matches('|').split(" | ").collect();
        let [_, _, helps] = columns[..] else { panic!("{title}: not three columns") };
        (title.to_owned(), helps.replace('`', "").trim().to_owned())
    };
    rows.map(row).collect()
}

#[test]
fn the_rows_are_those_of_the_page_in_its_words() {
    let page = page();
    let titles: Vec<&str> = ROWS.iter().map(|row| row.title).collect();
    for title in page.keys() {
        assert!(titles.contains(&&**title), "no condition for the page's row: {title}");
    }
    assert_eq!(titles.len(), page.len(), "a title is no row of the page, or stands twice");
    let everything = [DEMO, STRICT, FLAT, OPEN].map(|text| find(text, &machine()));
    for row in &ROWS {
        let helps = page.get(row.title).unwrap_or_else(|| panic!("no row: {}", row.title));
        assert!(helps.contains(row.helps), "{}: {:?} is not in {helps:?}", row.title, row.helps);
        let open = everything.iter().flat_map(|all| &all.0);
        let open: Vec<_> = open.filter(|attack| attack.title == row.title).collect();
        assert!(!open.is_empty(), "no configuration has it: {}", row.title);
        for attack in open {
            assert!(helps.contains(attack.helps), "{}: {:?}", row.title, attack.helps);
        }
    }
}

#[test]
fn what_is_closed_is_not_told() {
    let strict = find(STRICT, &machine());
    let is_open = |title: &str| strict.0.iter().any(|attack| attack.title == title);
    let closed = [
        "Forged answers from the resolver's side.",
        "A neighbour's place in the neighbour table.",
        "An exempt address.",
        "A resolver on another port of the gateway.",
        "Foreign tags.",
        "A stolen group.",
        "DNS tunnelling.",
        "An address of another network.",
        "A source in no group.",
        "Unsolicited packets.",
        "Packets before the filter.",
    ];
    for title in closed {
        assert!(ROWS.iter().any(|row| row.title == title) && !is_open(title), "{title}");
    }
    for row in ROWS.iter().filter(|row| row.everywhere) {
        assert!(is_open(row.title), "{}", row.title);
    }
}

/// Keys that a configuration names are told of by the attack, and not as a warning too.
#[test]
fn an_attack_tells_of_its_keys() {
    let open = find(OPEN, &machine());
    for key in ["dns.unlisted", "unlisted_clients", "interfaces[0].source_check", "other_vlans"] {
        assert!(open.tell_of(key), "{key}");
    }
    // That nothing is judged is not that an address can be taken.
    let flat = find(FLAT, &machine());
    assert!(flat.tell_of("clients[2].mode") && !flat.tell_of("clients[3].mode"));
    assert!(!flat.tell_of("to_gateway") && !open.tell_of("clients[1].mode"));
}
