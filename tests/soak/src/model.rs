//! An independent model of the policy: a configuration's text, read by hand, and what it says of a
//! packet. It knows nothing of rules, bits and tables.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use ipnet::IpNet;
use serde::Deserialize;

use super::packet::{Packet, What};

/// Verdict of the model on a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Verdict {
    /// The packet has to arrive.
    Passes,
    /// The packet must not arrive.
    Denied,
    /// Both are right: what decides changed while the packet was on its way.
    Either,
}

/// A verdict, and the model's reason.
pub type Judgement = (Verdict, &'static str);

/// Treatment of a group's packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Judged.
    #[default]
    Enforce,
    /// Judged, and let through.
    Audit,
    /// Not judged.
    Exempt,
}

#[derive(Clone, Debug, Deserialize)]
struct Group {
    networks: Vec<IpNet>,
    services: BTreeSet<String>,
    #[serde(default)]
    mode: Mode,
    #[serde(default)]
    inbound: Inbound,
}

/// Who reaches a group's clients: a word, or rules.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum Inbound {
    Word(String),
    Rules(Vec<InboundRule>),
}

impl Default for Inbound {
    fn default() -> Self {
        Self::Word(deny())
    }
}

/// Services whose destinations may send to their ports, or networks that may send to these.
#[derive(Clone, Debug, Deserialize)]
struct InboundRule {
    #[serde(default)]
    services: BTreeSet<String>,
    #[serde(default)]
    from: Vec<IpNet>,
    #[serde(default)]
    tcp: Vec<Port>,
    #[serde(default)]
    udp: Vec<Port>,
}

#[derive(Clone, Debug, Deserialize)]
struct Service {
    id: String,
    #[serde(default)]
    fqdns: Vec<String>,
    #[serde(default)]
    cidrs: Vec<IpNet>,
    #[serde(default)]
    tcp: Vec<Port>,
    #[serde(default)]
    udp: Vec<Port>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum Port {
    One(u16),
    Range(String),
}

#[derive(Clone, Debug, Deserialize)]
struct Dns {
    resolvers: Vec<IpAddr>,
    ttl: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
struct File {
    #[serde(default = "deny")]
    unlisted_clients: String,
    clients: Vec<Group>,
    services: Vec<Service>,
    dns: Dns,
}

fn deny() -> String {
    "deny".to_owned()
}

/// A configuration.
#[derive(Clone, Debug)]
pub struct ModelPolicy {
    unlisted_pass: bool,
    groups: Vec<Group>,
    services: BTreeMap<String, Service>,
    resolvers: Vec<IpAddr>,
    /// The shortest and the longest time that an address lives.
    bounds: [Duration; 2],
    grace: Duration,
}

impl ModelPolicy {
    /// Reads a configuration's text.
    pub fn read(text: &str) -> Result<Self> {
        let file: File = serde_yaml::from_str(text).context("the model cannot read it")?;
        let rules = file.clients.iter().flat_map(|one| one.inbound.rules());
        let used = file.clients.iter().flat_map(|one| &one.services);
        let used: BTreeSet<&String> = used.chain(rules.flat_map(|rule| &rule.services)).collect();
        let time = |key: &str| -> Result<Duration> {
            let text = file.dns.ttl.get(key).with_context(|| format!("no dns.ttl.{key}"))?;
            let Some(seconds) = text.strip_suffix('s') else { bail!("{text} is not in seconds") };
            Ok(Duration::from_secs(seconds.parse()?))
        };
        Ok(Self {
            unlisted_pass: file.unlisted_clients == "allow",
            bounds: [time("min")?, time("max")?],
            grace: time("grace")?,
            // What no group has is not in force.
            services: (file.services.iter())
                .filter(|service| used.contains(&service.id))
                .map(|service| (service.id.clone(), service.clone()))
                .collect(),
            groups: file.clients,
            resolvers: file.dns.resolvers,
        })
    }

    /// Time after an answer for which an address with this time to live is allowed.
    #[must_use]
    pub fn life(&self, ttl: u32) -> Duration {
        let [min, max] = self.bounds;
        Duration::from_secs(ttl.into()).clamp(min, max) + self.grace
    }

    /// The longest time that any answer's address is allowed.
    #[must_use]
    pub fn longest_life(&self) -> Duration {
        self.bounds[1] + self.grace
    }

    /// The group that an address is in: that of the longest prefix.
    fn group(&self, client: IpAddr) -> Option<&Group> {
        let prefixes = self.groups.iter().flat_map(|group| {
            group.networks.iter().filter(|net| net.contains(&client)).map(move |net| (net, group))
        });
        prefixes.max_by_key(|(net, _)| net.prefix_len()).map(|(_, group)| group)
    }

