//! Lays a policy and its site out in the tables of the host, and judges packets there.

use std::net::IpAddr;

use anyhow::{Context as _, Result};
use intune_filter_ebpf::{
    abi::{
        Active, Client, DEVICE_LAYER3, Explanation, Host, MacKey, RULES, RuleMask, SERVER_RESOLVER,
        V4, V6,
    },
    host::{PolicyMaps, Tables},
    packet::BarePacket,
    verdict::{Arrival, Verdict},
};
use ipnet::IpNet;

use super::{
    site::Site,
    zone::{self, SimulatedZone},
};
use crate::{
    config::Config,
    kernel::{Pins, named_snapshot},
    policy::{Nat64, Policy, octets_of_key::Octets as _},
    system::{clock, route, route::Way},
};

/// Octets of an Ethernet header.
const ETHERNET: usize = 14;

/// Policy and site, over which packets are judged.
#[derive(Debug)]
pub(crate) struct Simulation {
    /// Maps of the host.
    pub tables: Box<Tables>,
    /// Zones, by number.
    pub zones: Vec<SimulatedZone>,
    /// Ids of the rules, by bit.
    pub rules: Vec<Option<String>>,
    /// Names of the groups, by number.
    pub groups: Vec<Option<String>>,
    /// Prefixes by which IPv6 clients reach IPv4 addresses.
    pub nat64: Nat64,
    /// Prefixes of destinations, each with its rules.
    pub networks: Vec<(IpNet, RuleMask)>,
}

impl Simulation {
    /// Copies the policy in force and its site from the pins.
    pub(crate) fn in_force(pins: &Pins) -> Result<Self> {
        let mut tables: Box<Tables> = Box::default();
        pins.copy_site(&mut tables)?;
        tables.now.set(clock::boot_time());
        put(&mut tables, pins.policy_maps()?);
        let snapshot = named_snapshot(pins.directory(), &[])?;
        let name = |ifindex| {
            let interface = snapshot.by_index(ifindex);
            interface.map_or_else(|| ifindex.to_string(), |interface| interface.name.clone())
        };
        let zones = zone::from_pins(pins, &tables, name)?;
        Ok(Self {
            tables,
            zones,
            rules: pins.rules()?,
            groups: pins.groups()?,
            nat64: pins.nat64()?,
            networks: pins.networks()?,
        })
    }

    /// Lays out the policy of a configuration at a site.
    pub(crate) fn of_policy(config: &Config, policy: &Policy, site: &Site<'_>) -> Result<Self> {
        let mut tables: Box<Tables> = Box::default();
        tables.active.set(Active { generation: 2, ..Active::default() });
        tables.now.set(clock::boot_time());
        put(&mut tables, PolicyMaps::from(policy));
        let zones = site.lay_out(config, policy, &mut tables)?;
        let title = |bit| Some(policy.rule(bit)?.id.to_string());
        Ok(Self {
            tables,
            zones,
            rules: (0..RULES as u8).map(title).collect(),
            groups: policy.groups.iter().map(|group| Some(group.name.clone())).collect(),
            nat64: policy.nat64.clone(),
            networks: policy.networks().collect(),
        })
    }

    /// Maps of the policy.
    pub(crate) fn policy(&self) -> &PolicyMaps {
        let slot = self.tables.active.get().generation & 1;
        let [even, odd] = &self.tables.policies;
        if slot == 0 { even } else { odd }
    }

    /// Returns the resolvers that clients may ask.
    pub(crate) fn resolvers(&self) -> Vec<IpAddr> {
        let servers = self.policy().servers.iter();
        let resolvers = servers.filter(|(_, roles)| **roles & SERVER_RESOLVER != 0);
        let mut resolvers: Vec<IpAddr> = resolvers.map(|(address, _)| (*address).into()).collect();
        resolvers.sort_unstable();
        resolvers
    }

    /// Returns the element of the group that has an address in a zone by one of its prefixes, or by being
    /// on-link.
    pub(crate) fn member(&self, zone: u32, address: IpAddr) -> Option<Client> {
        let mut key: Vec<u8> = zone.to_ne_bytes().into();
        match address {
            IpAddr::V4(v4) => {
                key.extend(V4::from(v4).octets());
                self.policy().clients4.get(&key)
            }
            IpAddr::V6(v6) => {
                key.extend(V6::from(v6).octets());
                self.policy().clients6.get(&key)
            }
        }
    }

    /// Has the tables know the routes to addresses, as the kernel has them now.
    pub(crate) fn ask_routes(&mut self, addresses: &[IpAddr]) -> Result<()> {
        for way in route::ways(addresses)? {
            self.add_way(&way);
        }
        Ok(())
    }

    /// Has the tables know a route.
    pub(crate) fn add_way(&mut self, way: &Way) {
        let address: V6 = way.to.addr().into();
        if way.is_local {
            self.tables.local_routes.insert(address, way.device);
            return;
        }
        let mapped = if way.to.addr().is_ipv4() { 96 } else { 0 };
        let length = mapped + u32::from(way.to.prefix_len());
        self.tables.routes.insert(length, &address.octets(), way.device);
        if let Some(router) = way.router
            && way.to.prefix_len() == way.to.max_prefix_len()
        {
            self.tables.next_hops.insert(address, router.into());
        }
    }

