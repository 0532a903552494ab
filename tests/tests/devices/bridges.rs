//! A bridge as the filtered interface: what it hands to the gateway is judged, what it switches
//! between its ports is not.

use std::{net::IpAddr, sync::Arc};

use anyhow::{Result, ensure};
use intune_filter_tests::{
    listeners::Listeners,
    namespace::Namespace,
    network::{CLIENT, GATEWAY, LAN, WAN},
    probe::{ProbeResult, Target, probe},
    site::{ANSWER, CONFIG, SILENCE, tcp, udp},
    testbed::{FOREIGN_PORT, Testbed},
};

use crate::{
    frames::Frames,
    wiring::{add_vlan, move_addresses, silence, testbed},
};

const BRIDGE: &str = "br0";
/// The gateway's port to the neighbour.
const PORT: &str = "eth2";
const NEIGHBOUR: [&str; 2] = ["10.20.0.11", "fd00:20::11"];

/// Destinations that the policy denies to all clients.
fn foreign() -> [IpAddr; 2] {
    ["192.0.2.80", "2001:db8:80::1"].map(|address| address.parse().expect("an address"))
}
fn printer() -> [IpAddr; 2] {
    ["192.0.2.5", "2001:db8:9100::5"].map(|address| address.parse().expect("an address"))
}

/// A testbed whose client and a neighbour are on ports of one bridge of the gateway's.
struct Bridged {
    _listeners: Listeners,
    neighbour: Arc<Namespace>,
    testbed: Testbed,
}

fn bridged() -> Result<Bridged> {
    let testbed = testbed(CONFIG.replace(LAN, BRIDGE))?;
    let network = &testbed.network;
    let neighbour = Namespace::create(&format!("{}-neighbour", testbed.directory.label()))?;
    network.gateway.ip(&[
        // An address of its own: it would otherwise change with the ports.
        format!("link add {BRIDGE} address 02:00:00:00:00:b0 type bridge"),
        format!("link set {BRIDGE} up"),
        format!(
            "link add {PORT} index 31 type veth peer {WAN} index 32 netns {}",
            neighbour.name()
        ),
    ])?;
    add_port(&network.gateway, LAN)?;
    add_port(&network.gateway, PORT)?;
    move_addresses(network, WAN, BRIDGE)?;
    neighbour.ip(&[
        format!("link set {WAN} up"),
        format!("address add {}/24 dev {WAN}", NEIGHBOUR[0]),
        format!("address add {}/64 dev {WAN} nodad", NEIGHBOUR[1]),
        format!("route add default via {}", GATEWAY[0]),
        format!("route add default via {}", GATEWAY[1]),
    ])?;
    let listeners = Listeners::start(&neighbour, [FOREIGN_PORT], [])?;
    // Without the filter everything is reached, by both.
    testbed.expect_reached(tcp(foreign()[0], 443))?;
    expect(&neighbour, udp(foreign()[1], 5000), true)?;
    Ok(Bridged { _listeners: listeners, neighbour: Arc::new(neighbour), testbed })
}

fn add_port(gateway: &Namespace, port: &str) -> Result<()> {
    gateway.ip(&[format!("link set {port} master {BRIDGE}"), format!("link set {port} up")])
}

/// Checks whether something is reached from a namespace.
fn expect(from: &Namespace, target: Target, reached: bool) -> Result<()> {
    let outcome = from.run(|| probe(target, if reached { ANSWER } else { SILENCE }));
    let as_expected = match outcome {
        ProbeResult::Reached => reached,
        ProbeResult::Refused | ProbeResult::Silent => !reached,
        ProbeResult::Failed(_) => false,
    };
    ensure!(as_expected, "{target} from {}: {outcome:?}", from.name());
    Ok(())
}

#[test]
#[ignore = "needs bridges"]
fn what_a_bridge_hands_to_the_gateway_is_judged() -> Result<()> {
    let mut bridged = bridged()?;
    bridged.testbed.filter.start()?;
    bridged.testbed.expect_verdicts()?;
    for family in 0..2 {
        expect(&bridged.neighbour, tcp(printer()[family], 631), true)?;
        expect(&bridged.neighbour, tcp(foreign()[family], 443), false)?;
    }
    let counters = bridged.testbed.filter.counters()?;
    ensure!(counters.get("unmanaged_vlan") == 0, "without a zone: {counters}");
    Ok(())
}

#[test]
#[ignore = "needs bridges"]
fn what_is_switched_between_its_ports_is_not_judged() -> Result<()> {
    let mut bridged = bridged()?;
    bridged.testbed.filter.start()?;
    let before = bridged.testbed.filter.counters()?;
    for address in NEIGHBOUR {
        bridged.testbed.expect_reached(tcp(address.parse()?, FOREIGN_PORT))?;
    }
    let counted = bridged.testbed.filter.counters()?.since(&before);
    ensure!(counted.denials().is_empty() && counted.get("policy") == 0, "judged: {counted}");
    Ok(())
}

/// The kernel routes what is sent to any of the ports' own addresses, too.
#[test]
#[ignore = "needs bridges"]
fn what_is_sent_to_a_ports_own_address_is_judged() -> Result<()> {
    let mut bridged = bridged()?;
    let network = &bridged.testbed.network;
    // Of the port that it comes in on: at another it is for somebody else.
    let address = link_address(&network.gateway, LAN)?;
    for gateway in GATEWAY {
        let neighbour = format!("neigh replace {gateway} lladdr {address} dev {WAN} nud permanent");
        network.client.ip(&[neighbour])?;
    }
    for address in foreign() {
        bridged.testbed.expect_reached(tcp(address, 443))?;
    }
    bridged.testbed.filter.start()?;
    for family in 0..2 {
        bridged.testbed.expect_reached(tcp(printer()[family], 631))?;
        bridged.testbed.expect_denied(tcp(foreign()[family], 443))?;
    }
    Ok(())
}

