//! Builds the prefixes of the kernel's longest-prefix-match tries.

use std::collections::BTreeMap;

use intune_filter_ebpf::abi::{RuleMask, V4, V6};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// Element of a longest-prefix-match trie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix<K, V> {
    /// Number of significant bits of the key; for a client's key, including the zone's 32.
    pub length: u32,
    /// Data of the key.
    pub key: K,
    /// Value of the prefix.
    pub value: V,
}

/// IPv4 trie and IPv6 trie of one table.
pub(super) type Tries<V> = (Vec<Prefix<V4, V>>, Vec<Prefix<V6, V>>);

/// Gives each prefix what the prefixes around it have as well: a lookup finds the longest alone.
pub(super) fn merge_ancestors(networks: BTreeMap<IpNet, RuleMask>) -> BTreeMap<IpNet, RuleMask> {
    let mut around: Vec<(IpNet, RuleMask)> = Vec::new();
    // In the order of the addresses, shorter prefixes first, so that what holds a prefix has just
    // been seen.
    let merge = |(network, rules): (IpNet, RuleMask)| {
        while around.pop_if(|(outer, _)| !outer.contains(&network)).is_some() {}
        let merged = rules | around.last().map_or(RuleMask::EMPTY, |(_, outer)| *outer);
        around.push((network, merged));
        (network, merged)
    };
    networks.into_iter().map(merge).collect()
}

/// Returns the elements of a table's IPv4 and IPv6 tries.
pub(super) fn tries<V: Copy>(table: &BTreeMap<IpNet, V>) -> Tries<V> {
    let mut tries = (Vec::new(), Vec::new());
    for (network, value) in table {
        let length = u32::from(network.prefix_len());
        match network {
            IpNet::V4(v4) => tries.0.push(Prefix { length, key: v4.addr().into(), value: *value }),
            IpNet::V6(v6) => tries.1.push(Prefix { length, key: v6.addr().into(), value: *value }),
        }
    }
    tries
}

/// Returns the IPv6 prefix by which a NAT64 prefix reaches an IPv4 prefix (RFC 6052 section 2.2);
/// `None` if the NAT64 prefix has none of the lengths defined there.
pub(super) fn embed(nat64: Ipv6Net, network: Ipv4Net) -> Option<Ipv6Net> {
    if !matches!(nat64.prefix_len(), 32 | 40 | 48 | 56 | 64 | 96) {
        return None;
    }
    let begin = nat64.prefix_len();
    let end = begin + network.prefix_len();
    let address = u128::from(u32::from(network.addr())) << 96 >> begin;
    // Bits 64 to 71 stay zero: bits from there on are shifted by eight.
    let head = !0_u128 << 64;
    let embedded = if begin == 96 || end <= 64 {
        address
    } else {
        (address & head) | ((address & !head) >> 8)
    };
    let length = if begin < 96 && end > 64 { end + 8 } else { end };
    let address = u128::from(nat64.network()) | embedded;
    Ipv6Net::new(address.into(), length).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    fn table<const N: usize>(table: [(&str, &[u8]); N]) -> BTreeMap<IpNet, RuleMask> {
        table.map(|(text, rules)| (net(text), rules.iter().copied().collect())).into()
    }

    #[test]
    fn ancestors_are_merged() {
        let networks = table([
            ("10.0.0.0/8", &[0]),
            ("10.0.0.0/16", &[70]),
            ("10.0.1.0/24", &[140]),
            ("10.1.0.0/16", &[3]),
            ("11.0.0.0/8", &[4]),
            ("fd00::/8", &[191]),
            ("fd00:1::/32", &[6]),
        ]);
        let expected = table([
            ("10.0.0.0/8", &[0]),
            ("10.0.0.0/16", &[0, 70]),
            ("10.0.1.0/24", &[0, 70, 140]),
            ("10.1.0.0/16", &[0, 3]),
            ("11.0.0.0/8", &[4]),
            ("fd00::/8", &[191]),
            ("fd00:1::/32", &[191, 6]),
        ]);
        assert_eq!(merge_ancestors(networks), expected);
    }

    #[test]
    fn a_default_route_is_an_ancestor_of_its_family_alone() {
        let networks =
            table([("0.0.0.0/0", &[0]), ("10.0.0.0/8", &[1]), ("::/0", &[2]), ("fd00::/8", &[3])]);
        let merged = merge_ancestors(networks);
        let both = |one, other| RuleMask::of(one) | RuleMask::of(other);
        assert_eq!(merged[&net("10.0.0.0/8")], both(0, 1));
        assert_eq!(merged[&net("fd00::/8")], both(2, 3));
    }

    /// Tests the examples of RFC 6052 section 2.4.
    #[test]
    fn embeds_addresses_as_the_standard_does() {
        for (nat64, expected) in [
            ("2001:db8::/32", "2001:db8:c000:221::/72"),
            ("2001:db8:100::/40", "2001:db8:1c0:2:21::/80"),
            ("2001:db8:122::/48", "2001:db8:122:c000:2:2100::/88"),
            ("2001:db8:122:300::/56", "2001:db8:122:3c0:0:221::/96"),
            ("2001:db8:122:344::/64", "2001:db8:122:344:c0:2:2100::/104"),
            ("2001:db8:122:344::/96", "2001:db8:122:344::192.0.2.33/128"),
            ("64:ff9b::/96", "64:ff9b::192.0.2.33/128"),
        ] {
            let embedded = embed(nat64.parse().unwrap(), "192.0.2.33/32".parse().unwrap()).unwrap();
            let expected: Ipv6Net = expected.parse().unwrap();
            assert_eq!(embedded.addr(), expected.addr(), "{nat64}");
        }
    }

    #[test]
    fn embeds_prefixes() {
        for (nat64, network, expected) in [
            ("64:ff9b::/96", "10.0.0.0/8", "64:ff9b::a00:0/104"),
            ("64:ff9b::/96", "0.0.0.0/0", "64:ff9b::/96"),
            ("2001:db8::/32", "10.0.0.0/8", "2001:db8:a00::/40"),
            ("2001:db8::/32", "192.0.2.33/32", "2001:db8:c000:221::/64"),
            ("2001:db8:122:300::/56", "10.0.0.0/8", "2001:db8:122:30a::/64"),
            ("2001:db8:122:300::/56", "10.2.0.0/16", "2001:db8:122:30a:2::/80"),
            ("2001:db8:122:344::/64", "10.0.0.0/8", "2001:db8:122:344:a::/80"),
        ] {
            let embedded = embed(nat64.parse().unwrap(), network.parse().unwrap()).unwrap();
            assert_eq!(embedded, expected.parse().unwrap(), "{nat64} {network}");
        }
        assert_eq!(embed("fd00::/60".parse().unwrap(), "10.0.0.0/8".parse().unwrap()), None);
    }
}
