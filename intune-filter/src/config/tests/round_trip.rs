//! Tests that a printed configuration can be read back without loss.

use proptest::prelude::*;

use crate::config::Config;

/// Configuration with every key, none at its default.
const EVERYTHING: &str = r##"
interfaces:
- {name: eth1, mode: tc, vlans: [0, 20]}
- {name: "1e3", mode: generic}
unlisted_clients: allow
other_vlans: deny
to_gateway: policy
boot: closed
warm_up: 90s
icmp_echo: false
manage_offloads: false
clients:
- name: "yes"
  on: eth1.20
  networks: [10.0.0.0/24, "fd00::/64", 0.0.0.0/0]
  services: [site, "0x10"]
  mode: audit
  on_deny: drop
  inbound: allow
  devices_per_address: 7
- {name: ~x, networks: [10.1.0.0/16], services: []}
dns:
  resolvers: [10.0.0.1, "fd00::1"]
  unlisted: forward
  resolve: false
  allow_private: [198.18.0.0/15]
  ttl: {min: 61s, max: 36h, grace: 0s}
tenant: AMSUB0502
region: europe
edition: 2023-09
cloud: china
domains: [contoso.com]
country: [de, co.uk]
gcc: true
catalogue: {legacy: true, observed: [autopilot]}
services:
- {id: site, title: "a: #b", allow_broad: true, fqdns: ["*.a.test", "a*.b.test", "#-c.test"], tcp: [80, "90-99"]}
- {id: "0x10", rules: [{id: one, cidrs: [192.0.2.0/24], udp: [53]}, {id: two, fqdns: [b.test], tcp: [1-65535]}]}
limits: {queries: off, flows: {rate: 3, burst: 4}}
dhcp_servers: [10.9.9.9]
nat64: ["64:ff9b::/96"]
metrics: {listen: "[::1]:9000"}
maps: {hosts4: 1024}
paths: {state_dir: /a/state, catalogue: "/a/cat: #1"}
"##;

fn again(config: &Config) -> Config {
    assert_eq!(by_json(config), *config);
    let text = serde_yaml::to_string(config).unwrap();
    Config::parse("again", &text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// Passes a configuration through JSON, as the daemon sends it to commands.
fn by_json(config: &Config) -> Config {
    let text = serde_json::to_string(config).unwrap();
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

#[test]
fn every_key_survives() {
    let config = Config::parse_part("test", EVERYTHING).0.unwrap();
    assert_eq!(by_json(&config), config);
    let text = serde_yaml::to_string(&config).unwrap();
    let (back, errors) = Config::parse_part("again", &text);
    // Reasons to refuse the file, if any, must survive.
    let messages = |errors: Vec<crate::yaml::FileError>| {
        errors.into_iter().map(|error| (error.key, error.message)).collect::<Vec<_>>()
    };
    let before = messages(Config::parse_part("test", EVERYTHING).1);
    assert_eq!(messages(errors), before);
    assert_eq!(back.unwrap(), config, "{text}");
}

#[test]
fn defaults_and_off_survive() {
    let text = "interfaces: [{name: lan}]\nclients: [{name: all, networks: [10.0.0.0/24]}]\n\
                dns: {resolvers: [10.0.0.1]}\nmetrics: {listen: off}\nto_gateway: {tcp: [22]}\n";
    let config = Config::parse("test", text).unwrap();
    assert_eq!(again(&config), config);
}

proptest! {
    #[test]
    fn whatever_a_title_is_it_survives(title in ".{1,20}|[-~0-9.xe+: #'\"]{1,8}|[\\n\\t a-z]{1,9}") {
        let mut config = Config::parse("test", "
interfaces: [{name: lan}]
clients: [{name: all, networks: [10.0.0.0/24]}]
dns: {resolvers: [10.0.0.1]}
services: [{id: site, title: x, cidrs: [192.0.2.0/24], tcp: [443]}]
").unwrap();
        config.services[0].title = Some(title);
        let text = serde_yaml::to_string(&config).unwrap();
        match Config::parse("again", &text) {
            Ok(back) => prop_assert_eq!(back, config),
            // Text that YAML cannot hold is in no file.
            Err(error) => prop_assert!(error.to_string().contains("not YAML"), "{}\n{}", error, text),
        }
    }
}
