//! Puts VLANs on the link between client and gateway.

use anyhow::Result;
use intune_filter_tests::{
    namespace::{Namespace, run},
    network::{CLIENT, GATEWAY, LAN, Network, WAN},
    resolver::Kind,
    site,
    testbed::{Setup, Testbed},
};

/// A testbed whose resolver is beyond the gateway: it does not mind where the gateway's
/// addresses are.
pub fn testbed(config: String) -> Result<Testbed> {
    Testbed::create(&Setup { config, resolver: Kind::Unbound, ..site::setup() })
}

/// Moves the client's and the gateway's addresses to a VLAN of their link, which has been made on
/// both as a device of this name.
pub fn move_addresses(network: &Network, client: &str, gateway: &str) -> Result<()> {
    let ([client4, client6], [gateway4, gateway6]) = (CLIENT, GATEWAY);
    network.client.ip(&[format!("address flush dev {WAN} scope global")])?;
    network.gateway.ip(&[format!("address flush dev {LAN} scope global")])?;
    network.client.ip(&[
        format!("address add {client4}/24 dev {client}"),
        format!("address add {client6}/64 dev {client} nodad"),
        format!("route replace default via {gateway4}"),
        format!("route replace default via {gateway6}"),
    ])?;
    network.gateway.ip(&[
        format!("address add {gateway4}/24 dev {gateway}"),
        format!("address add {gateway6}/64 dev {gateway} nodad"),
    ])
}

/// Lets the untagged link between client and gateway say nothing by itself, or again.
pub fn silence(network: &Network, silent: bool) -> Result<()> {
    let value = if silent { "1" } else { "0" };
    network.client.sysctl(&format!("ipv6/conf/{WAN}/disable_ipv6"), value)?;
    network.gateway.sysctl(&format!("ipv6/conf/{LAN}/disable_ipv6"), value)
}

/// Adds a VLAN of `parent`, a device `name` that is up.
pub fn add_vlan(namespace: &Namespace, parent: &str, name: &str, id: u16) -> Result<()> {
    namespace.ip(&[
        format!("link add link {parent} name {name} type vlan id {id}"),
        format!("link set {name} up"),
    ])
}

/// Adds the VLAN to the link's both ends, as `eth0.ID` and `eth1.ID`.
pub fn add_vlans(network: &Network, id: u16) -> Result<()> {
    keep_tags_in_frames(&network.client)?;
    add_vlan(&network.client, WAN, &format!("{WAN}.{id}"), id)?;
    add_vlan(&network.gateway, LAN, &format!("{LAN}.{id}"), id)
}

/// A virtual Ethernet device hands tags over beside the frame, where XDP cannot see them: what a
/// wire would carry, this makes it carry.
pub fn keep_tags_in_frames(client: &Namespace) -> Result<()> {
    let mut ethtool = client.command("ethtool");
    let offloads = ["tx-vlan-offload", "off", "tx-vlan-stag-hw-insert", "off"];
    run(ethtool.args(["-K", WAN]).args(offloads)).map(drop)
}
