//! What the laboratory's resolver knows: names, each with addresses of its own.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

/// The network of the names' IPv4 addresses, for benchmarks (RFC 2544): no service is there.
pub const NETWORK4: &str = "198.18.0.0/15";

/// The network of the names' IPv6 addresses, for benchmarks (RFC 5180).
pub const NETWORK6: &str = "2001:2::/48";

/// The addresses with this number in the names' networks.
#[must_use]
pub fn addresses(number: u16) -> [IpAddr; 2] {
    let [high, low] = number.to_be_bytes();
    [
        IpAddr::V4(Ipv4Addr::new(198, 18, high, low)),
        IpAddr::V6(Ipv6Addr::new(0x2001, 2, 0, 0, 0, 0, 0, number)),
    ]
}

/// Names and their addresses: each name's are of no other name.
#[derive(Clone, Debug, Default)]
pub struct Records {
    names: BTreeMap<String, u16>,
    many: BTreeMap<String, u16>,
}

impl Records {
    /// Adds a name, unless it is there, and returns its addresses.
    pub fn add(&mut self, name: &str) -> [IpAddr; 2] {
        // The last number's addresses, and everything near them, stay unnamed.
        let next = u16::try_from(self.names.len() + 1).unwrap_or(u16::MAX);
        addresses(*self.names.entry(name.to_owned()).or_insert(next))
    }

    /// Adds a name with this many addresses of each family, and returns them: IPv4, then IPv6.
    pub fn add_many(&mut self, name: &str, count: u16) -> [Vec<IpAddr>; 2] {
        self.many.insert(name.to_owned(), count);
        many(count)
    }

    /// The addresses of a name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<[IpAddr; 2]> {
        self.names.get(name).copied().map(addresses)
    }

    /// Configuration of dnsmasq that serves them. Every third name is an alias of a delivery
    /// network's, as many are in the world: its addresses are learned along the chain.
    #[must_use]
    pub fn dnsmasq(&self) -> String {
        let mut text = String::new();
        for (name, number) in &self.names {
            let [v4, v6] = addresses(*number);
            let owner = if number % 3 == 0 {
                let target = format!("edge-{number}.delivery.test");
                let _ = writeln!(text, "cname={name},{target}");
                target
            } else {
                name.clone()
            };
            let _ = writeln!(text, "host-record={owner},{v4},{v6}");
        }
        for (name, count) in &self.many {
            for address in many(*count).into_iter().flatten() {
                let _ = writeln!(text, "host-record={name},{address}");
            }
        }
        text
    }
}

/// The addresses of a name that has many: far above those of the others.
fn many(count: u16) -> [Vec<IpAddr>; 2] {
    let all = (1..=count).map(|number| addresses(0xf000 + number));
    let (v4, v6) = all.map(|[v4, v6]| (v4, v6)).unzip();
    [v4, v6]
}
