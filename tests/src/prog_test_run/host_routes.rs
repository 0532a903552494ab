//! The site's routes and neighbours in the host's maps.

use std::net::IpAddr;

use intune_filter_ebpf::{abi::V6, host::Tables};
use ipnet::IpNet;

use super::{
    Addresses,
    datagram::CLIENT_MAC,
    site::{self, LAN, OTHER, VLAN_DEVICE, WAN},
};

/// Routes of the tables' site.
const ROUTES: [(&str, &str); 10] = [
    ("0.0.0.0/0", WAN),
    ("::/0", WAN),
    ("10.20.0.0/16", LAN),
    ("fd00:20::/48", LAN),
    ("10.21.0.0/24", VLAN_DEVICE),
    ("fd00:21::/64", VLAN_DEVICE),
    ("10.22.0.0/24", OTHER),
    ("fd00:22::/64", OTHER),
    ("8.0.20.0/24", LAN),
    ("2001:db8:86dd:20::/64", LAN),
];
/// Adds the routes of the site.
pub(super) fn wire(tables: &mut Tables, index: &impl Fn(&str) -> u32) {
    for (network, device) in ROUTES {
        let network: IpNet = network.parse().expect("a constant");
        let more = if network.addr().is_ipv4() { 96 } else { 0 };
        let address: V6 = network.addr().into();
        let key: Vec<u8> = address.0.iter().flat_map(|word| word.to_ne_bytes()).collect();
        tables.routes.insert(more + u32::from(network.prefix_len()), &key, index(device));
    }
    for (address, _) in site::neighbours() {
        set_neighbour(tables, address, CLIENT_MAC);
    }
    for who in Addresses::both() {
        tables.local_routes.insert(who.gateway_by_route.into(), index(LAN));
        tables.local_routes.insert(who.gateway_link_local.into(), index(LAN));
    }
}

/// Makes this the hardware address of a neighbour.
pub(super) fn set_neighbour(tables: &mut Tables, address: IpAddr, mac: [u8; 6]) {
    let [a, b, c, d, e, f] = mac;
    tables.neighbours.insert(address.into(), u64::from_ne_bytes([a, b, c, d, e, f, 0, 0]));
}
