//! The soak's site: who is where, which names the resolver knows, and configurations at random.

use std::{
    fmt::Write as _,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use intune_filter_tests::random::Random;
use intune_filter_tests::records;

/// A group of clients; the number is that of its networks. 0 is the network of the gateway's own
/// address; its one client is exempt, and sends marks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Group {
    /// Enforced, refused without a word.
    Staff = 1,
    /// Enforced, told at once.
    Kiosk = 2,
    /// Audited.
    Lab = 3,
    /// Exempt.
    Admin = 4,
    /// Enforced, and reached from outside.
    Servers = 5,
    /// In no group.
    Strangers = 7,
    /// Many devices: they fill tables.
    Bulk = 6,
    /// One that begins more than it may.
    Storm = 8,
}

impl Group {
    /// All whose packets differ.
    pub const SENDERS: [Self; 6] =
        [Self::Staff, Self::Kiosk, Self::Lab, Self::Admin, Self::Servers, Self::Strangers];
    /// All that have networks of their own behind the client's address.
    pub const BEHIND: [Self; 8] = [
        Self::Staff,
        Self::Kiosk,
        Self::Lab,
        Self::Admin,
        Self::Servers,
        Self::Bulk,
        Self::Strangers,
        Self::Storm,
    ];

    /// Its networks.
    #[must_use]
    pub fn networks(self) -> [String; 2] {
        let number = self as u8;
        [format!("10.20.{number}.0/24"), format!("fd00:20:0:{number}::/64")]
    }

    /// One of its clients.
    #[must_use]
    pub fn client(self, host: u32) -> [IpAddr; 2] {
        let number = self as u8;
        [
            Ipv4Addr::new(10, 20, number, 10 + (host % CLIENTS) as u8).into(),
            Ipv6Addr::new(0xfd00, 0x20, 0, number.into(), 0, 0, 0, 10 + (host % CLIENTS) as u16)
                .into(),
        ]
    }
}

/// Clients of a group.
pub const CLIENTS: u32 = 200;

/// A resolver that trusted answers come from, and that never answers.
pub const MUTE: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(203, 0, 113, 55)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0x53, 0, 0, 0, 0, 0x55)),
];

/// Destinations of marks.
pub const MARKED: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, 200)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0x9999, 0, 0, 0, 0, 1)),
];

/// Destinations that all clients may reach on the ports 7 and 443, whatever the configuration.
#[must_use]
pub fn core(host: u32) -> [IpAddr; 2] {
    block(0, 0x9100, host)
}

/// Addresses of printers.
#[must_use]
pub fn printer(host: u32) -> [IpAddr; 2] {
    block(64, 0x9164, host)
}

/// Destinations of the clients that fill tables.
#[must_use]
pub fn bulk(host: u32) -> [IpAddr; 2] {
    block(128, 0x9128, host)
}

/// Destinations of no service.
#[must_use]
pub fn nowhere(host: u32) -> [IpAddr; 2] {
    block(224, 0x9224, host)
}

/// The 16 addresses of a network.
fn block(first: u8, network: u16, host: u32) -> [IpAddr; 2] {
    let host = (host % 16) as u8;
    [
        Ipv4Addr::new(192, 0, 2, first + host).into(),
        Ipv6Addr::new(0x2001, 0xdb8, network, 0, 0, 0, 0, host.into()).into(),
    ]
}

/// A name that the resolver knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// The name.
    pub name: String,
    /// Its addresses.
    pub addresses: [IpAddr; 2],
    /// Time to live, in seconds.
    pub ttl: u32,
}

/// Names of each domain.
const NAMES: u32 = 60;

/// Domains below which there are names, and the number of each one's first address.
const DOMAINS: [(&str, u32); 4] =
    [("shop.test", 1000), ("mail.test", 2000), ("cart.test", 3000), ("unlisted.test", 5000)];

/// Names without a wildcard, which the daemon resolves itself.
pub const EXACT: [&str; 3] = ["clock.test", "time.clock.test", "ntp.test"];

/// The domain whose every name has a fresh address.
pub const FILL: &str = "fill.test";

/// Records of the resolver.
#[must_use]
pub fn names() -> Vec<Known> {
    let mut names: Vec<_> = DOMAINS
        .iter()
        .flat_map(|(domain, first)| {
            (0..NAMES).map(move |number| {
                // Some names of two services lead to one address, as content networks do.
                let is_shared = *domain == "mail.test" && number < 8;
                let address = if is_shared { 1000 + number } else { first + number };
                Known {
                    name: format!("h{number}.{domain}"),
                    addresses: records::addresses(address),
                    ttl: 2 + number % 7,
                }
            })
        })
        .collect();
    names.extend((0..).zip(EXACT).map(|(number, name)| Known {
        name: name.to_owned(),
        addresses: records::addresses(4000 + number),
        ttl: 5,
    }));
    names
}

/// Addresses of answers without a query.
#[must_use]
pub fn forged(number: u32) -> [IpAddr; 2] {
    records::addresses(6000 + number % 64)
}

/// The first number of those that fill the table of addresses.
pub const FILLING: u32 = 20_000;

