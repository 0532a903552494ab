//! Judges by the loaded program, and so by the kernel's actual state.

use std::net::IpAddr;

use anyhow::{Context as _, Result, bail};
use aya::maps::{Array, MapData};
use intune_filter_ebpf::abi::{
    Client, MODE_AUDIT, MODE_EXEMPT, Matched, Reason, RuleMask, ZoneKey, client_flags,
    inbound_zone, port_index,
};

use super::{arrival::Receiver, judge::Judge, packet::first_packet, report::Judgement};
use crate::{
    cli::destination::{Protocol, Target},
    kernel::{ClientEntry, Pins, named_snapshot},
    names::{Names, is_target},
    policy::Nat64,
    system::{clock, route},
};

/// Zone of no client.
pub(super) const NOWHERE: u32 = 0;

/// Pins of the loaded policy, and the zone of the client.
pub(super) struct Pinned<'a> {
    pins: &'a Pins,
    names: &'a Names,
    client: IpAddr,
    segment: ZoneKey,
    zone: u32,
    entry: Option<Client>,
    rules: Vec<Option<String>>,
    groups: Vec<Option<String>>,
    nat64: Nat64,
}

impl<'a> Pinned<'a> {
    /// Finds the client's zone: among those behind `on`, if given, the one in which a group has the
    /// client, else the first.
    pub(super) fn new(
        pins: &'a Pins,
        names: &'a Names,
        client: IpAddr,
        on: Option<&str>,
    ) -> Result<Self> {
        let mut zones = pins.zones()?;
        zones.sort_by_key(|(key, zone)| (*zone, key.ifindex, key.vlan));
        let clients = clients_around(pins, client)?;
        if let Some(on) = on {
            let interfaces = named_snapshot(pins.directory(), &[])?.interfaces;
            let index = |name: &str| {
                Some(
                    interfaces
                        .iter()
                        .find(|one| [&*one.name, one.present_name()].contains(&name))?
                        .index,
                )
            };
            let other = other_vlan(on, &zones, index);
            zones.retain(|(key, _)| is_behind(on, key, index));
            zones.extend(other.filter(|_| zones.is_empty()));
            if zones.is_empty() {
                bail!("no zone is in force on {on}");
            }
        }
        let has_client = |zone: u32| entry_of(&clients, zone, client).is_some();
        let found = zones.iter().find(|(_, zone)| has_client(*zone)).or(zones.first());
        let Some((key, zone)) = found else {
            bail!("no zone is in force: none of the configured interfaces exists");
        };
        Ok(Self {
            pins,
            names,
            client,
            segment: *key,
            zone: *zone,
            entry: entry_of(&clients, *zone, client),
            rules: pins.rules()?,
            groups: pins.groups()?,
            nat64: pins.nat64()?,
        })
    }

    /// Returns the receiver at an address, if it is in another zone than the client: by the device that leads
    /// to it, or else by a group that has it in one zone alone.
    fn receiver(&self, address: IpAddr, port: u16, protocol: Protocol) -> Result<Option<Receiver>> {
        let mut zones = self.pins.zones()?;
        zones.sort_by_key(|(key, zone)| (*zone, key.ifindex, key.vlan));
        zones.retain(|(_, zone)| *zone != NOWHERE);
        let clients = clients_around(self.pins, address)?;
        let has = |zone: u32| entry_of(&clients, zone, address).is_some();
        let towards = route::interfaces_towards(&[address])?.into_iter().next().flatten();
        let found = match towards {
            Some(device) => self.pins.zone_of_device(device)?,
            None if has(self.zone) => None,
            None => zones.iter().map(|(_, zone)| *zone).find(|zone| has(*zone)),
        };
        let Some(zone) = found.filter(|zone| *zone != self.zone) else { return Ok(None) };
        let Some((key, _)) = zones.iter().find(|(_, number)| *number == zone) else {
            return Ok(None);
        };
        let snapshot = named_snapshot(self.pins.directory(), &[])?;
        let name = snapshot.by_index(key.ifindex);
        let name = name.map_or_else(|| key.ifindex.to_string(), |one| one.name.clone());
        let inbound = u16::try_from(zone).ok().map(|zone| u32::from(inbound_zone(zone)));
        let inbound = inbound.and_then(|zone| entry_of(&clients, zone, address));
        let networks = self.pins.networks()?;
        // An inner network has the rules of those around it.
        let within = networks.iter().filter(|(network, _)| network.contains(&self.client));
        let senders = within.fold(RuleMask::EMPTY, |all, (_, rules)| all | *rules);
        let learned = self.pins.host(self.client)?;
        let learned = learned.filter(|host| host.expires > clock::boot_time());
        let senders = senders | learned.map_or(RuleMask::EMPTY, |host| host.rules);
        let ports = match protocol {
            Protocol::Transport(protocol) => self.pins.port(port_index(protocol.number(), port))?,
            Protocol::Icmp => RuleMask::EMPTY,
        };
        Ok(Some(Receiver {
            place: if key.vlan == 0 { name } else { format!("{name}.{}", key.vlan) },
            client: entry_of(&clients, zone, address),
            lets: inbound.map_or(RuleMask::EMPTY, |group| group.rules) & senders & ports,
            allows_unlisted: self.pins.settings()?.allow_unlisted_clients != 0,
        }))
    }

