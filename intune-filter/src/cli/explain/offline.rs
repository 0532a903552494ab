//! Judges by the policy alone while nothing is loaded, with the kernel's logic built for the host.

use std::net::IpAddr;

use anyhow::{Context as _, Result};
use intune_filter_ebpf::{
    abi::{
        Active, Address as _, Client, Explanation, Matched, RULES, RuleMask, V6, ZoneKey,
        client_flags, inbound_zone,
    },
    host::{self, Tables},
    verdict::Arrival,
};

use super::{
    arrival::Receiver,
    judge::Judge,
    live::{NOWHERE, would_be},
    packet::first_packet,
    report::Judgement,
};
use crate::{
    catalogue::Catalogue,
    cli::{
        destination::{Protocol, Target},
        environment::on_link_now,
        error::Failure,
    },
    config::{ClientGroup, Config, Zone},
    policy::{Policy, RuleBits, compile},
    system::netlink::{self, Snapshot},
};

/// Stand-in for a missing configuration: everyone may use the whole catalogue.
const EVERYTHING: &str = "
interfaces: [{name: any}]
clients: [{name: everyone, networks: [0.0.0.0/0, '::/0'], services: [all]}]
dns: {resolvers: ['192.0.2.53']}
";

/// Index of the only interface.
const IFINDEX: u32 = 1;

/// Compiled policy, and the zone of the client.
pub(super) struct Unloaded {
    policy: Policy,
    tables: Tables,
    address: IpAddr,
    vlan: u16,
    zone: u32,
    client: Option<Client>,
    rules: Vec<Option<String>>,
    groups: Vec<Option<String>>,
}

impl Unloaded {
    /// Compiles the configuration, or without one the whole catalogue.
    pub(super) fn new(
        config: Option<&Config>,
        catalogue: &Catalogue,
        address: IpAddr,
        on: Option<&str>,
    ) -> Result<Self, Failure> {
        let everything;
        let config = match config {
            Some(config) => config,
            None => {
                everything = Config::parse("the built-in configuration", EVERYTHING)?;
                &everything
            }
        };
        let policy = compile(config, catalogue, &RuleBits::new())?;
        let behind = |interface: &str, vlan: u16| {
            on.is_none_or(|on| on == interface || on == format!("{interface}.{vlan}"))
        };
        let zones = || policy.zones.iter().filter(|zone| behind(&zone.interface, zone.vlan));
        let here = on_link_zones(config, address);
        let of = |zone: &Zone| {
            let client = policy.client(zone.number, address)?;
            let on_link = client.flags & client_flags::ON_LINK != 0;
            (!on_link || here.contains(&zone.number)).then_some(client)
        };
        let found = zones().find(|zone| of(zone).is_some()).or(zones().next()).cloned();
        let Some(zone) = found.or_else(|| other_vlan(&policy, on?)) else {
            let on = on.unwrap_or("any interface");
            return Err(anyhow::anyhow!("the configuration has no zone on {on}").into());
        };
        let mut tables = Tables::default();
        tables.active.set(Active { generation: 2, ..Active::default() });
        tables.policies[0] = host::PolicyMaps::from(&policy);
        if zone.number != NOWHERE {
            let key = ZoneKey { ifindex: IFINDEX, vlan: zone.vlan.into() };
            tables.zones.insert(key, zone.number);
        }
        if here.contains(&zone.number) {
            // The client's own route, and no other: where it leads nowhere, nothing is checked by it.
            tables.devices.insert(zone.number as u16, IFINDEX);
            let source: Vec<u8> =
                V6::from(address).0.iter().flat_map(|word| word.to_ne_bytes()).collect();
            tables.routes.insert(V6::BITS, &source, IFINDEX);
        }
        Ok(Self {
            tables,
            address,
            vlan: zone.vlan,
            zone: zone.number,
            client: of(&zone),
            rules: (0..RULES as u8).map(|bit| Some(policy.rule(bit)?.id.to_string())).collect(),
            groups: policy.groups.iter().map(|group| Some(group.name.clone())).collect(),
            policy,
        })
    }

