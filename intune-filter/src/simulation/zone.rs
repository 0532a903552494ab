//! Describes the zones of a simulation.

use anyhow::{Context as _, Result};
use intune_filter_ebpf::{
    abi::{DEVICE_LAYER3, ZoneKey},
    host::Tables,
    verdict::Arrival,
};

use crate::kernel::Pins;

/// Number of the zone of frames with a VLAN tag that no zone has.
pub(super) const NO_ZONE: u16 = 0;

/// Zone: an interface, or one of its VLANs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SimulatedZone {
    /// Number in the maps; [`NO_ZONE`] for a VLAN that no zone has.
    pub number: u16,
    /// Interface index and VLAN id.
    pub key: ZoneKey,
    /// Name of the interface.
    pub interface: String,
    /// Index of the device from which the stack receives the zone's packets.
    pub device: u32,
}

impl SimulatedZone {
    /// Returns the text for people: the interface, or `INTERFACE.VLAN`.
    pub(crate) fn place(&self) -> String {
        match self.key.vlan {
            0 => self.interface.clone(),
            vlan => format!("{}.{vlan}", self.interface),
        }
    }

    /// VLAN id of the zone's frames, 0 without a tag.
    pub(crate) const fn vlan(&self) -> u16 {
        self.key.vlan as u16
    }

    /// Place of a frame of the zone that the stack received from a device.
    pub(super) const fn arrival(&self, came_by: u32) -> Arrival {
        let stripped_tag = if self.vlan() == 0 { None } else { Some(self.vlan()) };
        Arrival { ifindex: self.key.ifindex, stripped_tag, came_by }
    }
}

/// Reads the zones in force; `name` returns an interface's name.
pub(super) fn from_pins(
    pins: &Pins,
    tables: &Tables,
    name: impl Fn(u32) -> String,
) -> Result<Vec<SimulatedZone>> {
    let mut zones = Vec::new();
    for (key, number) in pins.zones()? {
        let number = u16::try_from(number).context("a zone's number is too great")?;
        let device =
            tables.devices.get(&number).map_or(key.ifindex, |device| device & !DEVICE_LAYER3);
        zones.push(SimulatedZone { number, key, interface: name(key.ifindex), device });
    }
    zones.sort_by_key(|zone| (zone.number, zone.key.ifindex, zone.key.vlan));
    Ok(zones)
}

/// Returns the key of a zone in the tables.
pub(super) const fn key_of(ifindex: u32, vlan: u16) -> ZoneKey {
    ZoneKey { ifindex, vlan: vlan as u32 }
}
