//! Filter with one policy: two groups of names, a resolver of each family, two zones.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use etherparse::PacketBuilder;
use intune_filter_ebpf::{
    abi::{
        Active, Client, Counted, EdgeKey, Host, NameNode, RuleMask, SERVER_RESOLVER, Settings, V4,
        V6, ZoneKey,
    },
    dns::target_key,
    host::{PolicyMaps, Tables, Trie},
    verdict::{Arrival, Verdict},
};

use crate::model::{Learned, Terms};

pub const IFINDEX: u32 = 3;
/// Index of the device that all routes lead out of.
const BEYOND: u32 = 4;
/// VLAN of the second zone; the first is untagged.
pub const VLAN: u16 = 20;
/// Rule of the names below `one`, and of those below `two`.
pub const ONE: RuleMask = RuleMask::of(70);
pub const TWO: RuleMask = RuleMask::of(140);
pub const TTL_MIN: u32 = 60;
pub const TTL_MAX: u32 = 86_400;
pub const TTL_GRACE: u32 = 30;
pub const SECOND: u64 = 1_000_000_000;
/// Clock when a site is made, nanoseconds.
pub const START: u64 = 5_000 * SECOND;

/// Addresses of the gateway itself.
pub const OWN4: Ipv4Addr = Ipv4Addr::new(93, 184, 216, 1);
pub const OWN6: Ipv6Addr = Ipv6Addr::new(0x2a00, 0, 0, 0, 0, 0, 0, 1);

/// Ends of an exchange: client and resolver.
#[derive(Clone, Copy, Debug)]
pub struct Ends {
    pub client: IpAddr,
    pub resolver: IpAddr,
    pub port: u16,
    pub vlan: Option<u16>,
}

pub const V4_ENDS: Ends = Ends {
    client: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 10)),
    resolver: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 53)),
    port: 40_000,
    vlan: None,
};

pub const V6_ENDS: Ends = Ends {
    client: IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x10)),
    resolver: IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x53)),
    port: 40_000,
    vlan: None,
};

/// Filter over the tables of the host.
pub struct Site {
    pub tables: Tables,
}

impl Site {
    pub fn new() -> Self {
        let mut tables = Tables::default();
        tables.policies[1] = policy();
        tables.own_addresses = [V6::from(IpAddr::V4(OWN4)), V6::from(OWN6)].into();
        tables.zones.insert(ZoneKey { ifindex: IFINDEX, vlan: 0 }, 1);
        tables.zones.insert(ZoneKey { ifindex: IFINDEX, vlan: u32::from(VLAN) }, 2);
        tables.active.set(Active { generation: 1, reserved: 0, seed: SEED });
        tables.routes.insert(0, &[], BEYOND);
        tables.now.set(START);
        Self { tables }
    }

    /// Forgets what was learned, asked and counted. The octets of earlier messages stay in the
    /// working memory, as in the kernel.
    pub fn forget(&self) {
        self.tables.hosts4.borrow_mut().clear();
        self.tables.hosts6.borrow_mut().clear();
        self.tables.pending.borrow_mut().clear();
        self.tables.counters.borrow_mut().clear();
        self.tables.answers.borrow_mut().clear();
        self.tables.denied.borrow_mut().clear();
        self.tables.now.set(START);
    }

    /// Enters what was learned before.
    pub fn know(&self, known: &Learned) {
        for (address, (rules, expires)) in known {
            let host = Host { rules: *rules, expires: *expires, ..Host::default() };
            match address {
                IpAddr::V4(v4) => self.tables.hosts4.borrow_mut().insert((*v4).into(), host),
                IpAddr::V6(v6) => self.tables.hosts6.borrow_mut().insert((*v6).into(), host),
            };
        }
    }

    /// Lets time pass.
    pub fn wait(&self, nanoseconds: u64) {
        self.tables.now.set(self.tables.now.get() + nanoseconds);
    }

    /// Passes a message from the client to the resolver.
    pub fn query(&self, ends: Ends, message: &[u8]) -> Verdict {
        let frame = frame(ends.client, ends.resolver, ends.port, 53, message);
        self.tables.ingress(&frame, place(ends))
    }

    /// Passes a message from the resolver to the client.
    pub fn answer(&self, ends: Ends, message: &[u8]) -> Verdict {
        let frame = frame(ends.resolver, ends.client, 53, ends.port, message);
        self.tables.egress(&frame, Arrival { came_by: BEYOND, ..place(ends) })
    }

    pub fn counted(&self, what: impl Into<Counted>) -> u64 {
        self.tables.counted(what)
    }

    pub fn learned(&self) -> Learned {
        let value = |host: &Host| (host.rules, host.expires);
        let hosts4 = self.tables.hosts4.borrow();
        let hosts6 = self.tables.hosts6.borrow();
        let of4 = hosts4.iter().map(|(at, host)| (Ipv4Addr::from(*at).into(), value(host)));
        let of6 = hosts6.iter().map(|(at, host)| (Ipv6Addr::from(*at).into(), value(host)));
        of4.chain(of6).collect()
    }

