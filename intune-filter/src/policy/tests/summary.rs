//! Tests the output of `check`.

use super::{config, policy};
use crate::{
    catalogue::Catalogue,
    config::Config,
    policy::{RuleBits, compile, load, summarize},
};

#[test]
fn value_and_text() {
    let own = "services: [{id: own, title: Own, cidrs: [10.30.0.0/16], tcp: [631, 9100-9102]}]";
    let config = config("[windows, own]", own);
    let policy = policy(&config);
    let summary = summarize(&config, &policy, 4);
    let value = serde_json::to_value(&summary).unwrap();
    assert_eq!(value["groups"][0]["name"], "lan");
    assert_eq!(value["groups"][0]["zones"][0], "eth1");
    let services = value["services"].as_array().unwrap();
    let own = services.iter().find(|service| service["id"] == "own").unwrap();
    assert_eq!(own["origin"], "site");
    assert_eq!(own["rules"][0]["tcp"], serde_json::json!(["631", "9100-9102"]));
    assert_eq!(value["counts"]["rules"], policy.rules.len());
    assert_eq!(value["configuration"]["boot"], "open");
    let maps = value["memory"]["maps"].as_array().unwrap();
    let sum: u64 = maps.iter().map(|map| map["bytes"].as_u64().unwrap()).sum();
    assert_eq!(value["memory"]["total"], sum);

    let text = format!("{summary}\n{}", summary.defaults());
    for line in [
        "  lan (enforce) on eth1: 192.168.0.0/24\n    may reach core, regional, protection, own\n",
        "  own: Own (the site's own)\n    own/site: 0 names, 1 networks, tcp 631 9100-9102\n",
        "5 of 192 rules; ",
        "Configuration with its defaults\n  interfaces:\n  - name: eth1\n    mode: auto\n",
        "\n  warm_up: 0s\n",
        "Warnings\n  config.yaml:2: clients[0].services[0]: peers needs",
    ] {
        assert!(text.contains(line), "{line}\n--\n{text}");
    }
}

/// Tests the promise to a small gateway: the defaults take at most 64 MiB.
#[test]
fn default_maps_are_small() {
    let config = config("[all]", "");
    let policy = compile(&config, Catalogue::builtin(), &RuleBits::new()).unwrap();
    let total = summarize(&config, &policy, 16).memory.total;
    assert!((32 << 20..=64 << 20).contains(&total), "{total}");
}

/// Tests that the installed configuration shows the actual default of each key.
#[test]
fn the_installed_configuration_shows_the_defaults() {
    let text = include_str!("../../../../config/config.yaml");
    let shown = Config::parse("config.yaml", text).unwrap();
    let required = "\
interfaces: [{name: eth1}]
clients: [{name: enrolment, networks: [10.20.0.0/24, 'fd00:20::/64']}]
dns: {resolvers: [10.20.0.1, 'fd00:20::1']}
";
    assert_eq!(shown, Config::parse("config.yaml", required).unwrap());
    assert!(compile(&shown, Catalogue::builtin(), &RuleBits::new()).is_ok());
}

#[test]
fn the_demos_configuration_compiles() {
    let text = include_str!("../../../../config/demo.yaml");
    let config = Config::parse("demo.yaml", text).unwrap_or_else(|errors| panic!("{errors}"));
    let policy = compile(&config, Catalogue::builtin(), &RuleBits::new());
    assert!(!policy.unwrap_or_else(|errors| panic!("{errors}")).rules.is_empty());
}

#[test]
fn loading_reports_the_file_and_the_catalogues_faults_together() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config.yaml");
    let text = "\
interfaces: [{name: eth1, mode: fast}]
clients: [{name: lan, networks: [10.0.0.0/8], services: [defualt]}]
dns: {resolvers: [10.0.0.1]}
tenant: AMSUB9999
";
    std::fs::write(&path, text).unwrap();
    let errors = load(&path, |_| (), &RuleBits::new()).unwrap_err();
    let keys: Vec<_> = errors.errors().iter().map(|error| error.key.as_str()).collect();
    assert_eq!(keys, ["interfaces[0].mode", "clients[0].services[0]", "tenant"]);
    let first = errors.to_string();
    assert!(first.starts_with(&format!("{}:1: interfaces[0].mode: ", path.display())), "{first}");

    std::fs::write(
        &path,
        text.replace(", mode: fast", "").replace("defualt", "default").replace("9999", "0502"),
    )
    .unwrap();
    let loaded =
        load(&path, |paths| paths.pin_dir = "/elsewhere".into(), &RuleBits::new()).unwrap();
    assert_eq!(loaded.config.paths.pin_dir, std::path::Path::new("/elsewhere"));
    assert!(!loaded.policy.rules.is_empty());

    let missing = directory.path().join("none");
    let errors =
        load(&path, |paths| paths.catalogue = Some(missing), &RuleBits::new()).unwrap_err();
    assert_eq!(errors.errors()[0].key, "paths.catalogue");
}
