//! Compiles the addresses that DNS answers may teach: globally reachable ones, and those that the
//! site allows. Refusing the others prevents DNS rebinding to hosts inside.

use std::collections::BTreeMap;

use intune_filter_ebpf::abi::{ANSWER_ACCEPTED, answer_in_nat64};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::networks::embed;

/// Value of a prefix whose addresses are refused.
const REFUSE: u32 = 0;
/// Value of a prefix whose addresses are accepted.
const ACCEPT: u32 = ANSWER_ACCEPTED;

/// "Globally reachable" in IANA's IPv4 special-purpose address registry (RFC 6890 and its updates),
/// with multicast (RFC 5771) and the deprecated 6to4 relays (RFC 7526).
const IPV4: [(&str, u32); 17] = [
    ("0.0.0.0/8", REFUSE),
    ("10.0.0.0/8", REFUSE),
    ("100.64.0.0/10", REFUSE),
    ("127.0.0.0/8", REFUSE),
    ("169.254.0.0/16", REFUSE),
    ("172.16.0.0/12", REFUSE),
    ("192.0.0.0/24", REFUSE),
    ("192.0.0.9/32", ACCEPT),
    ("192.0.0.10/32", ACCEPT),
    ("192.0.2.0/24", REFUSE),
    ("192.88.99.0/24", REFUSE),
    ("192.168.0.0/16", REFUSE),
    ("198.18.0.0/15", REFUSE),
    ("198.51.100.0/24", REFUSE),
    ("203.0.113.0/24", REFUSE),
    ("224.0.0.0/4", REFUSE),
    ("240.0.0.0/4", REFUSE),
];

/// Global unicast (RFC 4291), less the prefixes of IANA's IPv6 special-purpose address registry.
const IPV6: [(&str, u32); 14] = [
    ("::/0", REFUSE),
    ("2000::/3", ACCEPT),
    ("2001::/23", REFUSE),
    ("2001:1::1/128", ACCEPT),
    ("2001:1::2/128", ACCEPT),
    ("2001:1::3/128", ACCEPT),
    ("2001:3::/32", ACCEPT),
    ("2001:4:112::/48", ACCEPT),
    ("2001:20::/28", ACCEPT),
    ("2001:30::/28", ACCEPT),
    ("2001:db8::/32", REFUSE),
    ("3fff::/20", REFUSE),
    // NAT64's well-known prefix (RFC 6052) reaches whatever the embedded address reaches.
    ("64:ff9b::/96", ACCEPT),
    ("2002::/16", ACCEPT),
];

/// Returns the table for a site with the allowed prefixes `allowed` and the NAT64 prefixes `nat64`.
pub(super) fn answers(allowed: &[IpNet], nat64: &[Ipv6Net]) -> BTreeMap<IpNet, u32> {
    let registry = registry(&IPV4);
    let (allowed4, allowed6): (Vec<IpNet>, Vec<IpNet>) =
        allowed.iter().partition(|network| matches!(network, IpNet::V4(_)));

    let mut ipv4 = registry.clone();
    allow(&mut ipv4, &allowed4);
    let mut ipv6 = self::registry(&IPV6);
    for (network, value) in &registry {
        if let IpNet::V4(v4) = network {
            ipv6.insert(IpNet::V6(six_to_four(*v4)), *value);
        }
    }
    let well_known = Ipv6Net::new_assert([0x64, 0xff9b, 0, 0, 0, 0, 0, 0].into(), 96);
    for prefix in nat64.iter().copied().chain([well_known]) {
        allow(&mut ipv6, &[IpNet::V6(prefix)]);
        for (network, value) in &ipv4 {
            if let IpNet::V4(v4) = network
                && let Some(embedded) = embed(prefix, *v4)
            {
                ipv6.insert(IpNet::V6(embedded), *value);
            }
        }
    }
    allow(&mut ipv6, &allowed6);
    name_nat64(&mut ipv6, nat64);
    ipv4.extend(ipv6);
    ipv4
}

/// Has accepted prefixes below a NAT64 prefix name it, and the NAT64 prefixes themselves.
fn name_nat64(table: &mut BTreeMap<IpNet, u32>, nat64: &[Ipv6Net]) {
    // Longer ones last: they hold within shorter ones.
    let mut nat64 = nat64.to_vec();
    nat64.sort_unstable_by_key(Ipv6Net::prefix_len);
    for prefix in nat64 {
        let (whole, named) = (IpNet::V6(prefix), answer_in_nat64(prefix.prefix_len()));
        table.entry(whole).or_insert(ACCEPT);
        for (_, value) in table.iter_mut().filter(|(part, _)| whole.contains(*part)) {
            if *value != REFUSE {
                *value = named;
            }
        }
    }
}