    /// Returns the addresses learned.
    pub fn addresses(&self) -> Vec<String> {
        let learned = self.learned().into_keys();
        let addresses = learned.filter(|address| !V6::from(*address).is_target());
        addresses.map(|address| address.to_string()).collect()
    }

    /// Returns the number of targets learned.
    pub fn targets(&self) -> usize {
        self.learned().len() - self.addresses().len()
    }
}

/// Terms of the model for a site that was just made.
static NOTHING: Learned = Learned::new();

pub const SEED: u64 = 0x5eed_0f7e_57ca_5e55;

pub const TERMS: Terms<'_> = Terms {
    now: START,
    ttl: [TTL_MIN, TTL_MAX, TTL_GRACE],
    rules_below: &rules_below,
    is_acceptable: &is_acceptable,
    key_of: &key_of,
    known: &NOTHING,
};

/// Key of a target, by its name on the wire.
pub fn key_of(name: &[u8]) -> IpAddr {
    Ipv6Addr::from(target_key(SEED, name)).into()
}

/// Whether an answer may teach the address, as the tables of the policy say too.
pub fn is_acceptable(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4 != OWN4 && v4.octets()[0] != 10 && v4.octets()[0] != 127,
        IpAddr::V6(v6) => v6 != OWN6 && v6.segments()[0] & 0xe000 == 0x2000,
    }
}

/// Rules of the names below this top-level label. The policy's trie says the same.
pub fn rules_below(label: &[u8]) -> RuleMask {
    match label {
        b"one" => ONE,
        b"two" => TWO,
        _ => RuleMask::EMPTY,
    }
}

fn policy() -> PolicyMaps {
    let mut policy = PolicyMaps {
        settings: Settings {
            ttl_min: TTL_MIN,
            ttl_max: TTL_MAX,
            ttl_grace: TTL_GRACE,
            dns_unlisted: intune_filter_ebpf::abi::UNLISTED_REFUSE,
            root: NameNode { edges: 1, under: ONE | TWO, ..NameNode::default() },
            ..Settings::default()
        },
        ..PolicyMaps::default()
    };
    let client = Client { rules: ONE | TWO, group: 0, ..Client::default() };
    for zone in [1_u32, 2] {
        let zone = zone.to_ne_bytes();
        policy.clients4.insert(56, &[&zone[..], &[192, 0, 2, 0]].concat(), client);
        let network = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0).octets();
        policy.clients6.insert(96, &[&zone[..], &network].concat(), client);
    }
    refuse(&mut policy.answers4, 8, &[10, 0, 0, 0]);
    refuse(&mut policy.answers4, 8, &[127, 0, 0, 0]);
    refuse(&mut policy.answers6, 0, &[0; 16]);
    policy.answers6.insert(3, &Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0).octets(), 1);
    for resolver in [V4_ENDS.resolver, V6_ENDS.resolver] {
        policy.servers.insert(V6::from(resolver), SERVER_RESOLVER);
    }
    for (id, label) in [(1, "one"), (2, "two")] {
        let mut octets = [0; 8];
        octets[..label.len()].copy_from_slice(label.as_bytes());
        let octets = [u64::from_ne_bytes(octets), 0, 0];
        let key = EdgeKey { parent: 0, length: label.len() as u16, chunk: 0, octets };
        let below = rules_below(label.as_bytes());
        policy.edges.insert(key, NameNode { id, below, under: below, ..NameNode::default() });
    }
    policy
}

fn refuse(answers: &mut Trie<u32>, length: u32, octets: &[u8]) {
    answers.insert(length, octets, 0);
}

/// Passes a frame of this message whose UDP header covers only `covered` of its octets.
pub fn surplus(
    ends: Ends,
    message: &[u8],
    covered: usize,
    to_client: bool,
    site: &Site,
) -> Verdict {
    let mut frame = if to_client {
        frame(ends.resolver, ends.client, 53, ends.port, message)
    } else {
        frame(ends.client, ends.resolver, ends.port, 53, message)
    };
    let udp = frame.len() - message.len() - 8;
    frame[udp + 4..udp + 6].copy_from_slice(&(covered as u16 + 8).to_be_bytes());
    if to_client {
        site.tables.egress(&frame, Arrival { came_by: BEYOND, ..place(ends) })
    } else {
        site.tables.ingress(&frame, place(ends))
    }
}

fn place(ends: Ends) -> Arrival {
    Arrival { ifindex: IFINDEX, stripped_tag: ends.vlan, came_by: IFINDEX }
}

fn frame(source: IpAddr, destination: IpAddr, from: u16, to: u16, message: &[u8]) -> Vec<u8> {
    let ethernet = PacketBuilder::ethernet2([2; 6], [4; 6]);
    let ip = match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            ethernet.ipv4(source.octets(), destination.octets(), 64)
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            ethernet.ipv6(source.octets(), destination.octets(), 64)
        }
        mixed => panic!("{mixed:?} are of two families"),
    };
    let udp = ip.udp(from, to);
    let mut frame = Vec::with_capacity(udp.size(message.len()));
    udp.write(&mut frame, message).unwrap();
    frame
}

/// Returns an address as keys of the maps hold it.
pub fn v4(text: &str) -> V4 {
    text.parse::<Ipv4Addr>().unwrap().into()
}
