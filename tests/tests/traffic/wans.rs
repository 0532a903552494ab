//! Nothing of the filter depends on the WAN: a device without Ethernet headers, as of 4G modems, PPP and
//! WireGuard, and two of them with routes by source and failover.

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use intune_filter_tests::{
    namespace::run,
    network::{LAN, Network, WAN},
    resolver::Kind,
    responder::RESPONDER,
    site::{self, CONFIG, MODES, in_mode, tcp},
    testbed::{Setup, Testbed},
    transfer::{Transfer, echo_on},
    tun::{Tun, TunLink},
};

const PRINTERS: [&str; 2] = ["192.0.2.5", "2001:db8:9100::5"];

/// Port of the service `printer`.
const PORT: u16 = 631;

fn testbed(mode: &str) -> Result<Testbed> {
    let mut setup =
        Setup { config: in_mode(CONFIG, mode), resolver: Kind::Unbound, ..site::setup() };
    setup.tcp.retain(|port| *port != PORT);
    let testbed = Testbed::create(&setup)?;
    echo_on(&testbed, PORT)?;
    Ok(testbed)
}

/// Adds a second way to the internet, a pair of tun devices.
fn add_way(network: &Network) -> Result<TunLink> {
    let ends = [Tun::create(&network.gateway, "wwan0")?, Tun::create(&network.internet, "wwan0")?];
    let link = TunLink::connect(ends)?;
    network.gateway.ip(&[
        "link set wwan0 up",
        "address add 172.32.0.1/30 dev wwan0",
        "address add fd00:32::1/64 dev wwan0 nodad",
    ])?;
    network.internet.ip(&[
        "link set wwan0 up",
        "address add 172.32.0.2/30 dev wwan0",
        "address add fd00:32::2/64 dev wwan0 nodad",
        "route add 172.32.0.0/30 dev wwan0 table local",
        "route add fd00:32::/64 dev wwan0 table local",
    ])?;
    Ok(link)
}

/// Leads both directions by a device: the gateway's default routes, and the internet's to the clients.
fn lead_by(network: &Network, device: &str) -> Result<()> {
    let (next4, next6) =
        if device == WAN { ("172.31.0.2", "fd00:31::2") } else { ("172.32.0.2", "fd00:32::2") };
    let (back4, back6) =
        if device == WAN { ("172.31.0.1", "fd00:31::1") } else { ("172.32.0.1", "fd00:32::1") };
    network.gateway.ip(&[
        format!("route replace default via {next4} dev {device}"),
        format!("route replace ::/0 via {next6} dev {device}"),
    ])?;
    network.internet.ip(&[
        format!("route replace 10.20.0.0/24 via {back4} dev {device} table local"),
        format!("route replace fd00:20::/64 via {back6} dev {device} table local"),
    ])
}

/// Names of the resolver beyond are answered and learned from.
fn expect_learned(testbed: &Testbed, number: usize) -> Result<()> {
    for (family, resolver) in RESPONDER.into_iter().enumerate() {
        for address in testbed.resolve_at(resolver, &format!("{}.web.test", number * 2 + family))? {
            testbed.expect_reached(tcp(address, 443))?;
        }
    }
    Ok(())
}

fn transfers(testbed: &Testbed) -> Result<Vec<Transfer>> {
    PRINTERS.iter().map(|printer| Transfer::begin(testbed, printer.parse()?, PORT)).collect()
}

#[test]
fn flows_and_answers_go_on_when_another_way_to_the_internet_takes_over() -> Result<()> {
    for mode in MODES {
        let mut testbed = testbed(mode)?;
        let network = &testbed.network;
        let _way = add_way(network)?;
        testbed.filter.start()?;
        expect_learned(&testbed, 1).context("by Ethernet")?;
        let mut before = transfers(&testbed)?;
        let denied = testbed.filter.counters()?;

        lead_by(&testbed.network, "wwan0")?;
        before
            .iter_mut()
            .try_for_each(Transfer::goes_on)
            .with_context(|| format!("{mode}: over"))?;
        expect_learned(&testbed, 2).with_context(|| format!("{mode}: by the modem"))?;
        let mut after = transfers(&testbed)?;
        lead_by(&testbed.network, WAN)?;
        after.iter_mut().chain(&mut before).try_for_each(Transfer::goes_on)?;
        expect_learned(&testbed, 3).with_context(|| format!("{mode}: back"))?;
        let denied = testbed.filter.counters()?.since(&denied);
        for reason in ["unsolicited", "answer_interface", "source_interface"] {
            ensure!(denied.get(reason) == 0, "{mode}: {denied}");
        }
        testbed.expect_denied(tcp("192.0.2.80".parse()?, 443))?;
    }
    Ok(())
}

/// Clients go by one way, the gateway itself by the other.
#[test]
fn routes_by_source_lead_clients_another_way_than_the_gateway() -> Result<()> {
    for mode in MODES {
        let mut testbed = testbed(mode)?;
        let _way = add_way(&testbed.network)?;
        lead_by(&testbed.network, "wwan0")?;
        let gateway = Arc::clone(&testbed.network.gateway);
        gateway.ip(&[
            "route replace default via 172.31.0.2 dev eth0",
            "route replace ::/0 via fd00:31::2 dev eth0",
            "route add default via 172.32.0.2 dev wwan0 table 77",
            "route add ::/0 via fd00:32::2 dev wwan0 table 77",
            "rule add from 10.20.0.0/24 lookup 77 priority 100",
        ])?;
        let mut rule = gateway.command("ip");
        rule.args(["-6", "rule", "add", "from", "fd00:20::/64", "lookup", "77", "priority", "100"]);
        run(&mut rule)?;
        // The clients' own network stays in the main table.
        gateway.ip(&[
            format!("route add 10.20.0.0/24 dev {LAN} table 77"),
            format!("route add fd00:20::/64 dev {LAN} table 77"),
        ])?;
        testbed.filter.start()?;
        expect_learned(&testbed, 1).with_context(|| mode.to_owned())?;
        transfers(&testbed)?.iter_mut().try_for_each(Transfer::goes_on)?;
        let counters = testbed.filter.counters()?;
        for reason in ["unsolicited", "answer_interface", "source_interface"] {
            ensure!(counters.get(reason) == 0, "{mode}: {counters}");
        }
        testbed.expect_denied(tcp("192.0.2.80".parse()?, 443))?;
    }
    Ok(())
}