    /// Treatment of a client's packets, if the client is in a group.
    #[must_use]
    pub fn mode(&self, client: IpAddr) -> Option<Mode> {
        self.group(client).map(|group| group.mode)
    }

    /// Whether a client receives unsolicited packets, by its group's choice.
    #[must_use]
    pub fn wants(&self, client: IpAddr) -> bool {
        self.group(client).is_some_and(|group| group.inbound.is_allow())
    }

    /// The services in force that have a name.
    pub fn services_of(&self, name: &str) -> impl Iterator<Item = &str> {
        let has = |service: &&Service| service.fqdns.iter().any(|pattern| matches(pattern, name));
        self.services.values().filter(has).map(|service| service.id.as_str())
    }

    /// The services that have lost a pattern since another policy.
    pub fn narrower_than(&self, before: &Self) -> impl Iterator<Item = String> {
        let lost = |now: &&Service| {
            let before = before.services.values().find(|before| before.id == now.id);
            before.is_some_and(|before| before.fqdns.iter().any(|one| !now.fqdns.contains(one)))
        };
        self.services.values().filter(lost).map(|service| service.id.clone())
    }

    /// The names without a wildcard, each with its service.
    pub fn exact_names(&self) -> impl Iterator<Item = (&str, &str)> {
        self.services.values().flat_map(|service| {
            let exact = service.fqdns.iter().filter(|pattern| !pattern.contains('*'));
            exact.map(|pattern| (pattern.as_str(), service.id.as_str()))
        })
    }

    /// Whether a client is answered about a name: one of a service of its group, or of any if its
    /// group is not enforced.
    #[must_use]
    pub fn answers(&self, client: IpAddr, name: &str) -> bool {
        let Some(group) = self.group(client) else { return self.unlisted_pass };
        match group.mode {
            Mode::Exempt | Mode::Audit => true,
            Mode::Enforce => self.services_of(name).any(|id| group.services.contains(id)),
        }
    }

    /// The services of a client's group that have a protocol's port.
    #[must_use]
    pub fn services_for(&self, packet: &Packet) -> Vec<&str> {
        let Some(group) = self.group(packet.client()) else { return Vec::new() };
        let services = group.services.iter().filter_map(|id| self.services.get(id));
        services.filter(|service| service.has_port(packet)).map(|one| one.id.as_str()).collect()
    }

    /// Judges a packet that begins something. `learned` says whether the answers so far lead from a
    /// service's names to an address.
    #[must_use]
    pub fn judge(&self, packet: &Packet, learned: impl Fn(&str, IpAddr) -> Verdict) -> Judgement {
        if packet.to_client {
            return self.judge_unsolicited(packet, learned);
        }
        if packet.what.is_broken() {
            return (Verdict::Denied, "no client may send such a packet");
        }
        if is_no_source(packet.source) {
            return (Verdict::Denied, "no client has such an address");
        }
        let Some(group) = self.group(packet.source) else {
            return if self.unlisted_pass {
                (Verdict::Passes, "unlisted clients are allowed")
            } else {
                (Verdict::Denied, "the client is in no group")
            };
        };
        match group.mode {
            Mode::Exempt => return (Verdict::Passes, "the group is exempt"),
            Mode::Audit => return (Verdict::Passes, "the group is audited"),
            Mode::Enforce => {}
        }
        if matches!(packet.what, What::Protocol(_)) {
            return (Verdict::Denied, "neither TCP, UDP nor ICMP");
        }
        let services = self.services_for(packet);
        let has_network = |id: &&&str| {
            let service = self.services.get(**id);
            service.is_some_and(|one| one.cidrs.iter().any(|net| net.contains(&packet.destination)))
        };
        if services.iter().any(|id| has_network(&id)) {
            return (Verdict::Passes, "a network and a port of one of the group's services");
        }
        let learned: Vec<_> = services.iter().map(|id| learned(id, packet.destination)).collect();
        if learned.contains(&Verdict::Passes) {
            (Verdict::Passes, "a name of one of the group's services leads there, and its port")
        } else if learned.contains(&Verdict::Either) {
            (Verdict::Either, "a name of one of the group's services may lead there")
        } else {
            (Verdict::Denied, "no service of the group has this destination and port")
        }
    }

