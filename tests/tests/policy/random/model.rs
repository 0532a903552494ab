//! Random policies, and an independent judge of what they permit.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    net::{IpAddr, Ipv4Addr},
};

use intune_filter_tests::random::Random;

/// Names that clients resolve.
pub(super) const NAMES: [&str; 6] =
    ["a.test", "b.test", "c.wild.test", "d.wild.test", "e.deep.wild.test", "wild.test"];
/// Patterns of services: exact names, and `*.` in front of one for everything below it.
const PATTERNS: [&str; 6] =
    ["a.test", "b.test", "*.wild.test", "c.wild.test", "*.deep.wild.test", "wild.test"];
/// Networks of services: some lie in others.
const NETWORKS: [&str; 8] = [
    "20.0.0.0/24",
    "20.0.0.0/28",
    "20.0.0.16/28",
    "20.0.1.0/24",
    "20.0.0.0/23",
    "2001:db8:20::/64",
    "2001:db8:20::/120",
    "2001:db8:20:1::/64",
];
/// Destinations of flows: in several of the networks, in one, or in none; and some of them by NAT64.
pub(super) const DESTINATIONS: [&str; 11] = [
    "20.0.0.1",
    "20.0.0.17",
    "20.0.1.1",
    "20.9.0.1",
    "20.9.0.2",
    "2001:db8:20::1",
    "2001:db8:20:1::1",
    "2001:db8:99::1",
    "64:ff9b::20.0.0.1",
    "64:ff9b::20.9.0.1",
    "64:ff9b::20.9.0.2",
];
/// Ports of services.
pub(super) const PORTS: [u16; 3] = [80, 443, 631];
/// Clients, two of each group's.
pub(super) const CLIENTS: [[&str; 2]; 2] = [["10.0.0.1", "fd00:1::1"], ["10.0.1.1", "fd00:2::1"]];
/// Modes of groups, of which the first is the usual one.
const MODES: [&str; 3] = ["enforce", "audit", "exempt"];

/// Destinations and ports of a service.
#[derive(Clone, Debug, Default)]
struct Service {
    patterns: BTreeSet<&'static str>,
    networks: BTreeSet<&'static str>,
    ports: BTreeSet<u16>,
}

/// Who reaches a group's clients.
#[derive(Clone, Debug, Default)]
enum Inbound {
    #[default]
    Nobody,
    Everybody,
    By(BTreeSet<InboundRule>),
}

/// Rule of `inbound`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum InboundRule {
    /// The destinations of services, at the services' ports.
    Services(BTreeSet<u32>),
    /// Networks, at ports.
    From(BTreeSet<&'static str>, BTreeSet<u16>),
}

impl InboundRule {
    fn random(random: &mut Random) -> Self {
        if random.once_in(2) {
            let mut services = some(random, &[0, 1, 2, 3], 3);
            services.insert(random.within(0..4));
            return Self::Services(services);
        }
        let mut from = some(random, &NETWORKS, 4);
        from.insert(*random.pick(&NETWORKS));
        let mut ports = some(random, &PORTS, 3);
        ports.insert(*random.pick(&PORTS));
        Self::From(from, ports)
    }
}

/// A group of clients.
#[derive(Clone, Debug, Default)]
struct Group {
    mode: &'static str,
    services: BTreeSet<u32>,
    inbound: Inbound,
}

/// A policy.
#[derive(Clone, Debug, Default)]
pub(super) struct Policy {
    services: BTreeMap<u32, Service>,
    groups: [Group; 2],
    /// Whether clients reach IPv4 by the well-known prefix.
    nat64: bool,
}

fn some<T: Copy + Ord>(random: &mut Random, all: &[T], once_in: u32) -> BTreeSet<T> {
    all.iter().copied().filter(|_| random.once_in(once_in)).collect()
}

