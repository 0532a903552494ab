//! Addresses that no answer may give: those of IANA's special-purpose registries that are not
//! globally reachable, multicast, and the gateway's own; also inside of IPv6 addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use intune_filter_tests::prog_test_run::{Addresses, message::QUESTION};

use super::{Case, Refused, Teaches, begin, case, check_tables};

/// The first and the last address of each block, and where it is defined.
const BLOCKS4: [(&str, &str, &str); 16] = [
    ("0.0.0.0", "0.255.255.255", "this network (RFC 791)"),
    ("10.0.0.0", "10.255.255.255", "private (RFC 1918)"),
    ("100.64.0.0", "100.127.255.255", "shared (RFC 6598)"),
    ("127.0.0.0", "127.255.255.255", "loopback (RFC 1122)"),
    ("169.254.0.0", "169.254.255.255", "link-local (RFC 3927)"),
    ("172.16.0.0", "172.31.255.255", "private (RFC 1918)"),
    ("192.0.0.0", "192.0.0.8", "protocol assignments (RFC 6890)"),
    ("192.0.0.11", "192.0.0.255", "protocol assignments (RFC 6890)"),
    ("192.0.2.0", "192.0.2.255", "documentation (RFC 5737)"),
    ("192.88.99.0", "192.88.99.255", "6to4 relays (RFC 7526)"),
    ("192.168.0.0", "192.168.255.255", "private (RFC 1918)"),
    ("198.18.0.0", "198.19.255.255", "benchmarks (RFC 2544)"),
    ("198.51.100.0", "198.51.100.255", "documentation (RFC 5737)"),
    ("203.0.113.0", "203.0.113.255", "documentation (RFC 5737)"),
    ("224.0.0.0", "239.255.255.255", "multicast (RFC 5771)"),
    ("240.0.0.0", "255.255.255.255", "reserved and broadcast (RFC 1112, RFC 919)"),
];

