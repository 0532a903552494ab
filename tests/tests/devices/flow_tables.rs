//! Flow tables of nftables: one in software forwards nothing that the filter has not judged, unless its
//! device is below the filtered interface.

use std::{fs, net::IpAddr};

use anyhow::{Context as _, Result, ensure};
use intune_filter_tests::{
    namespace::{Namespace, run},
    network::LAN,
    site::{self, CONFIG, MODES, WEB, eventually, in_mode, tcp, udp},
    testbed::{FOREIGN_PORT, Setup, Testbed},
    transfer::{CHUNK, Transfer, echo_on},
};

/// The printer's port, and a remote of its network.
const PORT: u16 = 631;
const PRINTERS: [&str; 2] = ["192.0.2.5", "2001:db8:9100::5"];
/// A remote of no service.
const FOREIGN: &str = "192.0.2.80";
/// Octets of the largest packet that several are put together to.
const LARGEST: u64 = 64 << 10;

/// Has the gateway forward what passes between these devices by a flow table.
fn forward_fast(gateway: &Namespace, devices: &str) -> Result<()> {
    let rules = format!(
        "table inet fast {{ flowtable f {{ hook ingress priority 0; devices = {{ {devices} }}; }}; \
         chain forward {{ type filter hook forward priority 0; meta l4proto {{ tcp, udp }} flow add @f; \
         }}; }}"
    );
    run(gateway.command("nft").arg(rules))?;
    // By itself a connection is taken out that says nothing while a slow computer loads the programs.
    for protocol in ["tcp", "udp"] {
        gateway.sysctl(&format!("netfilter/nf_flowtable_{protocol}_timeout"), "3600")?;
    }
    Ok(())
}

/// Connections to the port that the flow table has.
fn fast(gateway: &Namespace) -> Result<usize> {
    // procfs shows the namespace of the thread that opens the file.
    let all = gateway.run(|| fs::read_to_string("/proc/thread-self/net/nf_conntrack"))?;
    let is_fast =
        |line: &&str| line.contains("[OFFLOAD]") && line.contains(&format!("dport={PORT} "));
    Ok(all.lines().filter(is_fast).count())
}

fn testbed(config: String) -> Result<Testbed> {
    let mut setup = Setup { config, ..site::setup() };
    setup.tcp.retain(|port| *port != PORT);
    let testbed = Testbed::create(&setup)?;
    echo_on(&testbed, PORT)?;
    Ok(testbed)
}

#[test]
#[ignore = "needs flow tables"]
fn what_a_flow_table_forwards_was_judged_in_each_mode() -> Result<()> {
    for mode in MODES {
        judged(mode).with_context(|| format!("in {mode} mode"))?;
    }
    Ok(())
}

fn judged(mode: &str) -> Result<()> {
    let config = in_mode(CONFIG, mode);
    let mut testbed = testbed(config.clone())?;
    forward_fast(&testbed.network.gateway, &format!("eth0, {LAN}"))?;
    let in_table = |number| {
        eventually(&format!("the flow table has {number} connections"), || {
            Ok(fast(&testbed.network.gateway)? == number)
        })
    };
    let mut unlisted = Transfer::begin(&testbed, FOREIGN.parse()?, PORT)?;
    in_table(1)?;
    let checked = testbed.filter.run(&["check"])?;
    ensure!(checked.status.success(), "{checked:?}");
    testbed.filter.start()?;
    unlisted.has_ended().context("one that the flow table had before the filter came")?;

    let printers: Vec<IpAddr> = PRINTERS.iter().flat_map(|text| text.parse()).collect();
    let mut transfers = Vec::new();
    for printer in printers {
        transfers.push(Transfer::begin(&testbed, printer, PORT)?);
    }
    in_table(3)?;
    let before = testbed.filter.counters()?;
    for transfer in &mut transfers {
        transfer.goes_on()?;
    }
    // In both directions, and not the acknowledgements alone.
    let seen = testbed.filter.counters()?.since(&before).get("flow");
    ensure!(seen >= 2 * 2 * CHUNK as u64 / LARGEST, "{seen} packets were judged");
    for web in testbed.resolve(WEB[0])? {
        testbed.expect_reached(tcp(web, 443))?;
        testbed.expect_reached(udp(web, 443))?;
        testbed.expect_denied(tcp(web, FOREIGN_PORT))?;
    }
    testbed.expect_denied(tcp(FOREIGN.parse()?, 443))?;

    let without = config.replace("cidrs: [192.0.2.0/28, ", "cidrs: [");
    testbed.filter.configure(&without)?;
    let applied = testbed.filter.json(&["apply"])?;
    ensure!(applied["flows_ended"].as_u64() >= Some(1), "{applied}");
    let [ended, kept] = &mut transfers[..] else { unreachable!("two were begun") };
    ended.has_ended()?;
    kept.goes_on()
}

#[test]
#[ignore = "needs flow tables, bridges and 802.1Q"]
fn a_flow_table_below_a_filtered_bridge_or_vlan_device_is_named() -> Result<()> {
    let testbed = testbed(CONFIG.to_owned())?;
    let gateway = &testbed.network.gateway;
    gateway.ip(&[
        "link add port0 type veth peer name port1",
        "link add br0 type bridge",
        "link set port0 master br0",
        "link add link port1 name port1.20 type vlan id 20",
    ])?;
    forward_fast(gateway, "port0, port1")?;
    for (interface, below) in [("br0", "port0"), ("port1.20", "port1")] {
        testbed.filter.configure(&CONFIG.replace(LAN, interface))?;
        let checked = testbed.filter.run(&["check"])?;
        let said = String::from_utf8_lossy(&checked.stderr).into_owned();
        ensure!(!checked.status.success(), "{interface}: {said}");
        let message =
            format!("takes the packets of {below} before they reach {interface} and the filter");
        ensure!(said.contains(&message), "{interface}: {said}");
    }
    Ok(())
}
