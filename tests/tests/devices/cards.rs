//! Network cards: those that take VLAN tags off. The virtual machine has two of each model, on one wire.

use std::{
    fs,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use anyhow::{Context as _, Result, ensure};
use intune_filter_tests::{
    namespace::{Namespace, run},
    network::{GATEWAY, LAN, WAN},
    probe::probe,
    site::{CONFIG, SILENCE, eventually, tcp},
    testbed::Testbed,
    unjudged::{expect_judged, nothing_passes_unjudged},
};
use serde_json::Value;

use crate::wiring::{add_vlan, move_addresses, silence, testbed};

/// Addresses of the machine's cards that take tags off; `cargo xtask` gives the cards their addresses.
const CARDS: [&str; 2] = ["52:54:00:00:00:0a", "52:54:00:00:00:0b"];

/// Addresses of those that have native XDP on every kernel.
pub const WITH_XDP: [&str; 2] = ["52:54:00:00:01:0a", "52:54:00:00:01:0b"];

/// Addresses of those that have it on none.
pub const WITHOUT_XDP: [&str; 2] = ["52:54:00:00:02:0a", "52:54:00:00:02:0b"];

/// A testbed whose client and gateway are joined by cards; they are one pair, for one at a time.
struct Joined {
    testbed: Testbed,
    /// Address of the gateway's card on its bus.
    bus_address: String,
    _turn: MutexGuard<'static, ()>,
}

fn joined(config: &str) -> Result<Joined> {
    static TURN: Mutex<()> = Mutex::new(());

    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let testbed = testbed(config.to_owned())?;
    let network = &testbed.network;
    network.gateway.ip(&[format!("link delete {LAN}")])?;
    let mut bus_address = String::new();
    for (card, namespace, name) in
        [(CARDS[0], &network.gateway, LAN), (CARDS[1], &network.client, WAN)]
    {
        let found = take_card(card, namespace, name)?;
        if name == LAN {
            bus_address = found;
        }
        // As it came: the one before may have changed it.
        run(namespace.command("ethtool").args(["-K", name, "rx-vlan-offload", "on"]))?;
        namespace.ip(&[format!("link set {name} up")])?;
        add_vlan(namespace, name, &format!("{name}.20"), 20)?;
    }
    silence(network, true)?;
    move_addresses(network, "eth0.20", "eth1.20")?;
    Ok(Joined { testbed, bus_address, _turn: turn })
}

/// Moves a card into a namespace, under a name, once it is back from that of an earlier test. Returns its
/// address on its bus.
pub fn take_card(card: &str, namespace: &Namespace, name: &str) -> Result<String> {
    // A card comes back when the namespace that it was in is gone, on the kernel's own time.
    let mut found = None;
    eventually("the card is here", || {
        found = card_name(card)?;
        Ok(found.is_some())
    })?;
    let found = found.context("it was found")?;
    let device = fs::read_link(format!("/sys/class/net/{found}/device"))?;
    let address = device.file_name().context("a device has an address")?.to_string_lossy();
    let mut ip = std::process::Command::new("ip");
    run(ip.args(["link", "set", &found, "netns", namespace.name(), "name", name]))?;
    Ok(address.into_owned())
}

/// Returns the name that a card has here, if it is here.
pub fn card_name(address: &str) -> Result<Option<String>> {
    let links = run(std::process::Command::new("ip").args(["-json", "link", "show"]))?;
    let links: Value = serde_json::from_str(&links)?;
    let card = links.as_array().into_iter().flatten().find(|link| link["address"] == address);
    Ok(card.and_then(|link| link["ifname"].as_str()).map(str::to_owned))
}

/// Whether the card takes received tags off.
fn strips(gateway: &Namespace) -> Result<bool> {
    let features = run(gateway.command("ethtool").args(["-k", LAN]))?;
    let line = features.lines().find(|line| line.contains("rx-vlan-offload"));
    Ok(line.context("ethtool tells of rx-vlan-offload")?.contains(": on"))
}

const ON_VLAN: &str = "  - name: eth1\n    vlans: [20]\n";

#[test]
#[ignore = "needs cards that take tags off"]
fn a_card_is_kept_from_taking_tags_off() -> Result<()> {
    let mut joined = joined(&CONFIG.replace("  - name: eth1\n", ON_VLAN))?;
    let testbed = &mut joined.testbed;
    ensure!(strips(&testbed.network.gateway)?, "the card takes no tags off: nothing is tested");
    testbed.expect_reached(tcp("192.0.2.80".parse()?, 443))?;
    testbed.filter.start()?;
    ensure!(!strips(&testbed.network.gateway)?, "the card takes tags off");
    testbed.expect_verdicts()?;
    let counters = testbed.filter.counters()?;
    ensure!(counters.get("unmanaged_vlan") == 0, "without a zone: {counters}");
    let Testbed { filter, network, .. } = &mut joined.testbed;

    // Turned on again, while nobody looks: the card does hide tags, and frames are without a zone.
    let offload_on = || {
        let mut ethtool = network.gateway.command("ethtool");
        run(ethtool.args(["-K", LAN, "rx-vlan-offload", "on"]))
    };
    filter.kill()?;
    offload_on()?;
    let before = filter.counters()?;
    let target = tcp("192.0.2.80".parse()?, 443);
    // What the client is answered is judged, and denied: it goes out with its tag.
    network.client.run(|| probe(target, SILENCE));
    let counters = filter.counters()?.since(&before);
    ensure!(counters.get("unmanaged_vlan") > 0, "the card hides nothing: {counters}");

    // The next daemon turns it off, and stays watchful.
    filter.start()?;
    ensure!(!strips(&network.gateway)?, "the card takes tags off");
    offload_on()?;
    eventually("tags are seen again", || Ok(!strips(&network.gateway)?))?;
    joined.testbed.expect_verdicts()
}

/// TC sees the tag beside the frame: the card may go on taking it off.
#[test]
#[ignore = "needs cards that take tags off"]
fn at_tc_a_tag_that_the_card_took_off_gives_the_zone() -> Result<()> {
    let at_tc = format!("{ON_VLAN}    mode: tc\n");
    let mut joined = joined(&CONFIG.replace("  - name: eth1\n", &at_tc))?;
    let testbed = &mut joined.testbed;
    testbed.filter.start()?;
    ensure!(strips(&testbed.network.gateway)?, "the card takes no tags off: nothing is tested");
    testbed.expect_verdicts()?;
    let counters = testbed.filter.counters()?;
    ensure!(counters.get("unmanaged_vlan") == 0, "without a zone: {counters}");
    Ok(())
}

#[test]
#[ignore = "needs cards that take tags off"]
fn a_card_that_may_not_be_changed_is_refused_by_name() -> Result<()> {
    let config = CONFIG.replace("  - name: eth1\n", ON_VLAN);
    let joined = joined(&format!("{config}manage_offloads: false\n"))?;
    let (code, output) = joined.testbed.filter.fail_to_start()?;
    ensure!(code == Some(1), "expected exit code 1, got {code:?}: {output}");
    for word in [LAN, "rx-vlan-offload", "manage_offloads"] {
        ensure!(output.contains(word), "does not name {word}: {output}");
    }
    ensure!(strips(&joined.testbed.network.gateway)?, "it was changed all the same");
    Ok(())
}

#[test]
#[ignore = "needs network cards"]
fn a_driver_that_is_loaded_again_has_its_card_judged_again() -> Result<()> {
    const DRIVER: &str = "/sys/bus/pci/drivers/vmxnet3";

    let config = CONFIG.replace("  - name: eth1\n", ON_VLAN);
    let mut joined = joined(&format!("{config}boot: closed\n"))?;
    joined.testbed.filter.start()?;
    expect_judged(&joined.testbed)?;
    let gateway = Arc::clone(&joined.testbed.network.gateway);
    let bus_address = joined.bus_address.clone();
    nothing_passes_unjudged(&mut joined.testbed, |_| {
        for file in ["unbind", "bind"] {
            fs::write(format!("{DRIVER}/{file}"), &bus_address).context(file)?;
        }
        take_card(CARDS[0], &gateway, LAN)?;
        gateway.ip(&[format!("link set {LAN} up")])?;
        add_vlan(&gateway, LAN, &format!("{LAN}.20"), 20)?;
        gateway.ip(&[
            format!("address add {}/24 dev {LAN}.20", GATEWAY[0]),
            format!("address add {}/64 dev {LAN}.20 nodad", GATEWAY[1]),
        ])
    })?;
    joined.testbed.expect_verdicts()
}