    /// The widest network that has the rule: inner ones have the rules of those around them merged
    /// in.
    fn network(&self, address: IpAddr, rule: Option<u8>) -> Result<Option<String>> {
        let Some(rule) = rule else { return Ok(None) };
        let networks = self.pins.networks()?;
        Ok(networks
            .iter()
            .filter(|(network, rules)| rules.contains(rule) && network.contains(&address))
            .min_by_key(|(network, _)| network.prefix_len())
            .map(|(network, _)| network.to_string()))
    }

    /// Returns the names with the rule that led to the address, or a text with the address if none
    /// is known.
    fn name(&self, address: IpAddr, rule: Option<&str>) -> Option<String> {
        let learned_as = self.nat64.learned_as(address);
        let names: Vec<&str> = learned_as
            .flat_map(|one| self.names.of_address(one))
            .filter(|(_, binding)| rule.is_none_or(|rule| binding.rules.contains(rule)))
            .map(|(name, _)| name)
            .collect();
        Some(if names.is_empty() {
            format!("{address}, learned from a name that is not known any more")
        } else {
            names.join(", ")
        })
    }
}

impl Judge for Pinned<'_> {
    /// Returns the addresses that the kernel has learned for a name and that have not expired, as the
    /// client reaches them.
    fn addresses(&self, host: &Target) -> Result<Vec<IpAddr>> {
        let name = match host {
            Target::Address(address) => return Ok(vec![*address]),
            Target::Name(name) => name,
        };
        let now = clock::boot_time();
        let mut addresses = Vec::new();
        for (address, _) in self.names.of_name(name) {
            if is_target(address) {
                continue;
            }
            if self.pins.host(address)?.is_none_or(|host| host.expires <= now) {
                continue;
            }
            match (address, self.client) {
                (IpAddr::V4(v4), IpAddr::V6(_)) => addresses.extend(self.nat64.forms(v4)),
                (IpAddr::V6(_), IpAddr::V4(_)) => {}
                _ => addresses.push(address),
            }
        }
        Ok(addresses)
    }

    fn judge(&self, address: IpAddr, port: u16, protocol: Protocol) -> Result<Judgement> {
        let vlan = u16::try_from(self.segment.vlan).context("the zone has no VLAN id")?;
        let frame = first_packet(vlan, self.client, address, port, protocol)?;
        let explanation = self.pins.explain(&frame, self.segment.ifindex)?;
        let mut judgement = Judgement::new(address, explanation, &self.rules, &self.groups);
        judgement.value = match explanation.matched {
            Matched::Nothing => None,
            Matched::Cidr => self.network(address, explanation.rule)?,
            Matched::Name => self.name(address, judgement.rule.as_deref()),
            Matched::Flow => Some("a connection that is known already".to_owned()),
            Matched::Builtin => Some(explanation.reason.as_str().to_owned()),
        };
        judgement.arrival = self
            .receiver(address, port, protocol)?
            .map(|receiver| receiver.judge(explanation.reason, &self.rules, &self.groups));
        Ok(judgement)
    }

    fn predict(&self, rules: &[String], port: u16, protocol: Protocol) -> Result<Judgement> {
        if self.zone == NOWHERE {
            // Whatever the address will be.
            return Ok(Judgement { address: None, ..self.judge(self.client, port, protocol)? });
        }
        let named = |id: &Option<String>| id.as_ref().is_some_and(|id| rules.contains(id));
        let bits = (0..).zip(&self.rules).filter(|(_, id)| named(id)).map(|(bit, _)| bit).collect();
        let settings = self.pins.settings()?;
        let ports = match protocol {
            Protocol::Transport(protocol) => self.pins.port(port_index(protocol.number(), port))?,
            Protocol::Icmp if settings.icmp_echo != 0 => RuleMask::ALL,
            Protocol::Icmp => RuleMask::EMPTY,
        };
        let unlisted = settings.allow_unlisted_clients != 0;
        let client = self.entry.as_ref();
        let (reason, nearest) = would_be(client, unlisted, bits, ports, protocol);
        Ok(Judgement::predicted(reason, nearest, client, &self.rules, &self.groups))
    }
}

