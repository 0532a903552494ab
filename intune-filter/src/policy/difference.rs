//! Compares two configurations by what each lets through, in terms of groups and destinations.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Policy, port_sets::PortSet};
use crate::{
    config::{Config, GroupMode},
    ports::PerProtocol,
};

/// Difference between two configurations.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// Traffic that passes in the new configuration alone.
    pub opens: Vec<Grant>,
    /// Traffic that passes in the old configuration alone.
    pub closes: Vec<Grant>,
    /// Changed keys that neither open nor close anything.
    pub settings: Vec<Setting>,
}

/// Traffic that clients of a group may send.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Grant {
    /// Name of the group.
    pub group: String,
    /// Clients of the group that are concerned, as `NETWORK on ZONE`; `None` for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clients: Option<String>,
    /// Name, pattern or prefix; `any` for every destination of the group, or of a group that is not
    /// enforced.
    pub destination: String,
    /// Ports.
    #[serde(flatten)]
    pub ports: PerProtocol<Vec<String>>,
}

/// Key of the configuration whose value changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    /// Key, such as `dns.unlisted` or `clients.devices.on_deny`.
    pub key: String,
    /// Old value; null if there was none.
    pub from: Leaf,
    /// New value; null if there is none.
    pub to: Leaf,
}

/// Value of the configuration without keys below it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Leaf {
    /// No value.
    #[default]
    Nothing,
    /// Boolean.
    Flag(bool),
    /// Number.
    Number(u64),
    /// Text.
    Text(String),
    /// List.
    List(Vec<Self>),
}

/// Writes the value as JSON.
impl fmt::Display for Leaf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&serde_json::to_string(self).map_err(|_| fmt::Error)?)
    }
}

/// Returns the difference from one configuration to another.
#[must_use]
pub fn difference(old: (&Config, &Policy), new: (&Config, &Policy)) -> Difference {
    let (before, after) = (groups(old), groups(new));
    Difference {
        opens: granted(&after, &before),
        closes: granted(&before, &after),
        settings: settings(old.0, new.0),
    }
}

/// Ports of each protocol.
type Ports = PerProtocol<PortSet>;

/// Clients and destinations of one group.
#[derive(Default)]
struct Reach {
    clients: BTreeSet<String>,
    destinations: BTreeMap<String, Ports>,
    /// Whether nothing is denied.
    is_open: bool,
}

fn groups((config, policy): (&Config, &Policy)) -> BTreeMap<String, Reach> {
    let reach = |(group, compiled): (&crate::config::ClientGroup, &super::Group)| {
        let mut reach = Reach { is_open: group.mode != GroupMode::Enforce, ..Reach::default() };
        for zone in config.zones_of(group) {
            reach.clients.extend(group.networks.iter().map(|net| format!("{net} on {zone}")));
        }
        for rule in policy.rules_of(compiled.rules) {
            let names = rule.fqdns.iter().map(ToString::to_string);
            for destination in names.chain(rule.cidrs.iter().map(ToString::to_string)) {
                let known = reach.destinations.entry(destination).or_default();
                for (protocol, ranges) in rule.ports.iter() {
                    known[protocol].add(&PortSet::of(ranges));
                }
            }
        }
        (group.name.clone(), reach)
    };
    config.clients.iter().zip(&policy.groups).map(reach).collect()
}

/// Returns everything that groups allow and that `others` do not.
fn granted(groups: &BTreeMap<String, Reach>, others: &BTreeMap<String, Reach>) -> Vec<Grant> {
    let nothing = Reach::default();
    let mut grants = Vec::new();
    for (group, reach) in groups {
        let other = others.get(group).unwrap_or(&nothing);
        let mut add = |clients: Option<&String>, destination: &str, ports: &Ports| {
            grants.push(Grant {
                group: group.clone(),
                clients: clients.cloned(),
                destination: destination.to_owned(),
                ports: ports.map(PortSet::to_texts),
            });
        };
        for clients in reach.clients.difference(&other.clients) {
            add(Some(clients), "any", &Ports::default());
        }
        if reach.is_open && !other.is_open {
            add(None, "any", &Ports::default());
        }
        for (destination, ports) in &reach.destinations {
            let none = Ports::default();
            let known = other.destinations.get(destination).unwrap_or(&none);
            let left = Ports::from_fn(|protocol| ports[protocol].without(&known[protocol]));
            if !left.all(PortSet::is_empty) {
                add(None, destination, &left);
            }
        }
    }
    grants
}