impl Policy {
    pub(super) fn random(random: &mut Random) -> Self {
        let mut services = BTreeMap::new();
        for id in 0..4 {
            let mut service = Service {
                patterns: some(random, &PATTERNS, 3),
                networks: some(random, &NETWORKS, 4),
                ports: some(random, &PORTS, 2),
            };
            service.ports.insert(*random.pick(&PORTS));
            if service.patterns.is_empty() && service.networks.is_empty() {
                service.networks.insert(*random.pick(&NETWORKS));
            }
            services.insert(id, service);
        }
        let groups = [(); 2].map(|()| {
            let mode = if random.once_in(6) { *random.pick(&MODES) } else { "enforce" };
            let mut of_group = some(random, &[0, 1, 2, 3], 2);
            of_group.insert(random.within(0..4));
            let inbound = match random.within(0..6) {
                0 => Inbound::Nobody,
                1 => Inbound::Everybody,
                more => {
                    let rules = 0..more.min(3);
                    Inbound::By(rules.map(|_| InboundRule::random(random)).collect())
                }
            };
            Group { mode, services: of_group, inbound }
        });
        Self { services, groups, nat64: !random.once_in(4) }
    }

    /// Another policy, often much like this one.
    pub(super) fn next(&self, random: &mut Random) -> Self {
        let other = Self::random(random);
        if random.once_in(5) {
            return other;
        }
        let mut next = self.clone();
        for _ in 0..random.within(1..4) {
            let id = random.within(0..4);
            let Some(service) = next.services.get_mut(&id) else { continue };
            let Some(another) = other.services.get(&id) else { continue };
            match random.within(0..4) {
                0 => *service = another.clone(),
                1 => service.ports.clone_from(&another.ports),
                // The services' destinations change hands.
                2 => next.services.values_mut().for_each(|one| {
                    one.patterns.extend(&another.patterns);
                    if one.networks.len() > 1 {
                        one.networks.pop_first();
                    }
                }),
                _ => {
                    if service.patterns.len() + service.networks.len() > 1
                        && (service.patterns.is_empty() || service.networks.pop_last().is_none())
                    {
                        service.patterns.pop_last();
                    }
                }
            }
        }
        if random.once_in(4) {
            next.groups = other.groups;
        } else if random.once_in(3) {
            let [one, two] = other.groups.map(|group| group.inbound);
            next.groups[0].inbound = one;
            next.groups[1].inbound = two;
        }
        if random.once_in(4) {
            next.nat64 = other.nat64;
        }
        next
    }

    pub(super) fn config(&self) -> String {
        let list = |words: &mut dyn Iterator<Item = String>| words.collect::<Vec<_>>().join(", ");
        let mut text = "interfaces: [{name: lan}]\ndns: {resolvers: [192.0.2.53]}\n\
             limits: {queries: off, flows: off}\nclients:\n"
            .to_owned();
        let names = |services: &BTreeSet<u32>| {
            services.iter().map(|id| format!("s{id}")).collect::<Vec<_>>().join(", ")
        };
        for (number, group) in self.groups.iter().enumerate() {
            let (mode, services) = (group.mode, names(&group.services));
            let inbound = match &group.inbound {
                Inbound::Nobody => "deny".to_owned(),
                Inbound::Everybody => "allow".to_owned(),
                Inbound::By(rules) => {
                    let rules = rules.iter().map(|rule| match rule {
                        InboundRule::Services(services) => {
                            format!("{{services: [{}]}}", names(services))
                        }
                        InboundRule::From(from, ports) => {
                            let from = list(&mut from.iter().map(|one| format!("'{one}'")));
                            let ports = list(&mut ports.iter().map(ToString::to_string));
                            format!("{{from: [{from}], tcp: [{ports}]}}")
                        }
                    });
                    format!("[{}]", list(&mut rules.into_iter()))
                }
            };
            let networks = format!("10.0.{number}.0/24, 'fd00:{}::/64'", number + 1);
            let _ = writeln!(
                text,
                "- {{name: g{number}, networks: [{networks}], mode: {mode}, services: [{services}], \
                 inbound: {inbound}}}"
            );
        }
        if self.nat64 {
            text.push_str("nat64: ['64:ff9b::/96']\n");
        }
        text.push_str("services:\n");
        for (id, service) in &self.services {
            let patterns = list(&mut service.patterns.iter().map(|one| format!("'{one}'")));
            let networks = list(&mut service.networks.iter().map(|one| format!("'{one}'")));
            let ports = list(&mut service.ports.iter().map(ToString::to_string));
            let _ = writeln!(
                text,
                "- {{id: s{id}, fqdns: [{patterns}], cidrs: [{networks}], tcp: [{ports}]}}"
            );
        }
        text
    }