    /// Returns the receiver at an address, if a group has it in another zone than the client's alone.
    fn receiver(&self, address: IpAddr, port: u16, protocol: Protocol) -> Option<Receiver> {
        let policy = &self.policy;
        if policy.client(self.zone, address).is_some() {
            return None;
        }
        let has = |zone: &&Zone| policy.client(zone.number, address).is_some();
        let zone = policy.zones.iter().find(has)?;
        let inbound = u32::from(inbound_zone(u16::try_from(zone.number).ok()?));
        let inbound = policy.client(inbound, address).map_or(RuleMask::EMPTY, |one| one.rules);
        let ports = match protocol {
            Protocol::Transport(protocol) => policy.rules_of_port(protocol, port),
            Protocol::Icmp => RuleMask::EMPTY,
        };
        Some(Receiver {
            place: zone.to_string(),
            client: policy.client(zone.number, address),
            lets: inbound & policy.rules_of_address(self.address) & ports,
            allows_unlisted: policy.settings.allow_unlisted_clients != 0,
        })
    }

    fn ports(&self, port: u16, protocol: Protocol) -> RuleMask {
        match protocol {
            Protocol::Transport(protocol) => self.policy.rules_of_port(protocol, port),
            Protocol::Icmp if self.policy.settings.icmp_echo != 0 => RuleMask::ALL,
            Protocol::Icmp => RuleMask::EMPTY,
        }
    }
}

impl Judge for Unloaded {
    /// Returns addresses as they are; a name has none, since nothing is learned while nothing is
    /// loaded.
    fn addresses(&self, host: &Target) -> Result<Vec<IpAddr>> {
        Ok(match host {
            Target::Address(address) => vec![*address],
            Target::Name(_) => Vec::new(),
        })
    }

    fn judge(&self, address: IpAddr, port: u16, protocol: Protocol) -> Result<Judgement> {
        let frame = first_packet(self.vlan, self.address, address, port, protocol)?;
        let place = Arrival { ifindex: IFINDEX, stripped_tag: None, came_by: IFINDEX };
        let word = self.tables.ingress(&frame, place).explanation();
        let explanation = Explanation::unpack(word).context("a verdict that cannot be")?;
        let mut judgement = Judgement::new(address, explanation, &self.rules, &self.groups);
        judgement.value = match explanation.matched {
            Matched::Builtin => Some(explanation.reason.as_str().to_owned()),
            Matched::Cidr => {
                let rule = explanation.rule.context("a network without a rule")?;
                let networks = self.policy.rule(rule).map(|rule| &rule.cidrs[..]);
                let holding =
                    networks.unwrap_or_default().iter().find(|net| net.contains(&address));
                holding.map(ToString::to_string)
            }
            Matched::Nothing | Matched::Name | Matched::Flow => None,
        };
        judgement.arrival = self
            .receiver(address, port, protocol)
            .map(|receiver| receiver.judge(explanation.reason, &self.rules, &self.groups));
        Ok(judgement)
    }

    fn predict(&self, rules: &[String], port: u16, protocol: Protocol) -> Result<Judgement> {
        if self.zone == NOWHERE {
            // Whatever the address will be.
            return Ok(Judgement { address: None, ..self.judge(self.address, port, protocol)? });
        }
        let named = |id: &Option<String>| id.as_ref().is_some_and(|id| rules.contains(id));
        let bits = (0..).zip(&self.rules).filter(|(_, id)| named(id));
        let bits = bits.map(|(bit, _)| bit).collect();
        let unlisted = self.policy.settings.allow_unlisted_clients != 0;
        let ports = self.ports(port, protocol);
        let (reason, nearest) = would_be(self.client.as_ref(), unlisted, bits, ports, protocol);
        Ok(Judgement::predicted(reason, nearest, self.client.as_ref(), &self.rules, &self.groups))
    }
}