/// Whether grants show the changes of a key, or the key cannot change at runtime.
fn is_told_otherwise(key: &str) -> bool {
    let last = key.rsplit('.').next().unwrap_or_default();
    key.starts_with("services.")
        || key.starts_with("maps.")
        || key.starts_with("paths.")
        || key.starts_with("clients.") && matches!(last, "networks" | "services" | "on" | "name")
}

fn settings(old: &Config, new: &Config) -> Vec<Setting> {
    let (old, new) = (leaves(old), leaves(new));
    let keys: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let value =
        |of: &BTreeMap<String, Leaf>, key: &String| of.get(key).cloned().unwrap_or_default();
    let changed = keys.into_iter().filter(|key| !is_told_otherwise(key)).map(|key| Setting {
        key: key.clone(),
        from: value(&old, key),
        to: value(&new, key),
    });
    changed.filter(|setting| setting.from != setting.to).collect()
}

/// Returns every value of a configuration by its key; elements of a list by their name or id.
#[must_use]
pub fn leaves(config: &Config) -> BTreeMap<String, Leaf> {
    fn add(key: &str, value: Value, into: &mut BTreeMap<String, Leaf>) {
        let below = |name: &str| {
            if key.is_empty() { name.to_owned() } else { format!("{key}.{name}") }
        };
        match value {
            Value::Object(values) => {
                for (name, value) in values {
                    add(&below(&name), value, into);
                }
            }
            Value::Array(values) if values.iter().any(Value::is_object) => {
                for (index, value) in values.into_iter().enumerate() {
                    let names = ["name", "id", "address"];
                    let name = names.iter().find_map(|name| value.get(name)?.as_str());
                    // What has no name is told apart by its place, or one of them would hide the others.
                    let place = match (name, value.as_str()) {
                        (Some(name), _) | (None, Some(name)) => below(name),
                        (None, None) => format!("{key}[{index}]"),
                    };
                    add(&place, value, into);
                }
            }
            value => {
                let leaf = serde_json::from_value(value).unwrap_or_default();
                into.insert(key.to_owned(), leaf);
            }
        }
    }
    let mut all = BTreeMap::new();
    add("", serde_json::to_value(config).unwrap_or_default(), &mut all);
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        catalogue::Catalogue,
        policy::{RuleBits, compile},
    };

    const CONFIG: &str = "
