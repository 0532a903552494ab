//! Finds the device of the gateway's stack behind a zone, the addresses of each device, and the devices
//! by which resolvers' answers come in.

use std::net::IpAddr;

use intune_filter_ebpf::abi::DEVICE_LAYER3;

use super::wanted::EnforcedInterface;
use crate::{
    config::Resolver,
    kernel::{Devices, OwnAddresses, ResolverDevices, Senders},
    system::netlink::Snapshot,
};

/// Returns the devices of the zones of existing interfaces, marked as `ZONE_DEVICES` has them, and the
/// devices from which the stack forwards
/// packets of each zone: its own, a stacked one that takes packets from it, and a bridge's port.
pub(crate) fn devices_and_senders(
    wanted: &[EnforcedInterface],
    snapshot: &Snapshot,
) -> (Devices, Senders) {
    let devices = devices_of(wanted, snapshot);
    let mut senders = Senders::new();
    for (zone, device) in &devices {
        senders.insert((*device, *zone));
        let upon = snapshot.upon.iter().filter(|(_, below)| *below == device);
        senders.extend(upon.map(|(upon, _)| (*upon, *zone)));
    }
    for wanted in wanted {
        let Some(port) = snapshot.interface(&wanted.name) else { continue };
        if snapshot.wholes.contains_key(&port.index) {
            senders.extend(wanted.zones.iter().map(|(_, zone)| (port.index, *zone)));
        }
    }
    let layer3 = |device| if snapshot.is_layer3(device) { DEVICE_LAYER3 } else { 0 };
    let marked = devices.into_iter().map(|(zone, device)| (zone, device | layer3(device)));
    (marked.collect(), senders)
}

/// Returns the devices of the zones of existing interfaces.
pub(crate) fn devices_of(wanted: &[EnforcedInterface], snapshot: &Snapshot) -> Devices {
    let mut devices = Devices::new();
    for wanted in wanted {
        let Some(interface) = snapshot.interface(&wanted.name) else { continue };
        for (vlan, zone) in &wanted.zones {
            let device = device_of(snapshot, interface.index, *vlan);
            devices.extend(device.map(|device| (*zone, device)));
        }
    }
    devices
}

/// Returns the device from which the stack receives the packets of an interface and VLAN.
pub(crate) fn device_of(snapshot: &Snapshot, interface: u32, vlan: u16) -> Option<u32> {
    let whole = whole(snapshot, interface);
    match vlan {
        0 => Some(whole),
        _ => vlan_device(snapshot, &[whole, interface], vlan),
    }
}

/// Returns the device from which the stack receives the packets of an interface.
pub(super) fn whole(snapshot: &Snapshot, interface: u32) -> u32 {
    snapshot.wholes_of(interface).last().unwrap_or(interface)
}

/// Returns the device from which the stack receives packets with a VLAN tag.
fn vlan_device(snapshot: &Snapshot, parents: &[u32], vlan: u16) -> Option<u32> {
    parents.iter().find_map(|parent| {
        let mut devices = snapshot.vlan_devices.iter();
        let (device, _) = devices.find(|(_, of)| **of == (*parent, vlan))?;
        Some(whole(snapshot, *device))
    })
}

/// Returns the gateway's addresses and their devices. An address on a stacked device counts for the
/// device below too: the virtual address that several routers share is on such a device.
pub(crate) fn own_addresses(snapshot: &Snapshot) -> OwnAddresses {
    let on = |(device, network): &(u32, ipnet::IpNet)| {
        let below = snapshot.upon.get(device).copied();
        let devices = std::iter::once(*device).chain(below);
        let address: IpAddr = network.addr();
        devices.map(move |device| (device, address)).collect::<Vec<_>>()
    };
    snapshot.networks.iter().flat_map(on).collect()
}

