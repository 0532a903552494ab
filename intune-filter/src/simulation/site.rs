//! Lays the zones of a configuration out: on this machine, if it is the gateway, or on a machine of which
//! nothing is known.

use std::{collections::HashMap, net::IpAddr};

use anyhow::Result;
use intune_filter_ebpf::{
    abi::{DEVICE_LAYER3, DeviceZone, OwnKey, ResolverDevice},
    host::Tables,
};

use super::zone::{SimulatedZone, key_of};
use crate::{
    config::{ClientGroup, Config},
    daemon::{
        interfaces::devices::{devices_and_senders, own_addresses, resolver_devices},
        setup,
    },
    kernel::{Pins, named_snapshot, sender_elements},
    policy::Policy,
    system::netlink::{self, Snapshot},
};

/// Index of the first interface that does not exist, far from those of interfaces that do.
const IMAGINED: u32 = 1 << 30;

/// Machine that a configuration is meant for.
#[derive(Clone, Debug)]
pub(crate) enum Site<'a> {
    /// This machine, which filters.
    Here(&'a Pins),
    /// A machine of which nothing is known.
    Elsewhere,
}

impl Site<'_> {
    /// Writes the site into tables, and returns the zones.
    pub(super) fn lay_out(
        &self,
        config: &Config,
        policy: &Policy,
        tables: &mut Tables,
    ) -> Result<Vec<SimulatedZone>> {
        let snapshot = match self {
            Self::Here(pins) => {
                let snapshot = named_snapshot(pins.directory(), &config.interface_names())?;
                write_site(config, policy, &snapshot, tables);
                snapshot
            }
            Self::Elsewhere if config.clients.iter().any(ClientGroup::is_on_link) => {
                let snapshot = netlink::snapshot()?;
                write_site(config, policy, &snapshot, tables);
                snapshot
            }
            Self::Elsewhere => Snapshot::default(),
        };
        let imagined: Vec<&str> = config.interface_names();
        let index = |name: &str| match snapshot.interface(name) {
            Some(interface) => interface.index,
            None => {
                let at = imagined.iter().position(|one| *one == name).unwrap_or_default();
                IMAGINED + u32::try_from(at).unwrap_or_default()
            }
        };
        let mut zones = Vec::new();
        for zone in &policy.zones {
            let (key, number) = (key_of(index(&zone.interface), zone.vlan), zone.number as u16);
            let known = tables.devices.get(&number).map(|device| device & !DEVICE_LAYER3);
            let device = known.unwrap_or(IMAGINED + (1 << 16) + zone.number);
            tables.zones.insert(key, zone.number);
            if known.is_none() {
                let key = DeviceZone { device, nth: 0 };
                tables.device_zones.borrow_mut().insert(key, zone.number);
            }
            zones.push(SimulatedZone { number, key, interface: zone.interface.clone(), device });
        }
        Ok(zones)
    }
}

/// Writes devices, senders and addresses as the daemon does.
fn write_site(config: &Config, policy: &Policy, snapshot: &Snapshot, tables: &mut Tables) {
    let wanted = setup::wanted(config, policy);
    let (devices, senders) = devices_and_senders(&wanted, snapshot);
    tables.devices = devices.into_iter().map(|(zone, device)| (zone as u16, device)).collect();
    tables.device_zones = sender_elements(&senders).into_iter().collect::<HashMap<_, _>>().into();
    let own = own_addresses(snapshot);
    tables.own_addresses = own.iter().map(|(_, address)| IpAddr::into(*address)).collect();
    let on =
        |(device, address): &(u32, IpAddr)| OwnKey { device: *device, address: (*address).into() };
    tables.own_on_device = own.iter().map(on).collect();
    let resolvers = resolver_devices(&config.dns.resolvers, &wanted, snapshot).into_iter();
    let resolvers =
        resolvers.map(|(device, to)| (ResolverDevice { device, resolver: to.into() }, 1));
    tables.resolver_devices = resolvers.collect::<HashMap<_, _>>().into();
}
