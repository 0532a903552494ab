//! Two VLANs of one interface, each a zone: what one may send to the other leaves by its device, and is
//! judged there once, by the zone of its tag.

use std::{net::IpAddr, sync::Arc};

use anyhow::{Result, ensure};
use intune_filter_tests::{
    listeners::Listeners,
    namespace::Namespace,
    network::{CLIENT, LAN, WAN},
    probe::{ProbeResult, Target, probe},
    site::{ANSWER, CONFIG, SILENCE, in_mode, tcp, udp},
};

use crate::wiring::{add_vlans, move_addresses, silence, testbed};

const PEER: [&str; 2] = ["10.22.0.10", "fd00:22::10"];
const PORT: u16 = 7680;
const OTHER: u16 = 631;

fn config(mode: &str) -> String {
    let config = in_mode(CONFIG, mode)
        .replace("    mode:", "    vlans: [20, 30]\n    mode:")
        .replace("  - name: devices\n", "  - name: devices\n    on: eth1.20\n")
        .replace(
            "services: [web, clock, printer]\n",
            "services: [web, clock, printer, peers]\n  - name: others\n    on: eth1.30\n    \
             networks: [10.22.0.0/24, \"fd00:22::/64\"]\n    services: [web]\n",
        );
    format!(
        "{config}  - id: peers\n    title: Peers\n    cidrs: [10.22.0.0/24, \"fd00:22::/64\"]\n    \
         tcp: [{PORT}]\n    udp: [{PORT}]\n"
    )
}

#[test]
#[ignore = "needs 802.1Q"]
fn two_vlans_of_one_interface_reach_what_each_is_allowed() -> Result<()> {
    for mode in ["native", "generic", "tc"] {
        let mut testbed = testbed(config(mode))?;
        let network = &testbed.network;
        silence(network, true)?;
        add_vlans(network, 20)?;
        add_vlans(network, 30)?;
        move_addresses(network, &format!("{WAN}.20"), &format!("{LAN}.20"))?;
        let peer = Arc::new(Namespace::create(&format!("{}-peer", testbed.directory.label()))?);
        network.client.ip(&[format!("link set {WAN}.30 netns {}", peer.name())])?;
        peer.ip(&[
            format!("link set {WAN}.30 up"),
            format!("address add {}/24 dev {WAN}.30", PEER[0]),
            format!("address add {}/64 dev {WAN}.30 nodad", PEER[1]),
            "route add default via 10.22.0.1".to_owned(),
            "route add default via fd00:22::1".to_owned(),
        ])?;
        network.gateway.ip(&[
            format!("address add 10.22.0.1/24 dev {LAN}.30"),
            format!("address add fd00:22::1/64 dev {LAN}.30 nodad"),
        ])?;
        let _listeners = Listeners::start(&peer, [PORT, OTHER], [PORT, OTHER])?;
        let _clients = Listeners::start(&network.client, [PORT], [PORT])?;
        let peers: [IpAddr; 2] = [PEER[0].parse()?, PEER[1].parse()?];
        let found = |from: &Namespace, target: Target, wait| from.run(|| probe(target, wait));
        for (client, address) in CLIENT.into_iter().zip(peers) {
            for (from, target) in
                [(&*network.client, tcp(address, OTHER)), (&*peer, tcp(client, PORT))]
            {
                let found = found(from, target, ANSWER);
                ensure!(found == ProbeResult::Reached, "{mode}: nothing to deny: {found:?}");
            }
        }
        testbed.filter.start()?;
        let network = &testbed.network;
        for (client, address) in CLIENT.into_iter().zip(peers) {
            for target in [tcp(address, PORT), udp(address, PORT)] {
                let before = testbed.filter.counters()?;
                let reached = found(&network.client, target, ANSWER);
                ensure!(reached == ProbeResult::Reached, "{mode}: {target}: {reached:?}");
                let counted = testbed.filter.counters()?.since(&before);
                ensure!(counted.get("from_zone") == 1, "{mode}: {target}: not once: {counted}");
                ensure!(counted.get("unmanaged_vlan") == 0, "{mode}: {target}: {counted}");
            }
            for (from, target) in [
                (&network.client, tcp(address, OTHER)),
                (&network.client, udp(address, OTHER)),
                // The other VLAN's group has no such service.
                (&peer, tcp(client, PORT)),
                (&peer, udp(client, PORT)),
            ] {
                let denied = found(from, target, SILENCE);
                ensure!(denied != ProbeResult::Reached, "{mode}: {target}: {denied:?}");
            }
            let told = testbed.filter.json(&[
                "explain",
                &client.to_string(),
                &tcp(address, PORT).to_string(),
            ])?;
            ensure!(told["arrives"]["zone"] == "eth1.30", "{mode}: {told}");
        }
    }
    Ok(())
}
