//! Zones and the gateway's own addresses: what the maps hold of the machine, not of the policy.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use anyhow::{Context as _, Result};
use aya::maps::{HashMap, MapData};
use intune_filter_ebpf::abi::{V6, ZoneKey};

use super::Kernel;

/// An interface's index and a VLAN id: a [`ZoneKey`] with an order.
pub type Segment = (u32, u32);

/// The zone of each segment.
pub type Segments = BTreeMap<Segment, u32>;

/// A zone that no policy has clients in: configured ones count from 1.
const NOWHERE: u32 = 0;

impl Kernel {
    /// Puts segments whose zone is about to change its number into a zone without clients, so that
    /// no packet is ever judged by another zone's number.
    pub fn park_zones(&self, wanted: &Segments) -> Result<()> {
        let (mut map, present) = self.zones()?;
        for (segment, zone) in &present {
            if wanted.get(segment).is_some_and(|number| number != zone) {
                map.insert(key(*segment), NOWHERE, 0).context("cannot change ZONES")?;
            }
        }
        Ok(())
    }

    /// Makes exactly these the zones. Flows of a number that meant another segment until now end.
    pub fn set_zones(&self, wanted: &Segments) -> Result<()> {
        let (mut map, present) = self.zones()?;
        let taken: Vec<u32> = wanted
            .iter()
            .filter(|(segment, number)| present.get(segment) != Some(number))
            .map(|(_, number)| *number)
            .collect();
        self.end_flows_of_zones(&taken)?;
        for (segment, number) in wanted {
            if present.get(segment) != Some(number) {
                map.insert(key(*segment), *number, 0).context("cannot change ZONES")?;
            }
        }
        for segment in present.keys().filter(|segment| !wanted.contains_key(segment)) {
            map.remove(&key(*segment)).context("cannot change ZONES")?;
        }
        Ok(())
    }

    /// Makes exactly these the gateway's own addresses.
    pub fn set_own_addresses(&self, wanted: &BTreeSet<IpAddr>) -> Result<()> {
        let pins = self.pins();
        let mut map: HashMap<MapData, V6, u32> = pins.map("OWN_ADDRESSES")?;
        let present: BTreeSet<IpAddr> = pins
            .elements::<V6, u32>("OWN_ADDRESSES")?
            .into_iter()
            .map(|(address, _)| address.into())
            .collect();
        for address in wanted.difference(&present) {
            map.insert(V6::from(*address), 1, 0).context("cannot change OWN_ADDRESSES")?;
        }
        for address in present.difference(wanted) {
            map.remove(&V6::from(*address)).context("cannot change OWN_ADDRESSES")?;
        }
        Ok(())
    }

    fn zones(&self) -> Result<(HashMap<MapData, ZoneKey, u32>, Segments)> {
        let pins = self.pins();
        let present =
            pins.zones()?.into_iter().map(|(key, zone)| ((key.ifindex, key.vlan), zone)).collect();
        Ok((pins.map("ZONES")?, present))
    }
}

const fn key((ifindex, vlan): Segment) -> ZoneKey {
    ZoneKey { ifindex, vlan }
}