/// Blocks of IPv6.
const BLOCKS6: [(&str, &str, &str); 17] = [
    ("::", "::ffff:ffff", "unspecified, loopback, IPv4-compatible (RFC 4291)"),
    ("::ffff:0:0", "::ffff:255.255.255.255", "IPv4-mapped (RFC 4291)"),
    ("64:ff9b:1::", "64:ff9b:1:ffff:ffff:ffff:ffff:ffff", "local translation (RFC 8215)"),
    ("100::", "100::ffff:ffff:ffff:ffff", "discard-only (RFC 6666)"),
    ("100:0:0:1::", "100:0:0:1:ffff:ffff:ffff:ffff", "dummy prefix (RFC 9780)"),
    ("2001::", "2001:0:ffff:ffff:ffff:ffff:ffff:ffff", "Teredo (RFC 4380)"),
    ("2001:2::", "2001:2:0:ffff:ffff:ffff:ffff:ffff", "benchmarks (RFC 5180)"),
    ("2001:10::", "2001:1f:ffff:ffff:ffff:ffff:ffff:ffff", "ORCHID (RFC 4843)"),
    ("2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", "documentation (RFC 3849)"),
    ("3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff", "documentation (RFC 9637)"),
    ("4000::", "5eff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "not assigned"),
    ("5f00::", "5f00:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "segment routing (RFC 9602)"),
    ("6000::", "fbff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "not assigned"),
    ("fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "unique local (RFC 4193)"),
    ("fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "link-local (RFC 4291)"),
    ("fec0::", "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "site-local (RFC 3879)"),
    ("ff00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "multicast (RFC 4291)"),
];

/// Addresses that are globally reachable: those beside the blocks, and those inside of one.
const REACHABLE: [&str; 45] = [
    "1.0.0.0",
    "9.255.255.255",
    "11.0.0.0",
    "100.63.255.255",
    "100.128.0.0",
    "126.255.255.255",
    "128.0.0.0",
    "169.253.255.255",
    "169.255.0.0",
    "172.15.255.255",
    "172.32.0.0",
    "191.255.255.255",
    "192.0.0.9",
    "192.0.0.10",
    "192.0.1.0",
    "192.0.1.255",
    "192.0.3.0",
    "192.88.98.255",
    "192.88.100.0",
    "192.167.255.255",
    "192.169.0.0",
    "198.17.255.255",
    "198.20.0.0",
    "198.51.99.255",
    "198.51.101.0",
    "203.0.112.255",
    "203.0.114.0",
    "223.255.255.255",
    "64:ff9b::20.0.0.7",
    "2000::1",
    "2001:1::1",
    "2001:1::2",
    "2001:1::3",
    "2001:3::1",
    "2001:4:112::1",
    "2001:20::1",
    "2001:30::1",
    "2001:200::",
    "2001:db7:ffff:ffff:ffff:ffff:ffff:ffff",
    "2001:db9::",
    "2002:1400:7::1",
    "2003::1",
    "2a01:111::7",
    "3ffe:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
    "3fff:1000::",
];

#[test]
fn impossible_addresses_are_never_learned() {
    check_tables(
        "",
        &[
            ("impossible addresses are refused", impossible_addresses_are_refused),
            (
                "impossible addresses are refused inside of others",
                impossible_addresses_are_refused_inside_of_others,
            ),
            ("what is reachable is learned", what_is_reachable_is_learned),
        ],
    );
}

#[test]
fn the_gateways_own_addresses_are_never_learned() {
    check_tables(
        ", allow_private: [10.20.0.0/16, 'fd00:20::/32', '2002:a14::/32']",
        &[("own addresses", own_addresses)],
    );
}

/// Both ends of every block, and an address in its middle.
fn impossible() -> Vec<(IpAddr, &'static str)> {
    let mut addresses = Vec::new();
    for (first, last, what) in BLOCKS4 {
        let [first, last] = [first, last].map(|text| text.parse::<Ipv4Addr>().unwrap());
        let middle = Ipv4Addr::from(u32::midpoint(first.into(), last.into()));
        addresses.extend([first, middle, last].map(|address| (IpAddr::V4(address), what)));
    }
    for (first, last, what) in BLOCKS6 {
        let [first, last] = [first, last].map(|text| text.parse::<Ipv6Addr>().unwrap());
        let middle = Ipv6Addr::from(u128::midpoint(first.into(), last.into()));
        addresses.extend([first, middle, last].map(|address| (IpAddr::V6(address), what)));
    }
    addresses
}

/// The IPv6 addresses that lead to an IPv4 one: mapped (RFC 4291), translated (RFC 6052), 6to4
/// (RFC 3056).
fn embedded(address: Ipv4Addr) -> [Ipv6Addr; 3] {
    let number = u128::from(u32::from(address));
    let sixth = 0x2002_u128 << 112 | number << 80 | 1;
    [address.to_ipv6_mapped(), (0x0064_ff9b_u128 << 96 | number).into(), sixth.into()]
}

fn refused(who: &Addresses, what: String, address: IpAddr) -> [Case; 2] {
    let alone = begin(who).address(&QUESTION, 300, address);
    let beside = alone.clone().address(&QUESTION, 300, who.public);
    [
        case(who, format!("{address}: {what}"), alone, Refused(vec![])),
        case(who, format!("{address} beside another: {what}"), beside, Refused(vec![who.public])),
    ]
}

fn impossible_addresses_are_refused(who: &Addresses) -> Vec<Case> {
    impossible()
        .into_iter()
        .flat_map(|(address, what)| refused(who, what.to_owned(), address))
        .collect()
}

fn impossible_addresses_are_refused_inside_of_others(who: &Addresses) -> Vec<Case> {
    let mut cases = Vec::new();
    for (address, what) in impossible() {
        let IpAddr::V4(v4) = address else { continue };
        for inside in embedded(v4) {
            cases.extend(refused(who, format!("{v4}, {what}"), inside.into()));
        }
    }
    cases
}

fn what_is_reachable_is_learned(who: &Addresses) -> Vec<Case> {
    let case = |text: &str| {
        let address: IpAddr = text.parse().unwrap();
        let message = begin(who).address(&QUESTION, 300, address);
        case(who, text, message, Teaches(vec![address]))
    };
    REACHABLE.map(case).into()
}

/// The gateway's own address is refused, whatever the site allows.
fn own_addresses(who: &Addresses) -> Vec<Case> {
    let mut cases = Vec::new();
    for own in Addresses::both().map(|who| who.gateway) {
        cases.extend(refused(who, "own".to_owned(), own));
        if let IpAddr::V4(v4) = own {
            for inside in embedded(v4) {
                cases.extend(refused(who, format!("own {v4}"), inside.into()));
            }
        }
    }
    for neighbour in Addresses::both().map(|who| who.neighbour) {
        let message = begin(who).address(&QUESTION, 300, neighbour);
        cases.push(case(who, neighbour.to_string(), message, Teaches(vec![neighbour])));
    }
    cases
}