    /// Has the tables know a neighbour.
    pub(crate) fn add_neighbour(&mut self, address: IpAddr, mac: [u8; 6]) {
        let [a, b, c, d, e, f] = mac;
        let word = u64::from_ne_bytes([a, b, c, d, e, f, 0, 0]);
        self.tables.neighbours.insert(address.into(), word);
    }

    /// Whether a group lists hardware addresses, and this is none of them.
    pub(crate) fn is_foreign_mac(&self, client: &Client, mac: [u8; 6]) -> bool {
        let macs = &self.policy().group_macs;
        let of_group = |key: &&MacKey| u32::from(key.group) == client.group;
        macs.iter().any(|key| of_group(&key))
            && !macs.contains(&MacKey { mac, group: client.group as u16 })
    }

    /// Has the tables know the hardware address that a client was seen with, one of `most`, if none is known.
    pub(crate) fn know_neighbour(&mut self, address: IpAddr, mac: [u8; 6], most: usize) {
        let known = &self.tables.neighbours;
        if known.len() < most && !known.contains_key(&address.into()) {
            self.add_neighbour(address, mac);
        }
    }

    /// Returns the name of the group that has a client in a zone, by its prefixes.
    pub(crate) fn group_of_client(&self, address: IpAddr) -> Option<String> {
        let member = self.zones.iter().find_map(|zone| self.member_at(zone, address))?;
        self.groups.get(usize::try_from(member.group).ok()?)?.clone()
    }

    /// Has the tables know a learned address.
    pub(crate) fn learn(&self, address: IpAddr, rules: RuleMask, expires: u64) {
        let host = Host::new(rules, expires, self.tables.now.get(), 0);
        match address {
            IpAddr::V4(v4) => drop(self.tables.hosts4.borrow_mut().insert(v4.into(), host)),
            IpAddr::V6(v6) => drop(self.tables.hosts6.borrow_mut().insert(v6.into(), host)),
        }
    }

    /// Returns what the tables know of an address.
    pub(crate) fn learned(&self, address: IpAddr) -> Option<Host> {
        match address {
            IpAddr::V4(v4) => self.tables.hosts4.borrow().get(&V4::from(v4)).copied(),
            IpAddr::V6(v6) => self.tables.hosts6.borrow().get(&V6::from(v6)).copied(),
        }
    }

    /// Judges a frame from a client behind a zone.
    pub(crate) fn send(&self, zone: &SimulatedZone, frame: &[u8]) -> Result<Explanation> {
        let arrival = Arrival { stripped_tag: None, ..zone.arrival(zone.device) };
        let verdict = match self.bare(zone, frame) {
            Some(bare) => self.tables.ingress_layer3(bare, arrival),
            None => self.tables.ingress(frame, arrival),
        };
        told(verdict)
    }

    /// Judges a frame, without its tag, from a client behind a zone.
    pub(crate) fn send_untagged(&self, zone: &SimulatedZone, frame: &[u8]) -> Result<Explanation> {
        let arrival = zone.arrival(zone.device);
        let verdict = match self.bare(zone, frame) {
            Some(bare) => self.tables.ingress_layer3(bare, arrival),
            None => self.tables.ingress(frame, arrival),
        };
        told(verdict)
    }

    /// Judges a frame, without its tag, that the gateway forwards from a device to a zone.
    pub(crate) fn arrive(
        &self,
        zone: &SimulatedZone,
        came_by: u32,
        frame: &[u8],
    ) -> Result<Explanation> {
        let arrival = zone.arrival(came_by);
        let verdict = match self.bare(zone, frame) {
            Some(bare) => self.tables.egress_layer3(bare, arrival),
            None => self.tables.egress(frame, arrival),
        };
        told(verdict)
    }

    fn bare<'f>(&self, zone: &SimulatedZone, frame: &'f [u8]) -> Option<BarePacket<'f>> {
        let devices = &self.tables.devices;
        let is_layer3 = devices.get(&zone.number).is_some_and(|device| device & DEVICE_LAYER3 != 0);
        let ethertype = u16::from_be_bytes([*frame.get(12)?, *frame.get(13)?]);
        is_layer3.then_some(BarePacket { octets: frame.get(ETHERNET..)?, ethertype })
    }

    /// Forgets flows, queries, limits and whatever else packets have left.
    pub(crate) fn forget_packets(&self) {
        let tables = &self.tables;
        tables.flows4.borrow_mut().clear();
        tables.flows6.borrow_mut().clear();
        tables.new_flows4.borrow_mut().clear();
        tables.new_flows6.borrow_mut().clear();
        tables.pending.borrow_mut().clear();
        tables.streams.borrow_mut().clear();
        tables.streams_read.borrow_mut().clear();
        tables.kept.borrow_mut().clear();
        tables.fragments.borrow_mut().clear();
        tables.limits.borrow_mut().clear();
        self.forget_records();
    }

    /// Forgets records for userspace.
    pub(crate) fn forget_records(&self) {
        let tables = &self.tables;
        tables.denied.borrow_mut().clear();
        tables.flow_events.borrow_mut().clear();
        tables.answers.borrow_mut().clear();
        tables.segments.borrow_mut().clear();
    }
}

/// Puts the maps of a policy into the slot in force.
fn put(tables: &mut Tables, maps: PolicyMaps) {
    let slot = tables.active.get().generation & 1;
    let [even, odd] = &mut tables.policies;
    *(if slot == 0 { even } else { odd }) = maps;
}

fn told(verdict: Verdict) -> Result<Explanation> {
    Explanation::unpack(verdict.explanation()).context("a verdict that cannot be")
}