/// Returns the zones behind which an address is on-link on this machine, by the addresses of their
/// devices.
fn on_link_zones(config: &Config, address: IpAddr) -> Vec<u32> {
    if !config.clients.iter().any(ClientGroup::is_on_link) {
        return Vec::new();
    }
    let snapshot = netlink::snapshot().unwrap_or_else(|error| {
        log::warn!("what is on-link is not known: {error:#}");
        Snapshot::default()
    });
    let links = on_link_now(config, &snapshot);
    let zones = config.zones().into_iter().filter(|zone| {
        let mut behind = links.iter().filter(|link| link.zone() == zone.to_string());
        behind.any(|link| link.network.contains(&address))
    });
    let zones: Vec<u32> = zones.map(|zone| zone.number).collect();
    if zones.is_empty() {
        log::warn!("{address} is on-link behind no interface of this machine");
    }
    zones
}

/// Returns the VLAN that `on` names as `INTERFACE.VLAN`, of a filtered interface, with no zone's number.
fn other_vlan(policy: &Policy, on: &str) -> Option<Zone> {
    let (name, vlan) = on.rsplit_once('.')?;
    let zone = policy.zones.iter().find(|zone| zone.interface == name)?;
    Some(Zone { number: NOWHERE, vlan: vlan.parse().ok()?, ..zone.clone() })
}

#[cfg(test)]
mod tests {
    use intune_filter_ebpf::abi::Reason;

    use super::*;

    fn everyone(on: Option<&str>) -> Unloaded {
        let client = "10.0.0.5".parse().unwrap();
        Unloaded::new(None, Catalogue::builtin(), client, on).unwrap()
    }

    #[test]
    fn without_a_configuration_the_whole_catalogue_is_allowed() {
        let unloaded = everyone(None);
        let judge_by = |address: &str, port, protocol| {
            unloaded.judge(address.parse().unwrap(), port, protocol).unwrap()
        };
        let judge = |address, port| judge_by(address, port, Protocol::TCP);
        // Microsoft's own ranges for Intune.
        let inside = judge("13.67.13.177", 443);
        assert_eq!(inside.reason, Reason::Policy);
        assert_eq!(inside.rule.as_deref(), Some("intune-core/prefixes"));
        assert_eq!(inside.group.as_deref(), Some("everyone"));
        assert_eq!(judge("13.67.13.177", 22).reason, Reason::Port);
        assert_eq!(judge("8.8.8.8", 443).reason, Reason::Destination);
        assert_eq!(judge_by("8.8.8.8", 53, Protocol::UDP).reason, Reason::Resolver);
        assert_eq!(judge_by("192.0.2.53", 53, Protocol::UDP).reason, Reason::DnsQuery);
    }

    #[test]
    fn a_zone_that_is_not_configured_is_an_error() {
        let client = "10.0.0.5".parse().unwrap();
        assert!(Unloaded::new(None, Catalogue::builtin(), client, Some("eth9")).is_err());
        assert!(everyone(Some("any")).client.is_some());
    }

    #[test]
    fn other_vlans_decide_on_a_vlan_of_no_zone() {
        for (choice, reason) in [("pass", Reason::Unmanaged), ("deny", Reason::OtherVlan)] {
            let text = format!("{EVERYTHING}other_vlans: {choice}\n");
            let config = Config::parse("config.yaml", &text).unwrap();
            let client = "10.0.0.5".parse().unwrap();
            let on = |on| Unloaded::new(Some(&config), Catalogue::builtin(), client, Some(on));
            let foreign = on("any.30").unwrap();
            let judged = foreign.judge("13.67.13.177".parse().unwrap(), 443, Protocol::TCP);
            assert_eq!(judged.unwrap().reason, reason);
            let predicted = foreign.predict(&[], 443, Protocol::TCP).unwrap();
            assert_eq!((predicted.reason, predicted.address), (reason, None));
            assert!(on("other.30").is_err());
        }
    }
}