/// Returns the existing devices by which the answers of resolvers come in whose configuration names
/// them. The stack receives a member's packets from the whole; a bridge hands on what it switches to a
/// filtered port as the other port's, and what it routes there may be any port's.
pub(crate) fn resolver_devices(
    resolvers: &[Resolver],
    wanted: &[EnforcedInterface],
    snapshot: &Snapshot,
) -> ResolverDevices {
    let filtered: Vec<u32> = wanted
        .iter()
        .filter_map(|wanted| Some(snapshot.interface(&wanted.name)?.index))
        .filter(|index| snapshot.wholes.contains_key(index))
        .map(|index| whole(snapshot, index))
        .collect();
    let of = |resolver: &Resolver| {
        let interfaces = resolver.via.iter().filter_map(|name| snapshot.interface(name));
        let devices = interfaces.map(|interface| {
            let whole = whole(snapshot, interface.index);
            if filtered.contains(&whole) { interface.index } else { whole }
        });
        devices.map(|device| (device, resolver.address)).collect::<Vec<_>>()
    };
    resolvers.iter().flat_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::Interface;

    fn wanted(name: &str, zones: &[(u16, u32)]) -> EnforcedInterface {
        EnforcedInterface::bare(name, zones)
    }

    fn snapshot() -> Snapshot {
        let interface = |(name, index)| Interface::bare(name, index);
        let names = [("eth1", 2), ("eth2", 3), ("eth3", 4), ("br0", 9)];
        Snapshot {
            interfaces: names.map(interface).to_vec(),
            networks: [(2, "10.0.0.1/24"), (9, "10.9.0.1/24"), (30, "10.0.0.254/32")]
                .map(|(index, network)| (index, network.parse().unwrap()))
                .to_vec(),
            vlan_devices: [(20, (2, 20)), (21, (2, 21)), (22, (8, 22))].into(),
            // A VLAN device in a bridge, an interface in a bond, and that bond in a bridge.
            wholes: [(21, 10), (3, 8), (8, 9)].into(),
            upon: [(30, 2)].into(),
            ..Snapshot::default()
        }
    }

    #[test]
    fn a_zones_device_is_what_the_stack_has_its_packets_from() {
        let wanted = [
            wanted("eth1", &[(0, 1), (20, 2), (21, 3), (99, 4)]),
            wanted("eth2", &[(0, 5)]),
            wanted("br0", &[(0, 6)]),
            wanted("eth9", &[(0, 7)]),
        ];
        let devices = devices_of(&wanted, &snapshot());
        assert_eq!(devices, [(1, 2), (2, 20), (3, 10), (5, 9), (6, 9)].into());
        let (same, senders) = devices_and_senders(&wanted, &snapshot());
        let expected = [(2, 1), (30, 1), (20, 2), (10, 3), (9, 5), (3, 5), (9, 6)];
        assert_eq!((same, senders), (devices, expected.into()));
    }

    #[test]
    fn answers_come_by_the_devices_that_are_named() {
        let resolver = |text: &str, via: &[&str]| Resolver {
            address: text.parse().unwrap(),
            via: via.iter().map(ToString::to_string).collect(),
        };
        let resolvers = [
            resolver("192.0.2.1", &["eth1", "eth2", "eth9"]),
            resolver("192.0.2.2", &["br0"]),
            resolver("192.0.2.3", &[]),
        ];
        let expected = [(2, "192.0.2.1"), (9, "192.0.2.1"), (9, "192.0.2.2")];
        let expected = expected.map(|(device, text)| (device, text.parse().unwrap()));
        assert_eq!(resolver_devices(&resolvers, &[], &snapshot()), expected.into());
        // Of a bridge with a filtered port, the port that is named.
        let mut bridged = snapshot();
        bridged.wholes.insert(4, 9);
        let port = [wanted("eth3", &[(0, 1)])];
        let expected = [(2, "192.0.2.1"), (3, "192.0.2.1"), (9, "192.0.2.2")];
        let expected = expected.map(|(device, text)| (device, text.parse().unwrap()));
        assert_eq!(resolver_devices(&resolvers, &port, &bridged), expected.into());
    }

    #[test]
    fn a_virtual_address_is_on_the_device_below_too() {
        let own = own_addresses(&snapshot());
        let expected = [(2, "10.0.0.1"), (9, "10.9.0.1"), (30, "10.0.0.254"), (2, "10.0.0.254")];
        let expected = expected.map(|(device, text)| (device, text.parse().unwrap()));
        assert_eq!(own, expected.into());
    }
}