/// The resolver's settings: what it knows.
#[must_use]
pub fn dnsmasq() -> String {
    names().into_iter().fold(String::new(), |mut text, Known { name, addresses, ttl }| {
        let [v4, v6] = addresses;
        let _ = writeln!(text, "host-record={name},{v4},{v6},{ttl}");
        text
    })
}

/// Sizes of the filter's tables.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// Learned addresses of a family.
    pub hosts: u32,
    /// Answered flows of a family.
    pub flows: u32,
    /// Unanswered flows of a family.
    pub new_flows: u32,
    /// Queries on their way.
    pub pending: u32,
}

/// A configuration at random: what it allows changes, what the soak needs stays.
#[must_use]
pub fn configuration(random: &mut Random, sizes: Sizes) -> String {
    let Sizes { hosts, flows, new_flows, pending } = sizes;
    let mut text = format!(
        "interfaces: [{{name: eth1}}]\nboot: closed\nunlisted_clients: {}\nmetrics: {{listen: off}}\n\
         maps: {{hosts4: {hosts}, hosts6: {hosts}, flows4: {flows}, flows6: {flows}, \
         new_flows: {new_flows}, pending: {pending}}}\n\
         dns:\n  resolvers: [203.0.113.53, \"2001:db8:53::53\", 203.0.113.54, \
         \"2001:db8:53::54\", {}, \"{}\"]\n  allow_private: [{}, \"{}\"]\n  \
         ttl: {{min: 3s, max: 6s, grace: 2s}}\nclients:\n",
        if random.once_in(6) { "allow" } else { "deny" },
        MUTE[0],
        MUTE[1],
        records::NETWORK4,
        records::NETWORK6,
    );
    let optional = ["clock", "shop", "mail", "printer"];
    let mut some = |always: &str| {
        let mut services = vec![always];
        services.extend(optional.into_iter().filter(|_| !random.once_in(3)));
        services.join(", ")
    };
    let (staff, kiosk, lab, admin, servers) =
        (some("core"), some("core"), some("core"), some("core"), some("core"));
    let staff_inbound = *random.pick(&[
        "on_deny: drop",
        "on_deny: drop, inbound: [{services: [core]}]",
        "on_deny: drop, inbound: [{services: [printer]}, {from: [192.0.2.0/30, \
         \"2001:db8:9100::/126\"], tcp: [22], udp: [\"600-639\"]}]",
        "on_deny: drop, inbound: [{services: [core, mail]}, {from: [192.0.2.0/28], udp: [80]}]",
    ]);
    let groups = [
        (Group::Staff, staff, staff_inbound),
        (Group::Kiosk, kiosk, "on_deny: reject"),
        (Group::Lab, lab, "mode: audit"),
        (Group::Admin, admin, "mode: exempt"),
        (Group::Servers, servers, "inbound: allow"),
        (Group::Bulk, "core, bulk".to_owned(), "devices_per_address: 1000"),
        (Group::Storm, "core, bulk".to_owned(), "on_deny: reject"),
    ];
    for (group, services, more) in groups {
        let [v4, v6] = group.networks();
        let _ = writeln!(
            text,
            "  - {{name: {group:?}, networks: [{v4}, \"{v6}\"], services: [{services}], {more}}}"
        );
    }
    text += "  - {name: Marks, networks: [10.20.0.10/32, \"fd00:20::10/128\"], services: [core], \
             mode: exempt}\n";
    text += &services(random);
    text
}

fn services(random: &mut Random) -> String {
    let shop = *random.pick(&[
        r#""*.shop.test""#,
        r#""h1*.shop.test", "h2*.shop.test""#,
        r#""*.shop.test", "*.cart.test""#,
        r#""h3*.shop.test", "*.cart.test""#,
    ]);
    let mail = *random.pick(&["[993, 443]", "[993]", "[\"990-999\"]"]);
    let printers = *random
        .pick(&["192.0.2.64/28, \"2001:db8:9164::/64\"", "192.0.2.64/29, \"2001:db8:9164::/125\""]);
    let raw = *random.pick(&["[631]", "[631, \"9100-9102\"]"]);
    format!(
        "services:\n  \
         - {{id: core, title: Core, cidrs: [192.0.2.0/28, \"2001:db8:9100::/64\"], tcp: [7, 443], \
         udp: [7, 443]}}\n  \
         - {{id: bulk, title: Bulk, fqdns: [\"*.fill.test\"], cidrs: [192.0.2.128/28, \
         \"2001:db8:9128::/64\"], tcp: [7], udp: [7, 5000]}}\n  \
         - {{id: clock, title: Clock, fqdns: [clock.test, time.clock.test, ntp.test], udp: [123]}}\n  \
         - {{id: shop, title: Shop, fqdns: [{shop}], tcp: [80, 443], udp: [443]}}\n  \
         - {{id: mail, title: Mail, fqdns: [\"*.mail.test\"], tcp: {mail}, udp: [4000]}}\n  \
         - {{id: printer, title: Printer, cidrs: [{printers}], tcp: {raw}, udp: [631]}}\n"
    )
}

/// Ports that packets are sent to: of services, and of none.
pub const PORTS: [u16; 12] = [7, 22, 80, 123, 443, 631, 990, 993, 4000, 5000, 7680, 9101];
