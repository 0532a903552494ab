//! Computes a digest of a configuration: equal for configurations with equal effect.
//!
//! Formatting, comments, the order of keys, the names of sets and the bits of rules make no
//! difference; the catalogue's contents of the same service do.

use std::{collections::BTreeMap, fmt::Write as _};

use serde::Serialize;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::{Policy, Rule, port_sets::PortSet};
use crate::config::{Config, Inbound};

/// Keys outside the digest: [`canonical`] adds these in another form, or they hold sizes and paths.
const NOT_COUNTED: [&str; 14] = [
    "interfaces",
    "clients",
    "services",
    "tenant",
    "region",
    "edition",
    "cloud",
    "domains",
    "country",
    "gcc",
    "catalogue",
    "maps",
    "paths",
    "dhcp_servers",
];

/// Returns the digest of a configuration and of the policy compiled from it, in hexadecimal.
#[must_use]
pub fn digest(config: &Config, policy: &Policy) -> String {
    hexadecimal(canonical(config, policy).to_string().as_bytes())
}

/// Returns the SHA-256 of octets, in hexadecimal.
#[must_use]
pub fn hexadecimal(octets: &[u8]) -> String {
    let mut text = String::new();
    for octet in Sha256::digest(octets) {
        // Writing to a string cannot fail.
        let _ = write!(text, "{octet:02x}");
    }
    text
}

/// Returns one JSON value for all configurations of equal effect, with its keys in order.
fn canonical(config: &Config, policy: &Policy) -> Value {
    // Whatever key is added to the configuration counts, unless it is named above.
    let mut keys = match serde_json::to_value(config) {
        Ok(Value::Object(keys)) => keys,
        _ => Map::new(),
    };
    keys.retain(|key, _| !NOT_COUNTED.contains(&key.as_str()));
    if let Some(dns) = keys.get_mut("dns").and_then(Value::as_object_mut) {
        // The resolvers are asked in their order, which is left.
        dns.insert("allow_private".into(), sorted(&config.dns.allow_private));
    }
    keys.insert("nat64".into(), sorted(&config.nat64));
    keys.insert("dhcp_servers".into(), sorted(&config.dhcp_servers));
    // In their order: it numbers the zones and the groups.
    let interfaces = config
        .interfaces
        .iter()
        .map(|interface| {
            let zones = policy.zones.iter().filter(|zone| zone.interface == interface.name);
            let vlans: Vec<u16> = zones.map(|zone| zone.vlan).collect();
            json!({
                "name": interface.name,
                "mode": interface.mode,
                "vlans": vlans,
                "source_check": interface.source_check,
            })
        })
        .collect();
    keys.insert("interfaces".into(), interfaces);
    let clients = config
        .clients
        .iter()
        .zip(&policy.groups)
        .map(|(group, compiled)| {
            let zones: Vec<u32> = config.zones_of(group).iter().map(|zone| zone.number).collect();
            let mut rules: Vec<String> =
                policy.rules_of(compiled.rules).map(|rule| rule.id.to_string()).collect();
            rules.sort();
            let inbound = match &group.inbound {
                Inbound::Rules(_) => {
                    let rules = policy.rules_of(compiled.inbound).map(|rule| rule.id.to_string());
                    json!(rules.collect::<std::collections::BTreeSet<_>>())
                }
                word => json!(word),
            };
            json!({
                "name": group.name,
                "zones": zones,
                "networks": sorted(&group.networks),
                "rules": rules,
                "mode": group.mode,
                "on_deny": group.on_deny,
                "inbound": inbound,
                "devices_per_address": group.devices_per_address,
                "macs": sorted(&group.macs),
            })
        })
        .collect();
    keys.insert("clients".into(), clients);
    let rules: BTreeMap<String, Value> =
        policy.rules.values().map(|rule| (rule.id.to_string(), of_rule(rule))).collect();
    keys.insert("rules".into(), json!(rules));
    Value::Object(keys)
}

fn of_rule(rule: &Rule) -> Value {
    let lists = [("fqdns", sorted(&rule.fqdns)), ("cidrs", sorted(&rule.cidrs))];
    let ports = rule.ports.iter();
    let ports = ports.map(|(of, ranges)| (of.as_str(), json!(PortSet::of(ranges).to_texts())));
    lists.into_iter().chain(ports).map(|(key, value)| (key.to_owned(), value)).collect()
}

