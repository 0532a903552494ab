//! Checks the values of a configuration against each other.

use std::{collections::HashMap, hash::Hash, net::IpAddr};

use intune_filter_ebpf::abi::{GROUPS, TITLE_CAPACITY};

use super::{
    ClientGroup, Config, Inbound, Limit, Network, OtherVlans, Seconds, Zone, check_choice,
    other_vlans,
};
use crate::{ports::protocols, yaml::FileError};

/// Longest interface name, in octets: Linux's IFNAMSIZ less the terminating zero.
const INTERFACE_NAME_MAX: usize = 15;

/// Zones at most: a flow's key holds the zone in 16 bits.
const ZONES_MAX: usize = u16::MAX as usize;

/// Longest warm-up: few TTLs are longer, so clients' caches have expired by then.
const WARM_UP_MAX: Seconds = Seconds(3600);

/// Highest rate and burst: beyond, a limit limits nothing.
const LIMIT_MAX: u32 = 1_000_000;

/// Returns every contradiction within the file.
pub(super) fn check(config: &Config) -> Vec<FileError> {
    let mut check = Check { config, errors: Vec::new() };
    check.interfaces();
    check.groups();
    check.client_networks();
    check.nothing_on_link();
    check.dns();
    check.warm_up();
    check.servers();
    check.choice();
    check.services();
    check.limits();
    check.maps();
    check.errors
}

struct Check<'a> {
    config: &'a Config,
    errors: Vec<FileError>,
}

