//! Keeps the map of devices by which the answers of some resolvers come in.

use std::{collections::BTreeSet, net::IpAddr};

use anyhow::{Context as _, Result};
use aya::maps::{HashMap, MapData};
use intune_filter_ebpf::abi::{ResolverDevice, V6};

use super::Kernel;

/// Indices of devices, each with a resolver whose answers come in by it.
pub type ResolverDevices = BTreeSet<(u32, IpAddr)>;

impl Kernel {
    /// Adds devices, for a policy that is about to be put into force: the one before loses none.
    ///
    /// # Errors
    /// The map cannot be read or written.
    pub fn add_resolver_devices(&self, wanted: &ResolverDevices) -> Result<()> {
        let (mut map, present) = self.resolver_devices()?;
        for key in keys(wanted).difference(&present) {
            map.insert(*key, 1, 0).context("cannot change RESOLVER_DEVICES")?;
        }
        Ok(())
    }

    /// Makes exactly these the devices.
    ///
    /// # Errors
    /// The map cannot be read or written.
    pub fn set_resolver_devices(&self, wanted: &ResolverDevices) -> Result<()> {
        self.add_resolver_devices(wanted)?;
        let (mut map, present) = self.resolver_devices()?;
        for key in present.difference(&keys(wanted)) {
            map.remove(key).context("cannot change RESOLVER_DEVICES")?;
        }
        Ok(())
    }

    fn resolver_devices(
        &self,
    ) -> Result<(HashMap<MapData, ResolverDevice, u32>, BTreeSet<ResolverDevice>)> {
        let pins = self.pins();
        let elements = pins.elements::<ResolverDevice, u32>("RESOLVER_DEVICES")?;
        let present = elements.into_iter().map(|(key, _)| key).collect();
        Ok((pins.map("RESOLVER_DEVICES")?, present))
    }
}

fn keys(devices: &ResolverDevices) -> BTreeSet<ResolverDevice> {
    let key = |(device, resolver): &(u32, IpAddr)| ResolverDevice {
        device: *device,
        resolver: V6::from(*resolver),
    };
    devices.iter().map(key).collect()
}