    /// Whether the clients of a group are judged at all.
    pub(super) fn enforces(&self, group: usize) -> bool {
        self.groups.get(group).is_some_and(|group| group.mode == "enforce")
    }

    /// The IPv4 address that a destination stands for.
    pub(super) fn stands_for(&self, destination: IpAddr) -> Option<IpAddr> {
        let IpAddr::V6(v6) = destination else { return None };
        let [0x64, 0xff9b, 0, 0, 0, 0, high, low] = v6.segments() else { return None };
        self.nat64.then(|| Ipv4Addr::from(u32::from(high) << 16 | u32::from(low)).into())
    }

    /// Whether a group may use a port of a destination that names have led to.
    pub(super) fn permits(
        &self,
        group: usize,
        destination: IpAddr,
        port: u16,
        names: &BTreeSet<&str>,
    ) -> bool {
        if !self.enforces(group) {
            return true;
        }
        self.of_group(group).any(|service| self.serves(service, destination, port, names))
    }

    /// Whether a host that names have led to may reach a port of a group's clients.
    pub(super) fn lets_in(
        &self,
        group: usize,
        sender: IpAddr,
        port: u16,
        names: &BTreeSet<&str>,
    ) -> bool {
        if !self.enforces(group) {
            return true;
        }
        match self.groups.get(group).map(|group| &group.inbound) {
            None | Some(Inbound::Nobody) => false,
            Some(Inbound::Everybody) => true,
            Some(Inbound::By(rules)) => rules.iter().any(|rule| match rule {
                InboundRule::Services(services) => {
                    let mut services = services.iter().filter_map(|id| self.services.get(id));
                    services.any(|service| self.serves(service, sender, port, names))
                }
                InboundRule::From(from, ports) => ports.contains(&port) && self.is_in(sender, from),
            }),
        }
    }

    /// Whether a service has a port, and an address by its networks or by names that led there.
    fn serves(&self, service: &Service, host: IpAddr, port: u16, names: &BTreeSet<&str>) -> bool {
        service.ports.contains(&port)
            && (self.is_in(host, &service.networks) || names.iter().any(|name| service.has(name)))
    }

    fn is_in(&self, host: IpAddr, networks: &BTreeSet<&str>) -> bool {
        networks.iter().any(|network| {
            lies_in(host, network) || self.stands_for(host).is_some_and(|v4| lies_in(v4, network))
        })
    }

    /// Whether a group has a service that has a name, in one direction or the other.
    pub(super) fn knows(&self, name: &str) -> bool {
        let rules = self.groups.iter().filter_map(|group| match &group.inbound {
            Inbound::By(rules) => Some(rules),
            _ => None,
        });
        let services = rules.flatten().filter_map(|rule| match rule {
            InboundRule::Services(services) => Some(services),
            InboundRule::From(..) => None,
        });
        let mut inward = services.flatten().filter_map(|id| self.services.get(id));
        (0..self.groups.len()).any(|group| self.of_group(group).any(|service| service.has(name)))
            || inward.any(|service| service.has(name))
    }

    fn of_group(&self, group: usize) -> impl Iterator<Item = &Service> {
        let ids = self.groups.get(group).map(|group| group.services.iter()).unwrap_or_default();
        ids.filter_map(|id| self.services.get(id))
    }
}

impl Service {
    fn has(&self, name: &str) -> bool {
        self.patterns.iter().any(|pattern| match pattern.strip_prefix('*') {
            Some(end) => name.ends_with(end),
            None => name == *pattern,
        })
    }
}

/// Whether an address lies in a network, by its bits.
fn lies_in(address: IpAddr, network: &str) -> bool {
    let bits = |address: IpAddr| match address {
        IpAddr::V4(v4) => (u128::from(u32::from(v4)) << 96, 4),
        IpAddr::V6(v6) => (u128::from(v6), 6),
    };
    let Some((first, length)) = network.split_once('/') else { return false };
    let (Ok(first), Ok(length)) = (first.parse(), length.parse::<u32>()) else { return false };
    let ((one, family), (other, other_family)) = (bits(address), bits(first));
    family == other_family && (one ^ other) >> (128 - length) == 0
}
