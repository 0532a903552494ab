//! Looks a policy up as the kernel looks its maps up, for commands while no program is loaded.

#![expect(clippy::indexing_slicing, reason = "the tables are as large as their indices say")]

use std::net::IpAddr;

use intune_filter_ebpf::abi::{
    Client, EdgeKey, Glob, NameNode, RuleMask, TransportProtocol, V4, V6, port_index,
};
use ipnet::IpNet;

use super::{Group, Policy, Prefix, Rule, names::edges_of};

/// Key of a trie as bits.
trait Bits: Copy {
    /// Returns the key's bits, left-aligned.
    fn bits(self) -> u128;
}

impl Bits for V4 {
    fn bits(self) -> u128 {
        u128::from(u32::from(std::net::Ipv4Addr::from(self))) << 96
    }
}

impl Bits for V6 {
    fn bits(self) -> u128 {
        std::net::Ipv6Addr::from(self).into()
    }
}

/// Returns the value of the longest prefix that contains `address`.
fn longest<K: Bits, V: Copy>(trie: &[Prefix<K, V>], address: K) -> Option<V> {
    let holds = |prefix: &&Prefix<K, V>| same(prefix.key.bits(), address.bits(), prefix.length);
    trie.iter().filter(holds).max_by_key(|prefix| prefix.length).map(|prefix| prefix.value)
}

fn same(a: u128, b: u128, length: u32) -> bool {
    length == 0 || (a ^ b) >> (u128::BITS - length) == 0
}

impl Policy {
    /// Returns the client element of a source in a zone.
    #[must_use]
    pub fn client(&self, zone: u32, source: IpAddr) -> Option<Client> {
        /// Looks up among the elements of one zone, without the zone in their keys.
        fn of_zone<A: Bits>(
            trie: &[super::ClientPrefix<A>],
            zone: u32,
            source: A,
        ) -> Option<Client> {
            let in_zone = trie.iter().filter(|prefix| prefix.key.zone == zone);
            let elements: Vec<_> = in_zone
                .map(|prefix| Prefix {
                    length: prefix.length - u32::BITS,
                    key: prefix.key.address,
                    value: prefix.value,
                })
                .collect();
            longest(&elements, source)
        }
        match source {
            IpAddr::V4(v4) => of_zone(&self.clients4, zone, v4.into()),
            IpAddr::V6(v6) => of_zone(&self.clients6, zone, v6.into()),
        }
    }

    /// Returns the mask of the rules whose prefixes contain an address.
    #[must_use]
    pub fn rules_of_address(&self, address: IpAddr) -> RuleMask {
        match address {
            IpAddr::V4(v4) => longest(&self.nets4, v4.into()),
            IpAddr::V6(v6) => longest(&self.nets6, v6.into()),
        }
        .unwrap_or_default()
    }

    /// Returns the prefixes of destinations, each with the rules that have it.
    pub fn networks(&self) -> impl Iterator<Item = (IpNet, RuleMask)> {
        // No prefix of a trie is longer than its addresses.
        let v4 = self.nets4.iter().filter_map(|prefix| {
            let length = u8::try_from(prefix.length).ok()?;
            Some((IpNet::new(IpAddr::V4(prefix.key.into()), length).ok()?, prefix.value))
        });
        let v6 = self.nets6.iter().filter_map(|prefix| {
            let length = u8::try_from(prefix.length).ok()?;
            Some((IpNet::new(IpAddr::V6(prefix.key.into()), length).ok()?, prefix.value))
        });
        v4.chain(v6)
    }

    /// Returns the mask of the rules that have a port.
    #[must_use]
    pub fn rules_of_port(&self, protocol: TransportProtocol, port: u16) -> RuleMask {
        let class = self.ports[port_index(protocol.number(), port) as usize];
        self.port_classes[usize::from(class)]
    }

    /// Whether a DNS answer may teach an address.
    #[must_use]
    pub fn accepts_answer(&self, address: IpAddr) -> bool {
        let value = match address {
            IpAddr::V4(v4) => longest(&self.answers4, v4.into()),
            IpAddr::V6(v6) => longest(&self.answers6, v6.into()),
        };
        value != Some(0)
    }

    /// Returns the mask of the rules with a pattern that matches a name; 0 for an illegal name.
    #[must_use]
    pub fn rules_of_name(&self, name: &str) -> RuleMask {
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        let labels: Vec<&str> = name.split('.').collect();
        if name.len() > 253 || labels.iter().any(|label| label.is_empty() || label.len() > 63) {
            return RuleMask::EMPTY;
        }
        self.rules_from(&self.settings.root, &labels)
    }

    /// Rules of a name of which all labels but `left` have led to a node.
    fn rules_from(&self, node: &NameNode, left: &[&str]) -> RuleMask {
        let Some((label, left)) = left.split_last() else { return node.exact };
        let mut rules = node.below;
        for glob in &self.globs[node.first_glob as usize..][..usize::from(node.globs)] {
            if matches(glob, label) {
                rules |= self.rules_from(&glob.node, left);
            }
        }
        if let Some(next) = self.edge(node.id, label) {
            rules |= self.rules_from(next, left);
        }
        rules
    }

    /// Returns the node that a label leads to from another.
    fn edge(&self, node: u32, label: &str) -> Option<&NameNode> {
        let mut reached = None;
        let mut parent = node;
        for key in edges_of(label) {
            let next = self.edges.get(&EdgeKey { parent, ..key })?;
            parent = next.id;
            reached = Some(next);
        }
        reached
    }

    /// Returns the rule of a bit.
    #[must_use]
    pub fn rule(&self, bit: u8) -> Option<&Rule> {
        self.rules.get(&bit)
    }

    /// The rules of a mask.
    pub fn rules_of(&self, mask: RuleMask) -> impl Iterator<Item = &Rule> {
        let in_mask = move |(bit, rule): (&u8, _)| mask.contains(*bit).then_some(rule);
        self.rules.iter().filter_map(in_mask)
    }

    /// Returns the group of a number.
    #[must_use]
    pub fn group(&self, number: u32) -> Option<&Group> {
        self.groups.get(usize::try_from(number).ok()?)
    }
}

/// Whether a glob matches a label in lower case, by the words that the kernel compares.
fn matches(glob: &Glob, label: &str) -> bool {
    let (prefix, suffix) = (glob.prefix_length as usize, glob.suffix_length as usize);
    let octets = |words: [u64; 8]| words.into_iter().flat_map(u64::to_ne_bytes);
    label.len() >= prefix + suffix
        && octets(glob.prefix).take(prefix).eq(label.bytes().take(prefix))
        && octets(glob.suffix).skip(64 - suffix).eq(label.bytes().skip(label.len() - suffix))
}