impl Check<'_> {
    fn report(&mut self, key: impl Into<String>, message: impl Into<String>) {
        self.errors.push(self.config.error(key, message));
    }

    /// Reports each value that repeats an earlier one.
    fn unique<T: Hash + Eq + ToString>(&mut self, values: impl Iterator<Item = (String, T)>) {
        let mut first: HashMap<T, String> = HashMap::new();
        for (key, value) in values {
            if let Some(other) = first.get(&value) {
                let message = format!("{} stands twice, first at {other}", value.to_string());
                self.report(key, message);
            } else {
                first.insert(value, key);
            }
        }
    }

    /// Reports a list that the file has but that is empty; a missing list was reported when the
    /// file was read.
    fn not_empty<T>(&mut self, key: &str, values: &[T], what: &str) {
        if values.is_empty() && self.given(key) {
            self.report(key, format!("expected at least one {what}"));
        }
    }

    /// Whether the file has the key.
    fn given(&self, key: &str) -> bool {
        self.config.source.lines.has(key)
    }

    fn interfaces(&mut self) {
        let config = self.config;
        self.not_empty("interfaces", &config.interfaces, "interface");
        for (index, interface) in config.interfaces.iter().enumerate() {
            let key = format!("interfaces[{index}]");
            let name = &interface.name;
            self.interface_name(&format!("{key}.name"), name);
            self.not_empty(&format!("{key}.vlans"), &interface.vlans, "tag, or no such key");
            let vlans = interface.vlans.iter().enumerate();
            self.unique(vlans.map(|(tag, vlan)| (format!("{key}.vlans[{tag}]"), *vlan)));
            for vlan in &interface.vlans {
                let device = format!("{name}.{vlan}");
                if config.interfaces.iter().any(|other| other.name == device) {
                    self.report(
                        format!("{key}.vlans"),
                        format!(
                            "VLAN {vlan} is also configured as interface {device}, expected one"
                        ),
                    );
                }
            }
        }
        self.other_vlans();
        let names = config.interfaces.iter().enumerate();
        self.unique(names.map(|(index, i)| (format!("interfaces[{index}].name"), i.name.clone())));
        if config.zones().len() > ZONES_MAX {
            self.report("interfaces", format!("more than {ZONES_MAX} VLANs in all"));
        }
    }

    /// Reports interfaces whose frames another one would deny, by their names.
    fn other_vlans(&mut self) {
        let config = self.config;
        if config.other_vlans == OtherVlans::Pass {
            return;
        }
        for device in &config.interfaces {
            let Some((below, id)) = device.name.rsplit_once('.') else { continue };
            let below = config.interfaces.iter().find(|interface| interface.name == below);
            if let (Some(below), Ok(vlan)) = (below, id.parse())
                && !below.vlans.contains(&vlan)
            {
                self.report("other_vlans", other_vlans::refused(&below.name, vlan));
            }
        }
    }

    fn interface_name(&mut self, key: &str, name: &str) {
        let bad = |c: char| c == '/' || c == ':' || c.is_whitespace() || c.is_control();
        if name.is_empty() || name.len() > INTERFACE_NAME_MAX || name.contains(bad) {
            self.report(
                key,
                format!("{name:?} is no interface name, expected 1 to 15 characters such as eth1"),
            );
        }
    }

    fn groups(&mut self) {
        let config = self.config;
        self.not_empty("clients", &config.clients, "client group");
        if config.clients.len() > GROUPS {
            let message = format!("{} groups, expected at most {GROUPS}", config.clients.len());
            self.report("clients", message);
        }
        for (index, group) in config.clients.iter().enumerate() {
            let key = format!("clients[{index}]");
            let named = self.given(&format!("{key}.name"));
            if named && (group.name.trim().is_empty() || group.name.contains(char::is_control)) {
                self.report(format!("{key}.name"), "expected a name of printable text");
            }
            if group.name.len() > TITLE_CAPACITY {
                let message = format!("longer than {TITLE_CAPACITY} octets");
                self.report(format!("{key}.name"), message);
            }
            if let Some(on) = &group.on
                && config.zones_of(group).is_empty()
                && !config.interfaces.is_empty()
            {
                let zones: Vec<String> = config.zones().iter().map(ToString::to_string).collect();
                self.report(
                    format!("{key}.on"),
                    format!("{on:?} is not among interfaces, expected one of {}", zones.join(", ")),
                );
            }
            let devices = group.devices_per_address;
            if !(1..=u32::from(u16::MAX)).contains(&devices) {
                self.report(
                    format!("{key}.devices_per_address"),
                    format!("{devices}, expected 1 to {}", u16::MAX),
                );
            }
            self.not_empty(&format!("{key}.networks"), &group.networks, "prefix, or on-link");
            self.not_empty(&format!("{key}.macs"), &group.macs, "MAC address, or no such key");
            let macs = group.macs.iter().enumerate();
            self.unique(macs.map(|(at, mac)| (format!("{key}.macs[{at}]"), *mac)));
            let services = group.services.iter().enumerate();
            self.unique(services.map(|(at, name)| (format!("{key}.services[{at}]"), name.clone())));
            self.inbound(&format!("{key}.inbound"), group);
        }
        let named = config.clients.iter().enumerate().filter(|(_, group)| !group.name.is_empty());
        self.unique(named.map(|(index, g)| (format!("clients[{index}].name"), g.name.clone())));
    }

    /// Reports rules of `inbound` that let nobody in, and what stands twice in them.
    fn inbound(&mut self, key: &str, group: &ClientGroup) {
        let rules = group.inbound.rules();
        if matches!(group.inbound, Inbound::Rules(_)) {
            self.not_empty(key, rules, "rule, or deny");
        }
        for (at, rule) in rules.iter().enumerate() {
            let key_of = |at: usize| format!("{key}[{at}]");
            let key = key_of(at);
            self.not_empty(&format!("{key}.services"), &rule.services, "service, or from");
            self.not_empty(&format!("{key}.from"), &rule.from, "prefix, or services");
            if !rule.from.is_empty() && rule.ports.all(Vec::is_empty) {
                let ports = protocols(" or ");
                let message =
                    format!("no port of the clients, expected at least one under {ports}");
                self.report(&key, message);
            }
            let services = rule.services.iter().enumerate();
            self.unique(services.map(|(n, name)| (format!("{key}.services[{n}]"), name.clone())));
            let from = rule.from.iter().enumerate();
            self.unique(from.map(|(n, prefix)| (format!("{key}.from[{n}]"), *prefix)));
            let same = rules.iter().take(at).position(|other| other.is_same(rule));
            if let Some(other) = same {
                let message = format!("lets in the same as {}, expected one", key_of(other));
                self.report(key, message);
            }
        }
    }

    /// Reports each prefix that two groups of a zone have. A longer prefix in another group is an
    /// exception, and allowed.
    fn client_networks(&mut self) {
        let mut first = HashMap::new();
        for (index, group) in self.config.clients.iter().enumerate() {
            for (at, network) in group.networks.iter().enumerate() {
                let key = self.key_of_network(index, at);
                // One error per prefix, however many zones share it.
                let taken = self.config.zones_of(group).into_iter().find_map(|zone| {
                    let holder = (group.name.as_str(), key.clone());
                    let (name, other) = first.insert((zone.number, *network), holder)?;
                    Some((zone, name, other))
                });
                if let Some((zone, name, other)) = taken {
                    let message = format!(
                        "{network} is already in group {name:?} on {zone}, at {other}; expected {} in \
                         one group only",
                        if *network == Network::OnLink { "it" } else { "a prefix" }
                    );
                    self.report(key, message);
                }
            }
        }
    }

    /// Returns the key of a group's network, which may be a word without a list.
    fn key_of_network(&self, group: usize, at: usize) -> String {
        let list = format!("clients[{group}].networks");
        let key = format!("{list}[{at}]");
        if self.given(&key) { key } else { list }
    }

    /// Reports a group that says `on-link` beside prefixes of everything: every prefix comes before.
    fn nothing_on_link(&mut self) {
        let config = self.config;
        for (index, group) in config.clients.iter().enumerate() {
            let Some(at) = group.networks.iter().position(|one| *one == Network::OnLink) else {
                continue;
            };
            let zones = config.zones_of(group);
            // Of one family nothing may be left: the other's prefixes are on-link's then.
            let takes = |zone: &Zone, v4: bool| {
                let there = config.clients.iter().filter(|one| config.zones_of(one).contains(zone));
                let mut all = there.flat_map(|one| one.prefixes().map(move |(_, net)| (one, net)));
                all.find(|(_, net)| net.prefix_len() == 0 && net.addr().is_ipv4() == v4)
            };
            let taken = zones.iter().find_map(|zone| {
                let ((a, v4), (b, v6)) = (takes(zone, true)?, takes(zone, false)?);
                let a = if a.name == b.name { String::new() } else { format!(" of {:?}", a.name) };
                Some(format!("{v4}{a} and {v6} of group {:?} on {zone}", b.name))
            });
            if let Some(taken) = taken {
                let message =
                    format!("{taken} leave nothing to on-link, expected on-link or the two");
                self.report(self.key_of_network(index, at), message);
            }
        }
    }

    fn dns(&mut self) {
        let dns = &self.config.dns;
        self.not_empty("dns.resolvers", &dns.resolvers, "address of a resolver");
        let addresses: Vec<IpAddr> =
            dns.resolvers.iter().map(|resolver| resolver.address).collect();
        self.addresses("dns.resolvers", &addresses);
        for (index, resolver) in dns.resolvers.iter().enumerate() {
            let key = format!("dns.resolvers[{index}].via");
            self.not_empty(&key, &resolver.via, "interface, or the address alone");
            let names = resolver.via.iter().enumerate();
            self.unique(names.map(|(at, name)| (format!("{key}[{at}]"), name.clone())));
            for (at, name) in resolver.via.iter().enumerate() {
                self.interface_name(&format!("{key}[{at}]"), name);
            }
        }
        let prefixes = dns.allow_private.iter().enumerate();
        self.unique(prefixes.map(|(index, net)| (format!("dns.allow_private[{index}]"), *net)));
        let ttl = dns.ttl;
        if ttl.min > ttl.max {
            let given = ["dns.ttl.min", "dns.ttl.max"].into_iter().find(|key| self.given(key));
            self.report(
                given.unwrap_or("dns.ttl"),
                format!("min {} is longer than max {}, expected min <= max", ttl.min, ttl.max),
            );
        }
        if ttl.max.0 == 0 {
            self.report("dns.ttl.max", "0s would forget every address at once");
        }
    }

    fn warm_up(&mut self) {
        let warm_up = self.config.warm_up;
        if warm_up > WARM_UP_MAX {
            self.report(
                "warm_up",
                format!("{warm_up} of open destinations, expected {WARM_UP_MAX} at most"),
            );
        }
    }

    fn servers(&mut self) {
        self.addresses("dhcp_servers", &self.config.dhcp_servers);
        for (index, prefix) in self.config.nat64.iter().enumerate() {
            if !matches!(prefix.prefix_len(), 32 | 40 | 48 | 56 | 64 | 96) {
                self.report(
                    format!("nat64[{index}]"),
                    format!("{prefix}: expected a length of 32, 40, 48, 56, 64 or 96 (RFC 6052)"),
                );
            }
        }
        let prefixes = self.config.nat64.iter().enumerate();
        self.unique(prefixes.map(|(index, prefix)| (format!("nat64[{index}]"), *prefix)));
    }

    fn addresses(&mut self, key: &str, addresses: &[IpAddr]) {
        for (index, address) in addresses.iter().enumerate() {
            let broadcast = matches!(address, IpAddr::V4(v4) if v4.is_broadcast());
            if broadcast
                || address.is_unspecified()
                || address.is_loopback()
                || address.is_multicast()
            {
                self.report(
                    format!("{key}[{index}]"),
                    format!("{address}: expected the address that clients send to"),
                );
            }
        }
        let each = addresses.iter().enumerate();
        self.unique(each.map(|(index, address)| (format!("{key}[{index}]"), *address)));
    }

    fn services(&mut self) {
        let services = &self.config.services;
        let ids = services.iter().enumerate().filter(|(_, service)| !service.id.is_empty());
        self.unique(ids.map(|(index, s)| (format!("services[{index}].id"), s.id.clone())));
        for (index, service) in services.iter().enumerate() {
            let key = format!("services[{index}]");
            self.id(&key, &service.id);
            for (at, rule) in service.rules.iter().enumerate() {
                self.id(&format!("{key}.rules[{at}]"), &rule.id);
            }
            let rules = service.rules.iter().enumerate().filter(|(_, rule)| !rule.id.is_empty());
            self.unique(rules.map(|(at, r)| (format!("{key}.rules[{at}].id"), r.id.clone())));
            for (at, rule) in service.rules.iter().enumerate() {
                let full = service.id.len() + 1 + rule.id.len();
                if full > TITLE_CAPACITY {
                    let key = format!("{key}.rules[{at}].id");
                    self.report(
                        key,
                        format!("longer than {TITLE_CAPACITY} octets with its service"),
                    );
                }
            }
        }
    }

    fn choice(&mut self) {
        let choice = &self.config.choice;
        for (key, values) in [
            ("domains", &choice.domains),
            ("country", &choice.country),
            ("catalogue.observed", &choice.catalogue.observed),
        ] {
            let values = values.iter().enumerate();
            self.unique(values.map(|(at, value)| (format!("{key}[{at}]"), value.clone())));
        }
        self.errors.extend(check_choice::faults(self.config));
    }

    fn id(&mut self, key: &str, id: &str) {
        let key = format!("{key}.id");
        let word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if self.given(&key) && (id.is_empty() || id.len() > 64 || !id.chars().all(word)) {
            self.report(
                key,
                format!("bad id {id:?}, expected 1 to 64 of a-z, 0-9 and -, such as print-server"),
            );
        }
    }

    fn limits(&mut self) {
        let limits = self.config.limits;
        for (name, limit) in [
            ("queries", limits.queries),
            ("flows", limits.flows),
            ("zone.queries", limits.zone.queries),
            ("zone.flows", limits.zone.flows),
        ] {
            let Limit::At { rate, burst } = limit else { continue };
            for (key, number) in [("rate", rate), ("burst", burst)] {
                let key = format!("limits.{name}.{key}");
                // A zone's defaults are those of one address, and are reported at their keys.
                let told = !name.starts_with("zone") || self.given(&key);
                if told && !(1..=LIMIT_MAX).contains(&number) {
                    let message = format!("{number}, expected 1 to {LIMIT_MAX}");
                    self.report(key, message);
                }
            }
        }
    }

    fn maps(&mut self) {
        let maps = self.config.maps;
        for (name, entries) in [
            ("hosts4", maps.hosts4),
            ("hosts6", maps.hosts6),
            ("flows4", maps.flows4),
            ("flows6", maps.flows6),
            ("new_flows", maps.new_flows),
            ("pending", maps.pending),
            ("clients", maps.clients),
            ("fragments", maps.fragments),
        ] {
            if !(256..=1 << 24).contains(&entries) {
                let message = format!("{entries} entries, expected 256 to {}", 1 << 24);
                self.report(format!("maps.{name}"), message);
            }
        }
        if !maps.events.is_power_of_two() || !(1 << 16..=1 << 28).contains(&maps.events) {
            self.report(
                "maps.events",
                format!(
                    "{} octets, expected a power of two from {} to {}",
                    maps.events,
                    1 << 16,
                    1 << 28
                ),
            );
        }
    }
}
