//! Records of the testbed's resolver: names, each with addresses of its own.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

/// The network of the names' IPv4 addresses, for benchmarks (RFC 2544): no service is there.
pub const NETWORK4: &str = "198.18.0.0/15";

/// The network of the names' IPv6 addresses, for benchmarks (RFC 5180).
pub const NETWORK6: &str = "2001:2::/48";

/// Numbers of addresses: as many as the names' IPv4 network has.
pub const NUMBERS: u32 = 1 << 17;

/// The addresses with this number in the names' networks, which is less than [`NUMBERS`].
#[must_use]
pub fn addresses(number: u32) -> [IpAddr; 2] {
    let first = u32::from(Ipv4Addr::new(198, 18, 0, 0));
    let prefix = u128::from(Ipv6Addr::new(0x2001, 2, 0, 0, 0, 0, 0, 0));
    let number = number % NUMBERS;
    [
        IpAddr::V4(Ipv4Addr::from(first | number)),
        IpAddr::V6(Ipv6Addr::from(prefix | u128::from(number))),
    ]
}

/// Names and their addresses: each name's are of no other name.
#[derive(Clone, Debug, Default)]
pub struct Records {
    names: BTreeMap<String, u16>,
    many: BTreeMap<String, u16>,
    chains: BTreeMap<String, (u16, usize)>,
    aliases: BTreeMap<String, String>,
    fixed: BTreeMap<String, [IpAddr; 2]>,
    services: BTreeMap<String, u16>,
    targets: BTreeMap<String, (u16, String)>,
}

impl Records {
    /// Adds a name, unless it is there, and returns its addresses.
    pub fn add(&mut self, name: &str) -> [IpAddr; 2] {
        // The last number's addresses, and everything near them, stay unnamed.
        let next = u16::try_from(self.names.len() + 1).unwrap_or(u16::MAX);
        addresses((*self.names.entry(name.to_owned()).or_insert(next)).into())
    }

    /// Adds a name that this many aliases lead from to its addresses, and returns them.
    pub fn add_chain(&mut self, name: &str, aliases: usize) -> [IpAddr; 2] {
        let number = 0xe000 + self.chains.len() as u16;
        self.chains.insert(name.to_owned(), (number, aliases));
        addresses(number.into())
    }

    /// Makes a name lead to another by these aliases. The last of them has addresses of its own.
    pub fn add_aliases(&mut self, name: &str, aliases: &[String]) {
        let mut owner = name.to_owned();
        for alias in aliases {
            self.aliases.insert(std::mem::replace(&mut owner, alias.clone()), alias.clone());
        }
        self.add(&owner);
    }

    /// Adds a name with addresses of the world's choice.
    pub fn fix(&mut self, name: &str, addresses: [IpAddr; 2]) {
        self.fixed.insert(name.to_owned(), addresses);
    }

    /// Adds an HTTPS record with address hints, and returns those.
    pub fn add_service(&mut self, name: &str) -> [IpAddr; 2] {
        let number = 0xe800 + self.services.len() as u16;
        self.services.insert(name.to_owned(), number);
        addresses(number.into())
    }

    /// Adds an HTTPS record that leads to another name: an alias if its priority is 0.
    pub fn add_target(&mut self, name: &str, priority: u16, target: &str) {
        self.targets.insert(name.to_owned(), (priority, target.to_owned()));
    }

    /// Adds a name with this many addresses of each family, and returns them: IPv4, then IPv6.
    pub fn add_many(&mut self, name: &str, count: u16) -> [Vec<IpAddr>; 2] {
        self.many.insert(name.to_owned(), count);
        many(count)
    }

    /// The addresses of a name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<[IpAddr; 2]> {
        self.names.get(name).map(|number| addresses((*number).into()))
    }

    /// Configuration of dnsmasq that serves them. Every third name is an alias of a delivery
    /// network's, as many are in the world: its addresses are learned along the chain.
    #[must_use]
    pub fn dnsmasq(&self) -> String {
        let mut text = String::new();
        // An alias has no records of its own.
        for (name, number) in
            self.names.iter().filter(|(name, _)| !self.aliases.contains_key(*name))
        {
            let [v4, v6] = addresses((*number).into());
            let owner = if number % 3 == 0 {
                let target = format!("edge-{number}.delivery.test");
                let _ = writeln!(text, "cname={name},{target}");
                target
            } else {
                name.clone()
            };
            let _ = writeln!(text, "host-record={owner},{v4},{v6}");
        }
        for (name, target) in &self.aliases {
            let _ = writeln!(text, "cname={name},{target}");
        }
        for (name, [v4, v6]) in &self.fixed {
            let _ = writeln!(text, "host-record={name},{v4},{v6}");
        }
        for (name, count) in &self.many {
            for address in many(*count).into_iter().flatten() {
                let _ = writeln!(text, "host-record={name},{address}");
            }
        }
        for (name, (number, aliases)) in &self.chains {
            let mut owner = name.clone();
            for link in 1..=*aliases {
                let target = format!("link{link}-{number}.delivery.test");
                let _ = writeln!(text, "cname={owner},{target}");
                owner = target;
            }
            let [v4, v6] = addresses((*number).into());
            let _ = writeln!(text, "host-record={owner},{v4},{v6}");
        }
        let hints = self.services.iter().map(|(name, number)| {
            let hints = addresses((*number).into());
            (name, service(hints))
        });
        let targets = self
            .targets
            .iter()
            .map(|(name, (priority, target))| (name, leading(*priority, target)));
        for (name, data) in hints.chain(targets) {
            let _ = write!(text, "dns-rr={name},65,");
            for octet in data {
                let _ = write!(text, "{octet:02x}");
            }
            text.push('\n');
        }
        text
    }
}

/// The data of an HTTPS record that leads to another name, in the case that this has.
fn leading(priority: u16, target: &str) -> Vec<u8> {
    let labels = target.split('.').flat_map(|label| {
        let length = u8::try_from(label.len()).unwrap_or(u8::MAX);
        [&[length], label.as_bytes()].concat()
    });
    priority.to_be_bytes().into_iter().chain(labels).chain([0]).collect()
}

/// The data of an HTTPS record of the owner itself, with address hints (RFC 9460 section 2.2).
fn service(hints: [IpAddr; 2]) -> Vec<u8> {
    let mut data = vec![0, 1, 0];
    for hint in hints {
        let (key, octets) = match hint {
            IpAddr::V4(v4) => (4, v4.octets().to_vec()),
            IpAddr::V6(v6) => (6, v6.octets().to_vec()),
        };
        data.extend([0, key, 0, octets.len() as u8]);
        data.extend(octets);
    }
    data
}

/// The addresses of a name that has many: far above those of the others.
fn many(count: u16) -> [Vec<IpAddr>; 2] {
    let all = (1..=count).map(|number| addresses((0xf000 + number).into()));
    let (v4, v6) = all.map(|[v4, v6]| (v4, v6)).unzip();
    [v4, v6]
}