fn registry(entries: &[(&str, u32)]) -> BTreeMap<IpNet, u32> {
    // The constants parse: a test reads each.
    entries.iter().filter_map(|(text, value)| Some((text.parse().ok()?, *value))).collect()
}

/// Allows prefixes as a whole, in place of the entries inside them.
fn allow(table: &mut BTreeMap<IpNet, u32>, allowed: &[IpNet]) {
    for network in allowed {
        table.retain(|part, _| !network.contains(part));
        table.insert(*network, ACCEPT);
    }
}

/// Returns the 6to4 prefix of an IPv4 prefix (RFC 3056 section 2).
fn six_to_four(network: Ipv4Net) -> Ipv6Net {
    let address = 0x2002_u128 << 112 | u128::from(u32::from(network.addr())) << 80;
    Ipv6Net::new_assert(address.into(), 16 + network.prefix_len())
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    fn accepts(table: &BTreeMap<IpNet, u32>, address: &str) -> bool {
        let address: IpAddr = address.parse().unwrap();
        let longest = table
            .iter()
            .filter(|(network, _)| network.contains(&address))
            .max_by_key(|(network, _)| network.prefix_len());
        longest.is_none_or(|(_, value)| value & ACCEPT != 0)
    }

    #[test]
    fn registries_are_prefixes() {
        assert_eq!(registry(&IPV4).len(), IPV4.len());
        assert_eq!(registry(&IPV6).len(), IPV6.len());
        for network in registry(&IPV4).into_keys().chain(registry(&IPV6).into_keys()) {
            assert_eq!(network, network.trunc());
        }
    }

    #[test]
    fn what_is_not_public_is_refused() {
        let table = answers(&[], &[]);
        for address in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.1",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.251",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:8.8.8.8",
            "::ffff:10.0.0.1",
            "::8.8.8.8",
            "64:ff9b::10.0.0.1",
            "64:ff9b::127.0.0.1",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:2::1",
            "2001:10::1",
            "2001:db8::1",
            "2002:a00:1::1",
            "2002:7f00:1::",
            "2002:c0a8:101::1",
            "3fff::1",
            "4000::1",
            "5f00::1",
            "fc00::1",
            "fd00:20::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!accepts(&table, address), "{address}");
        }
    }

    #[test]
    fn what_is_public_is_accepted() {
        let table = answers(&[], &[]);
        for address in [
            "8.8.8.8",
            "1.1.1.1",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.0.9",
            "192.0.1.0",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "2001:200::1",
            "2001:20::1",
            "2001:3::1",
            "2001:4860:4860::8888",
            "2002:808:808::1",
            "2620:1ec::1",
            "2a01:111::1",
            "64:ff9b::8.8.8.8",
        ] {
            assert!(accepts(&table, address), "{address}");
        }
    }

    #[test]
    fn a_site_can_allow_prefixes_and_what_is_in_them() {
        let allowed =
            ["10.30.0.0/16", "192.0.0.0/16", "fd00:20::/32"].map(|net| net.parse().unwrap());
        let table = answers(&allowed, &[]);
        for address in ["10.30.1.1", "192.0.2.1", "192.0.0.1", "fd00:20::1", "64:ff9b::10.30.1.1"] {
            assert!(accepts(&table, address), "{address}");
        }
        for address in ["10.31.0.1", "192.168.0.1", "fd00:21::1", "64:ff9b::10.31.0.1"] {
            assert!(!accepts(&table, address), "{address}");
        }
        // A 6to4 address of a host inside is never deliberate.
        assert!(!accepts(&table, "2002:a1e:101::1"));
    }

    #[test]
    fn a_nat64_prefix_reaches_what_ipv4_reaches() {
        let nat64 = ["2001:db8:64::/96", "fd64::/64"].map(|net| net.parse().unwrap());
        let table = answers(&["10.30.0.0/16".parse().unwrap()], &nat64);
        for address in [
            "2001:db8:64::8.8.8.8",
            "2001:db8:64::10.30.0.1",
            "fd64::8:808:800:0",
            "64:ff9b::8.8.8.8",
        ] {
            assert!(accepts(&table, address), "{address}");
        }
        for address in [
            "2001:db8:64::10.0.0.1",
            "2001:db8:65::8.8.8.8",
            "fd64::a:0:100:0",
            "64:ff9b::10.0.0.1",
        ] {
            assert!(!accepts(&table, address), "{address}");
        }
    }
}