fn link_address(namespace: &Namespace, interface: &str) -> Result<String> {
    let mut command = std::process::Command::new("ip");
    command.args(["-json", "-netns", namespace.name(), "link", "show", interface]);
    let links = intune_filter_tests::namespace::run(&mut command)?;
    let links: serde_json::Value = serde_json::from_str(&links)?;
    Ok(links[0]["address"].as_str().unwrap_or_default().to_owned())
}

#[test]
#[ignore = "needs bridges"]
fn ports_join_and_leave_without_a_daemon() -> Result<()> {
    let mut bridged = bridged()?;
    bridged.testbed.filter.start()?;
    bridged.testbed.filter.kill()?;
    let gateway = Arc::clone(&bridged.testbed.network.gateway);
    gateway.ip(&[format!("link set {PORT} nomaster")])?;
    expect(&bridged.neighbour, tcp(printer()[0], 631), false)?;
    add_port(&gateway, PORT)?;
    for family in 0..2 {
        expect(&bridged.neighbour, tcp(printer()[family], 631), true)?;
        expect(&bridged.neighbour, tcp(foreign()[family], 443), false)?;
        bridged.testbed.expect_reached(tcp(printer()[family], 631))?;
        bridged.testbed.expect_denied(tcp(foreign()[family], 443))?;
    }
    Ok(())
}

#[test]
#[ignore = "needs bridges"]
fn nobody_outside_reaches_a_client_behind_a_bridge() -> Result<()> {
    let mut bridged = bridged()?;
    let targets = [CLIENT[0], CLIENT[1], NEIGHBOUR[0].parse()?, NEIGHBOUR[1].parse()?];
    let _listeners = Listeners::start(&bridged.testbed.network.client, [FOREIGN_PORT], [])?;
    for (filtered, expected) in [(false, ProbeResult::Reached), (true, ProbeResult::Silent)] {
        if filtered {
            bridged.testbed.filter.start()?;
        }
        let timeout = if filtered { SILENCE } else { ANSWER };
        for address in targets {
            let outside = || probe(tcp(address, FOREIGN_PORT), timeout);
            let found = bridged.testbed.network.internet.run(outside);
            ensure!(found == expected, "{address}, filtered {filtered}: {found:?}");
        }
    }
    Ok(())
}

/// The kernel has taken a frame's tag off before a bridge hands it on: XDP would take it for one
/// without, of no zone.
#[test]
#[ignore = "needs bridges and 802.1Q"]
fn a_bridges_vlans_are_refused_at_xdp_and_judged_at_tc() -> Result<()> {
    let mut bridged = bridged()?;
    let testbed = &mut bridged.testbed;
    silence(&testbed.network, true)?;
    add_vlan(&testbed.network.client, WAN, "eth0.20", 20)?;
    add_vlan(&testbed.network.gateway, BRIDGE, "br0.20", 20)?;
    move_addresses(&testbed.network, "eth0.20", "br0.20")?;
    testbed.network.gateway.ip(&[format!("address flush dev {BRIDGE} scope global")])?;
    testbed.expect_reached(tcp(foreign()[0], 443))?;

    let config = |mode: &str| {
        let interface = format!("  - name: {BRIDGE}\n    mode: {mode}\n    vlans: [20]\n");
        CONFIG.replace("  - name: eth1\n", &interface)
    };
    testbed.filter.configure(&config("auto"))?;
    let (code, output) = testbed.filter.fail_to_start()?;
    ensure!(code == Some(1), "expected exit code 1, got {code:?}: {output}");
    for word in [BRIDGE, "VLAN tags", "mode: tc"] {
        ensure!(output.contains(word), "does not name {word}: {output}");
    }
    testbed.filter.configure(&config("tc"))?;
    testbed.filter.start()?;
    testbed.expect_verdicts()
}

/// Bridges tell each other of loops in frames of LLC, which have a length for an EtherType.
#[test]
#[ignore = "needs bridges"]
fn spanning_tree_passes_a_filtered_port_in_both_directions() -> Result<()> {
    const TO_BRIDGES: [u8; 6] = [0x01, 0x80, 0xc2, 0, 0, 0];
    const FROM_CLIENT: [u8; 6] = [0x02, 0, 0, 0, 0, 0x99];

    let mut testbed = testbed(CONFIG.to_owned())?;
    testbed.filter.start()?;
    let network = &testbed.network;
    let (client, port) = (Frames::on(&network.client, WAN)?, Frames::on(&network.gateway, LAN)?);
    network.gateway.ip(&[
        format!("link add {BRIDGE} type bridge stp_state 1 hello_time 100"),
        format!("link set {LAN} master {BRIDGE}"),
        format!("link set {BRIDGE} up"),
    ])?;
    let from = |frame: &[u8], is_client| {
        frame.starts_with(&TO_BRIDGES) && (frame.get(6..12) == Some(&FROM_CLIENT)) == is_client
    };
    client.wait_for("the gateway's BPDU", |frame| from(frame, false))?;

    // IEEE 802.1D clause 9.3.1: LLC, then a configuration BPDU, all zero: the best root there is.
    let mut frame = [&TO_BRIDGES[..], &FROM_CLIENT, &[0, 38, 0x42, 0x42, 0x03]].concat();
    frame.resize(60, 0);
    client.send(&frame)?;
    port.wait_for("the client's BPDU", |frame| from(frame, true))?;
    let counters = testbed.filter.counters()?;
    ensure!(counters.get("link") >= 2 && counters.get("ethertype") == 0, "{counters}");
    Ok(())
}