/// Returns a list sorted and without duplicates, since neither order nor repetition counts.
fn sorted<T: Serialize>(values: &[T]) -> Value {
    let mut texts: Vec<String> =
        values.iter().map(|value| serde_json::to_string(value).unwrap_or_default()).collect();
    texts.sort();
    texts.dedup();
    json!(texts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        catalogue::Catalogue,
        policy::{RuleBits, compile},
    };

    const CONFIG: &str = "
interfaces: [{name: lan, vlans: [20]}]
clients:
- {name: devices, networks: [10.0.0.0/24, \"fd00::/64\"], services: [web, mail]}
dns: {resolvers: [10.0.0.1, 10.0.0.2]}
services:
- {id: web, tcp: [80, 443], fqdns: [a.test, b.test]}
- {id: mail, tcp: [993], cidrs: [192.0.2.0/24]}
";

    fn of(text: &str, bits: &RuleBits) -> (String, RuleBits) {
        let config = Config::parse("test", text).unwrap();
        let policy = compile(&config, Catalogue::builtin(), bits).unwrap();
        (digest(&config, &policy), policy.rule_bits())
    }

    fn digest_of(text: &str) -> String {
        of(text, &RuleBits::new()).0
    }

    #[test]
    fn what_means_the_same_has_the_same_digest() {
        let same = "
# A comment.
services:
- fqdns: [b.test, a.test, ]
  title: The web
  tcp: [443, \"80-80\"]
  id: web
- {id: mail, tcp: [993, 993], cidrs: [192.0.2.0/24]}
dns: {resolvers: [10.0.0.1, 10.0.0.2], unlisted: nxdomain}
interfaces: [{vlans: [20], name: lan, mode: auto}]
clients:
- {services: [mail, web], on: lan.20, name: devices, networks: [\"fd00::/64\", 10.0.0.0/24]}
";
        assert_eq!(digest_of(CONFIG), digest_of(same));
        let on_link = |networks| CONFIG.replace("[10.0.0.0/24, \"fd00::/64\"]", networks);
        assert_eq!(digest_of(&on_link("on-link")), digest_of(&on_link("[on-link]")));
        assert_eq!(digest_of(CONFIG).len(), 64);
    }

    #[test]
    fn the_bits_of_rules_make_no_difference() {
        let (first, bits) = of(CONFIG, &RuleBits::new());
        let others = bits.into_iter().map(|(id, bit)| (id, 40 - bit)).collect();
        let (second, bits) = of(CONFIG, &others);
        assert_eq!(bits, others);
        assert_eq!(first, second);
    }

    #[test]
    fn whatever_is_let_through_or_set_makes_a_difference() {
        let mut seen = std::collections::BTreeSet::from([digest_of(CONFIG)]);
        for (old, new) in [
            ("993", "994"),
            ("a.test", "c.test"),
            ("192.0.2.0/24", "192.0.2.0/25"),
            ("tcp: [80, 443]", "udp: [80, 443]"),
            ("fd00::/64", "fd00:1::/64"),
            ("10.0.0.0/24, \"fd00::/64\"", "on-link"),
            ("10.0.0.0/24", "on-link"),
            ("[web, mail]}", "[web]}"),
            ("[web, mail]}", "[web, mail], mode: audit}"),
            ("[web, mail]}", "[web, mail], on_deny: drop}"),
            ("[web, mail]}", "[web, mail], inbound: allow}"),
            ("[web, mail]}", "[web, mail], inbound: [{services: [web]}]}"),
            ("[web, mail]}", "[web, mail], inbound: [{from: [10.9.0.0/16], tcp: [22]}]}"),
            ("[web, mail]}", "[web, mail], inbound: [{from: [10.9.0.0/16], tcp: [23]}]}"),
            ("[web, mail]}", "[web, mail], devices_per_address: 2}"),
            ("[web, mail]}", "[web, mail], macs: [\"02:00:5e:00:53:10\"]}"),
            ("vlans: [20]", "vlans: [30]"),
            ("vlans: [20]", "mode: tc, vlans: [20]"),
            ("vlans: [20]", "vlans: [20], source_check: loose"),
            ("[10.0.0.1, 10.0.0.2]", "[10.0.0.2, 10.0.0.1]"),
            ("10.0.0.2]", "10.0.0.2], unlisted: drop"),
            ("10.0.0.2]}", "10.0.0.2]}\nboot: closed"),
            ("10.0.0.2]}", "10.0.0.2]}\nother_vlans: deny"),
            ("10.0.0.2]}", "10.0.0.2]}\nmetrics: {listen: off}"),
            ("10.0.0.2]}", "10.0.0.2]}\nlimits: {flows: off}"),
            ("10.0.0.2]}", "10.0.0.2]}\ndhcp_servers: [10.0.0.9]"),
        ] {
            let changed = CONFIG.replacen(old, new, 1);
            assert_ne!(changed, CONFIG, "{old}");
            assert!(seen.insert(digest_of(&changed)), "{new}");
        }
        let elsewhere = format!("{CONFIG}paths: {{state_dir: /tmp}}\nmaps: {{hosts4: 1024}}\n");
        assert_eq!(digest_of(&elsewhere), digest_of(CONFIG), "these cannot change in force");
    }
}
