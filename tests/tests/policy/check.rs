//! `intune-filter check` refuses every kind of error, and names file, line and key.

use std::process::Output;

use anyhow::{Context as _, Result, ensure};
use intune_filter_tests::{
    pins,
    site::{self, CONFIG},
    testbed::Testbed,
};

/// A change that makes the site's configuration wrong.
struct Fault {
    kind: &'static str,
    from: &'static str,
    to: &'static str,
    /// Stands at the beginning of the faulty line after the change.
    line: &'static str,
    key: &'static str,
    /// Stands in the message.
    says: &'static str,
}

const FAULTS: &[Fault] = &[
    Fault {
        kind: "an unknown key",
        from: "dns:",
        to: "dsn: {}\ndns:",
        line: "dsn: {}",
        key: "dsn",
        says: "unknown key",
    },
    Fault {
        kind: "an unknown key inside a group",
        from: "    services: [web, clock, printer]",
        to: "    services: [web, clock, printer]\n    on_denied: drop",
        line: "    on_denied",
        key: "clients[0].on_denied",
        says: "unknown key",
    },
    Fault {
        kind: "text in the place of a list",
        from: "    services: [web, clock, printer]",
        to: "    services: web",
        line: "    services: web",
        key: "clients[0].services",
        says: "expected a list",
    },
    Fault {
        kind: "a number in the place of a word",
        from: "    services: [web, clock, printer]",
        to: "    services: [web, clock, printer]\n    mode: 7",
        line: "    mode: 7",
        key: "clients[0].mode",
        says: "expected",
    },
    Fault {
        kind: "host bits in a client's network",
        from: "10.20.0.0/24",
        to: "10.20.0.1/24",
        line: "    networks:",
        key: "clients[0].networks[0]",
        says: "host bits",
    },
    Fault {
        kind: "host bits in a service's CIDR",
        from: "192.0.2.0/28",
        to: "192.0.2.1/28",
        line: "    cidrs:",
        key: "services[2].cidrs[0]",
        says: "192.0.2.0/28",
    },
    Fault {
        kind: "an unknown service",
        from: "[web, clock, printer]",
        to: "[web, clock, printerr]",
        line: "    services:",
        key: "clients[0].services[2]",
        says: "printerr",
    },
    Fault {
        kind: "an empty port list",
        from: "    tcp: [631]",
        to: "    tcp: []",
        line: "    tcp: []",
        key: "services[2].tcp",
        says: "port",
    },
    Fault {
        kind: "port 0",
        from: "    tcp: [631]",
        to: "    tcp: [631, 0]",
        line: "    tcp: [631, 0]",
        key: "services[2].tcp[1]",
        says: "port 0",
    },
    Fault {
        kind: "an inverted range",
        from: "    tcp: [631]",
        to: "    tcp: [\"9102-9100\"]",
        line: "    tcp: [\"9102",
        key: "services[2].tcp[0]",
        says: "9102",
    },
    Fault {
        kind: "a duplicate id",
        from: "  - id: printer",
        to: "  - id: web",
        line: "  - id: web\n    title: Printer",
        key: "services[2].id",
        says: "web",
    },
];

#[test]
fn every_kind_of_error_is_told_with_file_line_and_key() -> Result<()> {
    let testbed = Testbed::create(&site::setup())?;
    for fault in FAULTS {
        let Fault { kind, from, to, line, key, says } = fault;
        let config = CONFIG.replacen(from, to, 1);
        let offset = config.find(line).with_context(|| format!("{kind}: no line {line:?}"))?;
        let number = config.get(..offset).unwrap_or_default().lines().count() + 1;
        refused(&testbed, kind, &config, &format!("config.yaml:{number}: {key}: "), says)?;
    }
    Ok(())
}