/// Whether a group has whatever is on-link by an entry.
const fn is_on_link(entry: &ClientEntry) -> bool {
    entry.client.flags & client_flags::ON_LINK != 0
}

/// Computes the kernel's verdict for a name without an address, and the rules that allow it or are
/// nearest.
pub(super) fn would_be(
    entry: Option<&Client>,
    allow_unlisted: bool,
    name: RuleMask,
    ports: RuleMask,
    protocol: Protocol,
) -> (Reason, RuleMask) {
    let Some(entry) = entry else {
        let reason = if allow_unlisted { Reason::UnlistedAllowed } else { Reason::UnlistedClient };
        return (reason, RuleMask::EMPTY);
    };
    let granted = name & entry.rules;
    let (reason, nearest) = if entry.mode == MODE_EXEMPT {
        (Reason::Exempt, RuleMask::EMPTY)
    } else if granted.is_empty() {
        (Reason::DnsUnlisted, name)
    } else if granted.intersects(&ports) {
        (Reason::Policy, granted & ports)
    } else if protocol == Protocol::Icmp {
        (Reason::Icmp, granted)
    } else {
        (Reason::Port, granted)
    };
    let audited = reason.denies() && entry.mode == MODE_AUDIT;
    (if audited { Reason::Audit } else { reason }, nearest)
}

/// Returns the elements of groups that can have an address: those of what is on-link, in the zone alone that
/// it is behind.
fn clients_around(pins: &Pins, address: IpAddr) -> Result<Vec<ClientEntry>> {
    let mut clients = pins.clients()?;
    if clients.iter().any(is_on_link) {
        let behind = route::on_link_behind(address)?;
        let devices: Array<MapData, u32> = pins.map("ZONE_DEVICES")?;
        clients.retain(|entry| {
            let zone = entry.zone & !u32::from(inbound_zone(0));
            let device = devices.get(&zone, 0).ok();
            !is_on_link(entry) || behind.is_some() && device == behind
        });
    }
    Ok(clients)
}

/// Returns the client element of the longest prefix in a zone.
fn entry_of(clients: &[ClientEntry], zone: u32, client: IpAddr) -> Option<Client> {
    clients
        .iter()
        .filter(|entry| entry.zone == zone && entry.network.contains(&client))
        .max_by_key(|entry| entry.network.prefix_len())
        .map(|entry| entry.client)
}

/// Returns the VLAN that `on` names as `INTERFACE.VLAN`, of a filtered interface, with no zone's number.
fn other_vlan(
    on: &str,
    zones: &[(ZoneKey, u32)],
    index: impl Fn(&str) -> Option<u32>,
) -> Option<(ZoneKey, u32)> {
    let (name, vlan) = on.rsplit_once('.')?;
    let key = ZoneKey { ifindex: index(name)?, vlan: vlan.parse().ok()? };
    let is_filtered = zones.iter().any(|(zone, _)| zone.ifindex == key.ifindex);
    is_filtered.then_some((key, NOWHERE))
}

