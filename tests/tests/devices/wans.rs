//! Nothing of the filter depends on the WAN: sessions of PPPoE, which end and are dialled again, and
//! WireGuard.

use std::net::Ipv4Addr;

use anyhow::{Context as _, Result, ensure};
use intune_filter_tests::{
    counters::Counters,
    network::WAN,
    ppp::{Concentrator, PppEnd, PppoeSession},
    site::{MODES, tcp},
    testbed::Testbed,
    transfer::Transfer,
    way::{self, expect_learned, lead_by},
    wireguard::{self, WireGuardEnd},
};

/// Octets of a PPPoE session's largest packet.
const LARGEST: usize = 1492;
/// Octets of the headers of an echo, by family.
const HEADERS: [usize; 2] = [28, 48];

/// No packet was denied for what only the WAN could have changed.
fn expect_undisturbed(testbed: &Testbed, before: &Counters) -> Result<()> {
    let counted = testbed.filter.counters()?.since(before);
    for reason in ["unsolicited", "answer_interface", "source_interface", "malformed", "ethertype"]
    {
        ensure!(counted.get(reason) == 0, "{reason}: {counted}");
    }
    testbed.expect_denied(tcp("192.0.2.80".parse()?, 443))
}

/// Dials, and leads everything by the session.
fn dial(testbed: &Testbed) -> Result<PppoeSession> {
    let network = &testbed.network;
    let [own, peer] = ends()?;
    let end = PppEnd { namespace: &network.gateway, name: way::DEVICE, address: own };
    let session = PppoeSession::dial(end, WAN, peer)?;
    way::address6(network)?;
    lead_by(network, way::DEVICE)?;
    Ok(session)
}

fn ends() -> Result<[Ipv4Addr; 2]> {
    let [own, peer] = way::ENDS.map(str::parse);
    Ok([own?, peer?])
}

/// An echo request that may not be cut into pieces, and what `ping` says of it.
fn ping(testbed: &Testbed, to: &str, length: usize) -> Result<String> {
    let mut ping = testbed.network.client.command("ping");
    ping.args(["-n", "-M", "do", "-c", "1", "-W", "5", "-s", &length.to_string(), to]);
    let output = ping.output().context("cannot run ping")?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr))
}

#[test]
#[ignore = "needs PPPoE"]
fn a_wan_of_pppoe_is_dialled_again_amid_transfers() -> Result<()> {
    for mode in MODES {
        over_pppoe(mode).with_context(|| format!("in {mode} mode"))?;
    }
    Ok(())
}

fn over_pppoe(mode: &str) -> Result<()> {
    let mut testbed = way::testbed(mode)?;
    let [own, peer] = ends()?;
    let end = PppEnd { namespace: &testbed.network.internet, name: way::DEVICE, address: peer };
    let _concentrator = Concentrator::start(&testbed.directory, end, WAN, own)?;
    let session = dial(&testbed)?;
    testbed.filter.start()?;
    let before = testbed.filter.counters()?;
    expect_learned(&testbed, 1)?;
    let mut transfers = way::transfers(&testbed)?;
    for (to, headers) in way::PRINTERS.into_iter().zip(HEADERS) {
        let said = ping(&testbed, to, LARGEST - headers)?;
        ensure!(said.contains("1 received"), "{to}: {said}");
        // What the gateway says of a longer one reaches the client.
        let said = ping(&testbed, to, 1500 - headers)?;
        ensure!(said.replace(' ', "").contains("mtu=1492"), "{to}: {said}");
    }

    session.hang_up()?;
    let _session = dial(&testbed)?;
    transfers.iter_mut().try_for_each(Transfer::goes_on).context("dialled again")?;
    expect_learned(&testbed, 2).context("dialled again")?;
    expect_undisturbed(&testbed, &before)
}

#[test]
#[ignore = "needs WireGuard"]
fn a_wan_of_wireguard_is_one_like_any_other() -> Result<()> {
    for mode in MODES {
        over_wireguard(mode).with_context(|| format!("in {mode} mode"))?;
    }
    Ok(())
}

fn over_wireguard(mode: &str) -> Result<()> {
    let mut testbed = way::testbed(mode)?;
    let network = &testbed.network;
    let end = |namespace, endpoint| WireGuardEnd {
        namespace,
        name: way::DEVICE,
        endpoint,
        allowed: "0.0.0.0/0,::/0",
    };
    wireguard::connect([
        end(&network.gateway, "172.31.0.1"),
        end(&network.internet, "172.31.0.2"),
    ])?;
    way::address4(network)?;
    way::address6(network)?;
    testbed.filter.start()?;
    let before = testbed.filter.counters()?;
    expect_learned(&testbed, 1).context("by Ethernet")?;
    let mut transfers = way::transfers(&testbed)?;
    lead_by(&testbed.network, way::DEVICE)?;
    transfers.iter_mut().try_for_each(Transfer::goes_on).context("over the tunnel")?;
    expect_learned(&testbed, 2).context("over the tunnel")?;
    way::transfers(&testbed)?.iter_mut().try_for_each(Transfer::goes_on)?;
    // The tunnel did carry them.
    let carried =
        testbed.network.gateway.command("wg").args(["show", way::DEVICE, "transfer"]).output()?;
    let carried = String::from_utf8_lossy(&carried.stdout).into_owned();
    let most = carried.split_whitespace().filter_map(|word| word.parse::<u64>().ok()).min();
    ensure!(most > Some(1 << 20), "hardly anything went through the tunnel: {carried}");
    expect_undisturbed(&testbed, &before)
}
