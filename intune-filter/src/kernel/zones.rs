//! Keeps the maps of zones, their devices and the gateway's own addresses, which depend on the
//! machine rather than the policy.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use anyhow::{Context as _, Result};
use aya::maps::{Array, HashMap, MapData};
use intune_filter_ebpf::abi::{IFINDEX_ZONE, OwnKey, V6, ZONE_ELEMENTS, ZoneKey};

use super::{Kernel, array::set_elements};

/// Interface index and VLAN id: a [`ZoneKey`] with an order.
pub type Attachment = (u32, u32);

/// Zone numbers by attachment.
pub type ZoneMap = BTreeMap<Attachment, u32>;

/// Index of the device from which the stack receives a zone's packets, by zone number; with the bit
/// [`intune_filter_ebpf::abi::DEVICE_LAYER3`].
pub type Devices = BTreeMap<u32, u32>;

/// Addresses of the gateway, each with the index of a device that has it.
pub type OwnAddresses = BTreeSet<(u32, IpAddr)>;

/// Zone in which no policy has clients: configured zones count from 1.
const NOWHERE: u32 = 0;

impl Kernel {
    /// Moves attachments whose zone is about to change its number to a zone without clients, so that
    /// no packet is ever judged by another zone's number.
    ///
    /// # Errors
    /// A map cannot be read or written.
    pub fn park_zones(&self, wanted: &ZoneMap) -> Result<()> {
        let (mut zones, present) = self.zones()?;
        for (attachment, zone) in &present {
            if wanted.get(attachment).is_some_and(|number| number != zone) {
                zones.insert(*attachment, NOWHERE)?;
            }
        }
        Ok(())
    }

    /// Makes exactly these the zones. Flows of a number that meant another attachment until now end.
    ///
    /// # Errors
    /// A map cannot be read or written.
    pub fn set_zones(&self, wanted: &ZoneMap) -> Result<()> {
        let (mut zones, present) = self.zones()?;
        let taken: Vec<u32> = wanted
            .iter()
            .filter(|(attachment, number)| present.get(attachment) != Some(number))
            .map(|(_, number)| *number)
            .collect();
        self.end_flows_of_zones(&taken)?;
        self.forget_devices(&taken)?;
        self.forget_senders(&taken)?;
        for (attachment, number) in wanted {
            if present.get(attachment) != Some(number) {
                zones.insert(*attachment, *number)?;
            }
        }
        for attachment in present.keys().filter(|attachment| !wanted.contains_key(attachment)) {
            zones.remove(*attachment)?;
        }
        Ok(())
    }

    /// Makes exactly these the zones' devices.
    ///
    /// # Errors
    /// A map cannot be read or written.
    pub fn set_devices(&self, wanted: &Devices) -> Result<()> {
        let device = |zone| (zone, wanted.get(&zone).copied().unwrap_or_default());
        set_elements(&self.pins(), "ZONE_DEVICES", (0..ZONE_ELEMENTS as u32).map(device))
    }

    /// Clears zones' devices. Without a device, a packet's source is not checked against the
    /// routes.
    fn forget_devices(&self, zones: &[u32]) -> Result<()> {
        let mut map: Array<MapData, u32> = self.pins().map("ZONE_DEVICES")?;
        for zone in zones.iter().filter(|zone| (**zone as usize) < ZONE_ELEMENTS) {
            map.set(*zone, 0, 0).context("cannot change ZONE_DEVICES")?;
        }
        Ok(())
    }

    /// Makes exactly these the gateway's own addresses.
    ///
    /// # Errors
    /// A map cannot be read or written.
    pub fn set_own_addresses(&self, wanted: &OwnAddresses) -> Result<()> {
        let key = |(device, address): &(u32, IpAddr)| OwnKey {
            device: *device,
            address: V6::from(*address),
        };
        let on_devices: BTreeSet<OwnKey> = wanted.iter().map(key).collect();
        let pins = self.pins();
        let mut map: HashMap<MapData, OwnKey, u32> = pins.map("OWN_ON_DEVICE")?;
        let elements = pins.elements::<OwnKey, u32>("OWN_ON_DEVICE")?;
        let present: BTreeSet<OwnKey> = elements.into_iter().map(|(key, _)| key).collect();
        // A removed address leaves both maps in turn: in between it counts as an address on no
        // device.
        for key in present.difference(&on_devices) {
            map.remove(key).context("cannot change OWN_ON_DEVICE")?;
        }
        for key in on_devices.difference(&present) {
            map.insert(*key, 1, 0).context("cannot change OWN_ON_DEVICE")?;
        }
        self.set_addresses(&wanted.iter().map(|(_, address)| *address).collect())
    }

    fn set_addresses(&self, wanted: &BTreeSet<IpAddr>) -> Result<()> {
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

    fn zones(&self) -> Result<(Zones, ZoneMap)> {
        let pins = self.pins();
        let present =
            pins.zones()?.into_iter().map(|(key, zone)| ((key.ifindex, key.vlan), zone)).collect();
        Ok((Zones { all: pins.map("ZONES")?, untagged: pins.map("IFINDEX_ZONE")? }, present))
    }
}

/// Map of all zones, and the array of untagged ones, which is faster to look up. A filled element
/// of the array agrees with the map at any time; for an empty one, programs look in the map.
struct Zones {
    all: HashMap<MapData, ZoneKey, u32>,
    untagged: Array<MapData, u32>,
}

impl Zones {
    fn insert(&mut self, attachment: Attachment, zone: u32) -> Result<()> {
        self.forget_untagged(attachment)?;
        self.all.insert(key(attachment), zone, 0).context("cannot change ZONES")?;
        self.set_untagged(attachment, zone + 1)
    }

    fn remove(&mut self, attachment: Attachment) -> Result<()> {
        self.forget_untagged(attachment)?;
        self.all.remove(&key(attachment)).context("cannot change ZONES")
    }

    fn forget_untagged(&mut self, attachment: Attachment) -> Result<()> {
        self.set_untagged(attachment, 0)
    }

    fn set_untagged(&mut self, (ifindex, vlan): Attachment, value: u32) -> Result<()> {
        if vlan != 0 || ifindex as usize >= IFINDEX_ZONE {
            return Ok(());
        }
        self.untagged.set(ifindex, value, 0).context("cannot change IFINDEX_ZONE")
    }
}

const fn key((ifindex, vlan): Attachment) -> ZoneKey {
    ZoneKey { ifindex, vlan }
}