    fn judge_unsolicited(
        &self,
        packet: &Packet,
        learned: impl Fn(&str, IpAddr) -> Verdict,
    ) -> Judgement {
        if packet.what.is_broken() {
            return (Verdict::Denied, "no client is sent such a packet");
        }
        match self.group(packet.destination) {
            None if self.unlisted_pass => (Verdict::Passes, "unlisted clients are allowed"),
            None => (Verdict::Denied, "to a client that is in no group, and answers nothing"),
            Some(group) => match group.mode {
                Mode::Exempt => (Verdict::Passes, "the group is exempt"),
                Mode::Audit => (Verdict::Passes, "the group is audited"),
                Mode::Enforce if packet.what.is_of_dns() && self.trusts(packet.source) => {
                    (Verdict::Denied, "a resolver begins nothing")
                }
                Mode::Enforce if self.wants(packet.destination) => {
                    (Verdict::Passes, "inbound: allow")
                }
                Mode::Enforce => self.let_in(group, packet, learned),
            },
        }
    }

    /// Judges by the rules of the receiver's group who may send to the client's port.
    fn let_in(
        &self,
        group: &Group,
        packet: &Packet,
        learned: impl Fn(&str, IpAddr) -> Verdict,
    ) -> Judgement {
        let is_from = |networks: &[IpNet]| networks.iter().any(|net| net.contains(&packet.source));
        let mut maybe = false;
        for rule in group.inbound.rules() {
            if has_local(&rule.tcp, &rule.udp, packet) && is_from(&rule.from) {
                return (Verdict::Passes, "a network and a port of an inbound rule");
            }
            let services = rule.services.iter().filter_map(|id| self.services.get(id));
            for service in services.filter(|one| has_local(&one.tcp, &one.udp, packet)) {
                let by_name = learned(&service.id, packet.source);
                if is_from(&service.cidrs) || by_name == Verdict::Passes {
                    return (Verdict::Passes, "a destination and a port of an inbound service");
                }
                maybe |= by_name == Verdict::Either;
            }
        }
        if maybe {
            (Verdict::Either, "a name of an inbound service may lead there")
        } else {
            (Verdict::Denied, "answers nothing")
        }
    }

    /// Whether clients may ask the resolver.
    #[must_use]
    pub fn trusts(&self, resolver: IpAddr) -> bool {
        self.resolvers.contains(&resolver)
    }
}

impl Service {
    fn has_port(&self, packet: &Packet) -> bool {
        let (ports, port) = match packet.what {
            What::Echo { .. } => return true,
            What::Udp { remote, .. } | What::Fragments { remote, .. } => (&self.udp, remote),
            What::Tcp { remote, .. } => (&self.tcp, remote),
            _ => return false,
        };
        has(ports, port)
    }
}

impl Inbound {
    fn is_allow(&self) -> bool {
        matches!(self, Self::Word(word) if word == "allow")
    }

    fn rules(&self) -> &[InboundRule] {
        match self {
            Self::Word(_) => &[],
            Self::Rules(rules) => rules,
        }
    }
}

/// Whether the client's port of a packet is among ports.
fn has_local(tcp: &[Port], udp: &[Port], packet: &Packet) -> bool {
    match packet.what {
        What::Udp { local, .. } => has(udp, local),
        What::Tcp { local, .. } => has(tcp, local),
        _ => false,
    }
}

fn has(ports: &[Port], port: u16) -> bool {
    ports.iter().any(|one| match one {
        Port::One(one) => *one == port,
        Port::Range(text) => {
            let bounds = text.split_once('-').and_then(|(first, last)| {
                Some((first.parse::<u16>().ok()?, last.parse::<u16>().ok()?))
            });
            bounds.is_some_and(|(first, last)| (first..=last).contains(&port))
        }
    })
}

/// Whether no host can have this address, so that a packet from it is forged.
fn is_no_source(source: IpAddr) -> bool {
    match source {
        IpAddr::V4(v4) => {
            v4.is_loopback() || v4.is_multicast() || v4.is_broadcast() || v4.is_unspecified()
        }
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_multicast() || v6.is_unspecified(),
    }
}

/// Whether a pattern has a name, by the words of OPERATING: `*.x` is every name below `x`, any other
/// `*` stands for some of one label.
fn matches(pattern: &str, name: &str) -> bool {
    if let Some(parent) = pattern.strip_prefix("*.") {
        return name.char_indices().any(|(at, c)| c == '.' && matches(parent, &name[at + 1..]));
    }
    let (patterns, labels) = (pattern.split('.'), name.split('.'));
    patterns.clone().count() == labels.clone().count()
        && patterns.zip(labels).all(|(pattern, label)| match pattern.split_once('*') {
            None => pattern == label,
            Some((head, tail)) => {
                label.len() >= head.len() + tail.len()
                    && label.starts_with(head)
                    && label.ends_with(tail)
            }
        })
}

#[cfg(test)]
mod tests;