#[test]
fn more_than_192_rules_are_refused() -> Result<()> {
    let testbed = Testbed::create(&site::setup())?;
    let ids: Vec<String> = (1..=193).map(|number| format!("site-{number}")).collect();
    let services: String = ids
        .iter()
        .map(|id| format!("  - {{id: {id}, title: {id}, fqdns: [{id}.test], tcp: [443]}}\n"))
        .collect();
    let (head, _) = CONFIG.split_once("services:\n").context("the site has services")?;
    let config = |count: usize| {
        let in_force = ids.get(..count).unwrap_or_default().join(", ");
        head.replace("[web, clock, printer]", &format!("[{in_force}]"))
            + &format!("services:\n{services}")
    };
    accepted(&testbed, &config(192))?;
    refused(&testbed, "193 rules", &config(193), "config.yaml:6: clients[0].services", "192")
}

#[test]
fn what_is_no_yaml_is_told_with_its_line() -> Result<()> {
    let testbed = Testbed::create(&site::setup())?;
    let config = CONFIG.replacen("networks: [10.20.0.0/24", "networks: [[10.20.0.0/24", 1);
    refused(&testbed, "no YAML", &config, "config.yaml:", "")
}

#[test]
fn the_sites_configuration_is_accepted_and_nothing_is_touched() -> Result<()> {
    let testbed = Testbed::create(&site::setup())?;
    accepted(&testbed, CONFIG)?;
    let left = pins::ids(&testbed.filter.pins(), "maps")?;
    ensure!(left.is_empty(), "check has pinned {left:?}");
    Ok(())
}

/// By the facts of the machine: own addresses, routes to resolvers, and what listens.
#[test]
fn what_remains_open_is_told_with_those_who_can_do_it() -> Result<()> {
    let testbed = Testbed::create(&site::setup())?;
    let exempt = "  - {name: servers, networks: [10.20.7.0/24], mode: exempt}\ndns:\n";
    let config = CONFIG.replacen("dns:\n", exempt, 1);
    testbed.filter.configure(&config)?;
    let text = testbed.filter.succeed(&["check"])?;
    let (_, told) = text.split_once("\nAttacks that remain open").context("no such part")?;
    let (told, _) =
        told.split_once("\nConfiguration with its defaults\n").context("the last part")?;
    for line in [
        "  Forged answers from the resolver's side.\n    clients of devices, with who can send as 203.",
        "  An exempt address.\n    devices on eth1, which can take an address of servers\n",
        "  A resolver on another port of the gateway.\n    clients on eth1, who reach tcp ",
        "  Foreign tags.\n    devices on eth1, once the gateway has a VLAN device",
        "  Packets before the filter.\n",
        "  In every configuration, to any client:\n",
    ] {
        ensure!(told.contains(line), "no {line:?} in {told}");
    }
    ensure!(!told.contains("10.20.0.1,"), "the gateway's own resolver is forged: {told}");
    for twice in ["macs denies all others", "reach what listens"] {
        ensure!(!text.contains(twice), "said twice: {text}");
    }
    let json = testbed.filter.json(&["check"])?;
    let attacks = json["open_attacks"].as_array().context("a list of attacks")?;
    let exempt = attacks.iter().find(|attack| attack["title"] == "An exempt address.");
    let exempt = exempt.context("an exempt address")?;
    ensure!(json["schema"] == 1 && exempt["keys"][0] == "clients[1].mode", "{exempt}");
    ensure!(exempt["helps"] == "macs" && exempt["everywhere"] == false, "{exempt}");
    Ok(())
}

fn check(testbed: &Testbed, config: &str, arguments: &[&str]) -> Result<Output> {
    testbed.filter.configure(config)?;
    testbed.filter.run(&[arguments, &["check"]].concat())
}

fn accepted(testbed: &Testbed, config: &str) -> Result<()> {
    let output = check(testbed, config, &[])?;
    ensure!(
        output.status.success(),
        "{}: {}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    Ok(())
}

fn refused(testbed: &Testbed, kind: &str, config: &str, place: &str, says: &str) -> Result<()> {
    let output = check(testbed, config, &[])?;
    let text = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(3), "{kind}: {}: {text}", output.status);
    let line = text.lines().find(|line| line.contains(place));
    let line = line.with_context(|| format!("{kind}: expected {place:?} in: {text}"))?;
    ensure!(line.contains(says), "{kind}: expected {says:?} in: {line}");

    let output = check(testbed, config, &["--json"])?;
    ensure!(output.status.code() == Some(3), "{kind}: with --json {}", output.status);
    Ok(())
}
