//! Finds the zones that a captured packet passes: its sender's, its receiver's, or both.

use std::{collections::HashMap, net::IpAddr};

use intune_filter_ebpf::abi::SERVER_RESOLVER;

use super::{bounds::ADDRESSES, frame::Frame};
use crate::simulation::{SimulatedZone, Simulation};

/// Zones of a packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sides {
    /// Place of the sender's zone in the simulation's list.
    pub from: Option<usize>,
    /// Place of the receiver's.
    pub to: Option<usize>,
}

/// Zones of addresses, each looked up once.
#[derive(Debug, Default)]
pub(super) struct ZonesOfAddresses {
    known: HashMap<(IpAddr, Option<u16>), Option<usize>>,
    on: Option<String>,
}

impl ZonesOfAddresses {
    /// Returns a table for clients behind an interface, or anywhere.
    pub(super) fn new(on: Option<String>) -> Self {
        Self { known: HashMap::new(), on }
    }

    /// Finds the sides of a packet. What a zone hands on within itself has none.
    pub(super) fn sides(&mut self, simulation: &Simulation, frame: &Frame) -> Sides {
        let from = self.zone(simulation, frame.source, frame.vlan);
        let to = self.zone(simulation, frame.destination, frame.vlan);
        // A host that captures on all its interfaces sees what it forwards twice.
        let from = from.filter(|_| frame.is_outgoing != Some(true));
        let to = to.filter(|_| frame.is_outgoing != Some(false));
        if from.is_some() && from == to { Sides::default() } else { Sides { from, to } }
    }

    fn zone(
        &mut self,
        simulation: &Simulation,
        address: IpAddr,
        vlan: Option<u16>,
    ) -> Option<usize> {
        if self.known.len() >= ADDRESSES {
            self.known.clear();
        }
        let on = self.on.as_deref();
        *self.known.entry((address, vlan)).or_insert_with(|| find(simulation, address, vlan, on))
    }
}

fn find(
    simulation: &Simulation,
    address: IpAddr,
    vlan: Option<u16>,
    on: Option<&str>,
) -> Option<usize> {
    // A resolver among the clients' addresses is the gateway, wherever the capture is looked at: one on the
    // clients' own network is reached without it.
    let roles = simulation.policy().servers.get(&address.into()).copied().unwrap_or_default();
    if simulation.tables.own_addresses.contains(&address.into()) || roles & SERVER_RESOLVER != 0 {
        return None;
    }
    let is_meant = |zone: &SimulatedZone| {
        on.is_none_or(|on| on == zone.place() || on == zone.interface)
            && vlan.is_none_or(|vlan| zone.vlan() == vlan || zone.vlan() == 0)
    };
    let mut zones = simulation.zones.iter().enumerate().filter(|(_, zone)| is_meant(zone));
    let member = |zone: &SimulatedZone| simulation.member_at(zone, address).is_some();
    let found = zones.clone().find(|(_, zone)| member(zone));
    found.or_else(|| zones.find(|(_, zone)| simulation.leads_to(zone, address))).map(|(at, _)| at)
}
