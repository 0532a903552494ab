//! Keeps the map of devices from which packets of each zone are forwarded.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result};
use aya::maps::{HashMap, MapData};
use intune_filter_ebpf::abi::{DeviceZone, ZONES_OF_DEVICE};

use super::Kernel;

/// Devices from which the stack receives packets that it forwards, each with a zone that they are of.
pub type Senders = BTreeSet<(u32, u32)>;

/// Elements of `DEVICE_ZONES`.
type Elements = BTreeMap<DeviceZone, u32>;

impl Kernel {
    /// Makes exactly these the devices that zones send from. What other zones were allowed to send
    /// arrives from no other device.
    ///
    /// # Errors
    /// The map cannot be read or written.
    pub fn set_senders(&self, wanted: &Senders) -> Result<()> {
        let (mut map, present) = self.senders()?;
        let wanted = elements(wanted);
        for key in present.keys().filter(|key| !wanted.contains_key(key)) {
            map.remove(key).context("cannot change DEVICE_ZONES")?;
        }
        for (key, zone) in wanted.iter().filter(|(key, zone)| present.get(key) != Some(zone)) {
            map.insert(*key, *zone, 0).context("cannot change DEVICE_ZONES")?;
        }
        Ok(())
    }

    /// Takes the devices of zones away.
    pub(super) fn forget_senders(&self, zones: &[u32]) -> Result<()> {
        let (_, present) = self.senders()?;
        let left = present.iter().filter(|(_, zone)| !zones.contains(zone));
        self.set_senders(&left.map(|(key, zone)| (key.device, *zone)).collect())
    }

    fn senders(&self) -> Result<(HashMap<MapData, DeviceZone, u32>, Elements)> {
        let pins = self.pins();
        let present = pins.elements::<DeviceZone, u32>("DEVICE_ZONES")?.into_iter().collect();
        Ok((pins.map("DEVICE_ZONES")?, present))
    }
}

/// Numbers the zones of each device, as many as the programs look at.
#[must_use]
pub fn elements(senders: &Senders) -> Elements {
    let mut counts: BTreeMap<u32, u32> = BTreeMap::new();
    let mut elements = Elements::new();
    for (device, zone) in senders {
        let nth = counts.entry(*device).or_default();
        if *nth < ZONES_OF_DEVICE {
            elements.insert(DeviceZone { device: *device, nth: *nth }, *zone);
        }
        *nth += 1;
    }
    elements
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_zones_of_a_device_are_counted_without_a_gap() {
        let senders = Senders::from([(7, 3), (7, 1), (9, 3)]);
        let key = |device, nth| DeviceZone { device, nth };
        let expected = Elements::from([(key(7, 0), 1), (key(7, 1), 3), (key(9, 0), 3)]);
        assert_eq!(elements(&senders), expected);
        let many: Senders = (1..=ZONES_OF_DEVICE + 3).map(|zone| (7, zone)).collect();
        assert_eq!(elements(&many).len(), ZONES_OF_DEVICE as usize);
    }
}
