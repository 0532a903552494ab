//! Zones and the gateway's own addresses: what the maps hold of the machine, not of the policy.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use anyhow::{Context as _, Result};
use aya::maps::{Array, HashMap, MapData};
use intune_filter_ebpf::abi::{UNTAGGED, V6, ZoneKey};

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
        let (mut zones, present) = self.zones()?;
        for (segment, zone) in &present {
            if wanted.get(segment).is_some_and(|number| number != zone) {
                zones.insert(*segment, NOWHERE)?;
            }
        }
        Ok(())
    }

    /// Makes exactly these the zones. Flows of a number that meant another segment until now end.
    pub fn set_zones(&self, wanted: &Segments) -> Result<()> {
        let (mut zones, present) = self.zones()?;
        let taken: Vec<u32> = wanted
            .iter()
            .filter(|(segment, number)| present.get(segment) != Some(number))
            .map(|(_, number)| *number)
            .collect();
        self.end_flows_of_zones(&taken)?;
        for (segment, number) in wanted {
            if present.get(segment) != Some(number) {
                zones.insert(*segment, *number)?;
            }
        }
        for segment in present.keys().filter(|segment| !wanted.contains_key(segment)) {
            zones.remove(*segment)?;
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

    fn zones(&self) -> Result<(Zones, Segments)> {
        let pins = self.pins();
        let present =
            pins.zones()?.into_iter().map(|(key, zone)| ((key.ifindex, key.vlan), zone)).collect();
        Ok((Zones { all: pins.map("ZONES")?, untagged: pins.map("UNTAGGED")? }, present))
    }
}

/// The map of all zones, and the array of those without a tag, which is quicker to look into. What
/// the array has is what the map has, at every moment: where it has nothing, programs look there.
struct Zones {
    all: HashMap<MapData, ZoneKey, u32>,
    untagged: Array<MapData, u32>,
}

impl Zones {
    fn insert(&mut self, segment: Segment, zone: u32) -> Result<()> {
        self.forget_untagged(segment)?;
        self.all.insert(key(segment), zone, 0).context("cannot change ZONES")?;
        self.set_untagged(segment, zone + 1)
    }

    fn remove(&mut self, segment: Segment) -> Result<()> {
        self.forget_untagged(segment)?;
        self.all.remove(&key(segment)).context("cannot change ZONES")
    }

    fn forget_untagged(&mut self, segment: Segment) -> Result<()> {
        self.set_untagged(segment, 0)
    }

    fn set_untagged(&mut self, (ifindex, vlan): Segment, value: u32) -> Result<()> {
        if vlan != 0 || ifindex as usize >= UNTAGGED {
            return Ok(());
        }
        self.untagged.set(ifindex, value, 0).context("cannot change UNTAGGED")
    }
}

const fn key((ifindex, vlan): Segment) -> ZoneKey {
    ZoneKey { ifindex, vlan }
}
