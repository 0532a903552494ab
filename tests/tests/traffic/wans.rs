//! Nothing of the filter depends on the WAN: a device without Ethernet headers, as of 4G modems, PPP and
//! WireGuard, and two of them with routes by source and failover.

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use intune_filter_tests::{
    namespace::run,
    network::{LAN, WAN},
    site::{MODES, tcp},
    transfer::Transfer,
    way::{self, expect_learned, lead_by},
};

#[test]
fn flows_and_answers_go_on_when_another_way_to_the_internet_takes_over() -> Result<()> {
    for mode in MODES {
        let mut testbed = way::testbed(mode)?;
        let network = &testbed.network;
        let _way = way::by_tun(network)?;
        testbed.filter.start()?;
        expect_learned(&testbed, 1).context("by Ethernet")?;
        let mut before = way::transfers(&testbed)?;
        let denied = testbed.filter.counters()?;

        lead_by(&testbed.network, way::DEVICE)?;
        before
            .iter_mut()
            .try_for_each(Transfer::goes_on)
            .with_context(|| format!("{mode}: over"))?;
        expect_learned(&testbed, 2).with_context(|| format!("{mode}: by the modem"))?;
        let mut after = way::transfers(&testbed)?;
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
        let mut testbed = way::testbed(mode)?;
        let _way = way::by_tun(&testbed.network)?;
        lead_by(&testbed.network, way::DEVICE)?;
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
        way::transfers(&testbed)?.iter_mut().try_for_each(Transfer::goes_on)?;
        let counters = testbed.filter.counters()?;
        for reason in ["unsolicited", "answer_interface", "source_interface"] {
            ensure!(counters.get(reason) == 0, "{mode}: {counters}");
        }
        testbed.expect_denied(tcp("192.0.2.80".parse()?, 443))?;
    }
    Ok(())
}
