//! Finds the zones of clients and receivers, and a client's neighbour.

use std::net::IpAddr;

use anyhow::Result;
use intune_filter_ebpf::abi::{Client, V6, client_flags};

use super::{
    simulate::Simulation,
    zone::{NO_ZONE, SimulatedZone, key_of},
};
use crate::{policy::octets_of_key::Octets as _, system::route};

impl Simulation {
    /// Finds a client's zone: among those behind `on`, if given, the one in which a group has the client
    /// and that the routes lead to, else one in which a group has it, else one that the routes lead to, else
    /// the first.
    pub(crate) fn zone_of_client(&self, client: IpAddr, on: Option<&str>) -> Option<SimulatedZone> {
        let behind =
            |zone: &&SimulatedZone| on.is_none_or(|on| on == zone.place() || on == zone.interface);
        let zones: Vec<&SimulatedZone> = self.zones.iter().filter(behind).collect();
        if let (true, Some(on)) = (zones.is_empty(), on) {
            return self.other_vlan(on);
        }
        let has = |zone: &SimulatedZone| self.has(zone, client);
        let leads = |zone: &SimulatedZone| self.leads_to(zone, client);
        let found = zones
            .iter()
            .find(|zone| has(zone) && leads(zone))
            .or_else(|| zones.iter().find(|zone| has(zone)))
            .or_else(|| zones.iter().find(|zone| leads(zone)))
            .or_else(|| zones.first());
        found.map(|zone| (*zone).clone())
    }

    /// Returns the zone that a packet from another zone to an address leaves by; `None` if it leaves by
    /// none, or by its own.
    pub(crate) fn zone_of_receiver(
        &self,
        from: &SimulatedZone,
        address: IpAddr,
    ) -> Option<SimulatedZone> {
        let out = self.device_towards(address);
        let found = match out {
            Some(device) => self.zones.iter().find(|zone| zone.device == device),
            None if self.has(from, address) => None,
            None => self.zones.iter().find(|zone| self.has(zone, address)),
        };
        found.filter(|zone| zone.number != from.number).cloned()
    }

    fn has(&self, zone: &SimulatedZone, address: IpAddr) -> bool {
        self.member_at(zone, address).is_some()
    }

    /// Returns the element of the group that has an address in a zone: by a prefix, or by being on-link
    /// behind the zone's device.
    pub(crate) fn member_at(&self, zone: &SimulatedZone, address: IpAddr) -> Option<Client> {
        let member = self.member(zone.number.into(), address)?;
        let is_on_link = || {
            self.tables.devices.contains_key(&zone.number)
                && self.leads_to(zone, address)
                && !self.tables.next_hops.contains_key(&address.into())
        };
        (member.flags & client_flags::ON_LINK == 0 || is_on_link()).then_some(member)
    }

    /// Whether the known routes lead to an address by a zone's device.
    pub(crate) fn leads_to(&self, zone: &SimulatedZone, address: IpAddr) -> bool {
        self.device_towards(address) == Some(zone.device)
    }

    /// Returns the device that the known routes lead out of towards an address.
    pub(crate) fn device_towards(&self, address: IpAddr) -> Option<u32> {
        self.tables.routes.get(&V6::from(address).octets())
    }

    /// Returns the VLAN that `on` names as `INTERFACE.VLAN`, of a filtered interface, with no zone's number.
    fn other_vlan(&self, on: &str) -> Option<SimulatedZone> {
        let (name, vlan) = on.rsplit_once('.')?;
        let zone = self.zones.iter().find(|zone| zone.interface == name)?;
        let key = key_of(zone.key.ifindex, vlan.parse().ok()?);
        Some(SimulatedZone { number: NO_ZONE, key, ..zone.clone() })
    }
}

/// Returns the hardware address of the neighbour by which the routes lead to an address.
pub(crate) fn mac_of(simulation: &Simulation, address: IpAddr) -> Result<Option<[u8; 6]>> {
    let next = simulation.tables.next_hops.get(&address.into()).copied();
    let next = next.map_or(address, IpAddr::from);
    let known = route::neighbours()?;
    Ok(known.into_iter().find(|(one, _)| *one == next).map(|(_, mac)| mac))
}