interfaces: [{name: lan}]
clients:
- {name: devices, networks: [10.0.0.0/24], services: [web, mail]}
- {name: guests, networks: [10.0.1.0/24], services: [web]}
dns: {resolvers: [10.0.0.1]}
services:
- {id: web, tcp: [80, 443], udp: [443], fqdns: [a.test]}
- {id: mail, tcp: [990-999], cidrs: [192.0.2.0/24]}
";

    #[test]
    fn entries_without_names_are_told_apart_by_their_places() {
        let with = |inbound: &str, resolvers: &str| {
            let guests = "{name: guests, ";
            CONFIG
                .replace(guests, &format!("{guests}inbound: [{inbound}], "))
                .replace("[10.0.0.1]", &format!("[{resolvers}]"))
        };
        let (ssh, web) =
            ("{from: [203.0.113.9/32], tcp: [22]}", "{from: [0.0.0.0/0], tcp: [8080]}");
        let old = with(&format!("{ssh}, {web}"), "10.0.0.1, {address: 192.0.2.1, via: [wan0]}");
        let wide = ssh.replace("203.0.113.9/32", "0.0.0.0/0");
        let new = with(&format!("{wide}, {web}"), "10.0.0.1, {address: 192.0.2.1, via: [wan1]}");
        let told = told(&old, &new).join("\n");
        for key in ["clients.guests.inbound[0].from", "dns.resolvers.192.0.2.1.via"] {
            assert!(told.contains(key), "{key}: {told}");
        }
        assert!(!told.contains("inbound[1]"), "{told}");
    }

    /// Formats a grant as one line of text.
    fn line(grant: &Grant) -> String {
        let clients = grant.clients.iter().map(|clients| format!(" ({clients})"));
        let ports = grant.ports.iter().map(|(protocol, ports)| (protocol.as_str(), ports));
        let ports = ports.into_iter().filter(|(_, ports)| !ports.is_empty());
        let ports = ports.map(|(protocol, ports)| format!(" {protocol} {}", ports.join(" ")));
        let (clients, ports): (String, String) = (clients.collect(), ports.collect());
        format!("{}{clients} to {}{ports}", grant.group, grant.destination)
    }

    fn told(old: &str, new: &str) -> Vec<String> {
        let compiled = |text: &str| {
            let config = Config::parse("test", text).unwrap();
            let policy = compile(&config, Catalogue::builtin(), &RuleBits::new()).unwrap();
            (config, policy)
        };
        let (old, new) = (compiled(old), compiled(new));
        let changes = difference((&old.0, &old.1), (&new.0, &new.1));
        let opens = changes.opens.iter().map(|grant| format!("+ {}", line(grant)));
        let closes = changes.closes.iter().map(|grant| format!("- {}", line(grant)));
        let settings = changes.settings.iter().map(|setting| {
            let Setting { key, from, to } = setting;
            format!("  {key}: {to}, until now {from}")
        });
        opens.chain(closes).chain(settings).collect()
    }

    #[test]
    fn what_opens_and_closes_is_told_by_group_destination_and_port() {
        assert_eq!(told(CONFIG, CONFIG), [""; 0]);
        for (old, new, expected) in [
            (
                "990-999",
                "995-1000",
                &["+ devices to 192.0.2.0/24 tcp 1000", "- devices to 192.0.2.0/24 tcp 990-994"][..],
            ),
            (
                "a.test",
                "b.test",
                &[
                    "+ devices to b.test tcp 80 443 udp 443",
                    "+ guests to b.test tcp 80 443 udp 443",
                    "- devices to a.test tcp 80 443 udp 443",
                    "- guests to a.test tcp 80 443 udp 443",
                ],
            ),
            (
                "10.0.1.0/24",
                "10.0.2.0/24",
                &["+ guests (10.0.2.0/24 on lan) to any", "- guests (10.0.1.0/24 on lan) to any"],
            ),
            (
                "[10.0.1.0/24]",
                "on-link",
                &["+ guests (on-link on lan) to any", "- guests (10.0.1.0/24 on lan) to any"],
            ),
            (
                "services: [web]}",
                "services: [web], mode: audit}",
                &["+ guests to any", "  clients.guests.mode: \"audit\", until now \"enforce\""],
            ),
            (
                "[10.0.0.1]",
                "[10.0.0.1], ttl: {min: 2m}",
                &["  dns.ttl.min: \"2m\", until now \"1m\""],
            ),
            (
                "[10.0.0.1]}",
                "[10.0.0.1]}\nregion: europe",
                &["  region: \"europe\", until now null"],
            ),
        ] {
            assert_eq!(told(CONFIG, &CONFIG.replacen(old, new, 1)), expected, "{new}");
        }
    }

    #[test]
    fn the_way_a_service_is_named_opens_nothing() {
        let renamed =
            CONFIG.replace("[web, mail]", "[mail, web]").replace("id: web", "title: W\n  id: web");
        let renamed = renamed.replace("- {title: W\n  id: web", "- {title: W, id: web");
        assert_eq!(told(CONFIG, &renamed), [""; 0]);
    }
}