/// Whether `on`, an interface or `INTERFACE.VLAN`, includes a zone. `index` finds interfaces.
fn is_behind(on: &str, key: &ZoneKey, index: impl Fn(&str) -> Option<u32>) -> bool {
    let tagged = on.rsplit_once('.').is_some_and(|(name, vlan)| {
        vlan.parse() == Ok(key.vlan) && index(name) == Some(key.ifindex)
    });
    tagged || index(on) == Some(key.ifindex)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unresolved_name_meets_the_same_and() {
        const NONE: RuleMask = RuleMask::EMPTY;
        const ALL: RuleMask = RuleMask::ALL;
        let [zero, one, two, three] = [0, 70, 140, 191].map(RuleMask::of);
        let client = |mode| Client { rules: one | two, group: 0, mode, ..Client::default() };
        let enforced = client(0);
        let judge = |entry: Option<&Client>, name, ports| {
            would_be(entry, false, name, ports, Protocol::TCP)
        };
        assert_eq!(judge(Some(&enforced), one, one | zero), (Reason::Policy, one));
        assert_eq!(judge(Some(&enforced), one, three), (Reason::Port, one));
        assert_eq!(judge(Some(&enforced), three, three), (Reason::DnsUnlisted, three));
        assert_eq!(judge(Some(&enforced), NONE, ALL), (Reason::DnsUnlisted, NONE));
        assert_eq!(judge(Some(&client(MODE_AUDIT)), NONE, ALL), (Reason::Audit, NONE));
        assert_eq!(judge(Some(&client(MODE_EXEMPT)), NONE, NONE), (Reason::Exempt, NONE));
        assert_eq!(judge(None, zero, zero), (Reason::UnlistedClient, NONE));
        assert_eq!(would_be(None, true, zero, zero, Protocol::TCP).0, Reason::UnlistedAllowed);
    }

    #[test]
    fn an_interface_means_its_zones_and_a_tag_one_of_them() {
        let index = |name: &str| match name {
            "lan.0" => Some(3),
            "lan" => Some(4),
            _ => None,
        };
        let behind = |on: &str, ifindex, vlan| is_behind(on, &ZoneKey { ifindex, vlan }, index);
        assert!(behind("lan.0", 3, 0) && behind("lan.0", 3, 20) && behind("lan.0", 4, 0));
        assert!(!behind("lan.0", 4, 20));
        assert!(behind("lan.0.20", 3, 20) && !behind("lan.0.20", 3, 0));
        assert!(!behind("wan", 3, 0));
    }

    #[test]
    fn a_vlan_of_no_zone_belongs_to_an_interface_that_is_filtered() {
        let index = |name: &str| [("lan", 3), ("wan", 4)].into_iter().find(|one| one.0 == name);
        let zones = [(ZoneKey { ifindex: 3, vlan: 20 }, 1)];
        let other = |on| other_vlan(on, &zones, |name| Some(index(name)?.1));
        assert_eq!(other("lan.30"), Some((ZoneKey { ifindex: 3, vlan: 30 }, NOWHERE)));
        assert_eq!((other("wan.30"), other("lan"), other("lan.x")), (None, None, None));
    }

    #[test]
    fn the_longest_prefix_of_the_clients_zone_counts() {
        let entry = |zone, network: &str, group| ClientEntry {
            zone,
            network: network.parse().unwrap(),
            client: Client { group, ..Client::default() },
        };
        let clients =
            [entry(1, "10.0.0.0/8", 1), entry(1, "10.1.0.0/16", 2), entry(2, "10.1.0.0/24", 3)];
        let group = |zone, client: &str| {
            entry_of(&clients, zone, client.parse().unwrap()).map(|client| client.group)
        };
        assert_eq!(group(1, "10.1.0.9"), Some(2));
        assert_eq!(group(2, "10.1.0.9"), Some(3));
        assert_eq!(group(2, "10.2.0.9"), None);
    }
}
