//! Interfaces change under the filter: they are renamed, swapped, moved away and back, replaced, or
//! become a bridge's port. No frame passes unjudged with `boot: closed`, and soon all is judged again.

use std::{sync::Arc, time::Instant};

use anyhow::{Context as _, Result, ensure};
use intune_filter_tests::{
    namespace::Namespace,
    network::{CLIENT, GATEWAY, LAN, WAN},
    pins,
    site::{self, CONFIG, eventually, in_mode, tcp},
    testbed::{Setup, Testbed},
    unjudged::{expect_judged, nothing_passes_unjudged},
};
use serde_json::Value;

use crate::gate::remake_link;

fn config(mode: &str) -> String {
    format!("{}boot: closed\n", in_mode(CONFIG, mode))
}

fn testbed(mode: &str) -> Result<Testbed> {
    let mut testbed = Testbed::create(&Setup { config: config(mode), ..site::setup() })?;
    without_native(&mut testbed);
    testbed.filter.start()?;
    expect_judged(&testbed)?;
    Ok(testbed)
}

/// Has `auto` judge in generic mode: a veth device that goes down takes its native program off before
/// it empties its queue, and what is there passes without it.
fn without_native(testbed: &mut Testbed) {
    testbed.leave_client_bare();
}

/// Renames the gateway's interface, which loses its IPv6 address on kernels that rename what is down
/// alone.
fn rename(gateway: &Namespace, from: &str, to: &str) -> Result<()> {
    gateway.ip(&[
        format!("link set {from} down"),
        format!("link set {from} name {to}"),
        format!("link set {to} up"),
        format!("address replace {}/64 dev {to} nodad", GATEWAY[1]),
    ])
}

fn status(testbed: &Testbed) -> Result<Value> {
    testbed.filter.json(&["status"])
}

/// Waits until `status` warns in words that begin so.
fn await_warning(testbed: &Testbed, words: &str) -> Result<()> {
    eventually(words, || {
        let status = status(testbed)?;
        let warnings = status["warnings"].as_array().context("a list")?;
        Ok(warnings.iter().any(|one| one.as_str().is_some_and(|one| one.starts_with(words))))
    })
}

#[test]
fn a_renamed_interface_goes_on_being_judged_and_its_pins_follow_the_configuration() -> Result<()> {
    for mode in ["auto", "tc"] {
        let mut testbed = testbed(mode)?;
        let links = pins::ids(&testbed.filter.pins(), "links")?;
        let gateway = Arc::clone(&testbed.network.gateway);
        nothing_passes_unjudged(&mut testbed, |_| rename(&gateway, LAN, "lan9"))?;
        await_warning(&testbed, "eth1 is called lan9 now, and goes on being judged")?;
        let told = testbed.filter.succeed(&["check"])?;
        ensure!(
            told.contains("eth1 is called lan9 now") && !told.contains("does not exist"),
            "{told}"
        );
        ensure!(pins::ids(&testbed.filter.pins(), "links")? == links, "other links");
        // Its settings are those of its present name.
        gateway.sysctl("ipv6/conf/lan9/accept_ra", "2")?;
        await_warning(&testbed, "the gateway takes router advertisements on lan9")?;
        gateway.sysctl("ipv6/conf/lan9/accept_ra", "0")?;

        // The next daemon finds it as well.
        nothing_passes_unjudged(&mut testbed, |testbed| {
            testbed.filter.kill()?;
            testbed.filter.start()
        })?;
        ensure!(pins::ids(&testbed.filter.pins(), "links")? == links, "other links");

        // The configuration takes the name up, and the links stay.
        let renamed = config(mode).replace("name: eth1", "name: lan9").replace("[eth1", "[lan9");
        nothing_passes_unjudged(&mut testbed, |testbed| {
            testbed.filter.configure(&renamed)?;
            testbed.filter.succeed(&["reload"]).map(drop)
        })?;
        let now = pins::ids(&testbed.filter.pins(), "links")?;
        ensure!(now.values().eq(links.values()), "{now:?} in place of {links:?}");
        ensure!(now.keys().all(|path| path.to_string_lossy().contains("lan9")), "{now:?}");
        let status = status(&testbed)?;
        let mut warnings = status["warnings"].as_array().into_iter().flatten();
        let is_of_mode =
            |one: &Value| one.as_str().is_some_and(|one| one.contains("judged in generic mode"));
        ensure!(warnings.all(is_of_mode), "{status}");
        testbed.filter.succeed(&["detach"])?;
    }
    Ok(())
}

#[test]
fn a_renamed_interface_is_let_go_by_detach() -> Result<()> {
    for mode in ["auto", "tc"] {
        let mut testbed = testbed(mode)?;
        let gateway = Arc::clone(&testbed.network.gateway);
        gateway.ip(&["link add eth8 type veth peer eth9"])?;
        rename(&gateway, LAN, "lan9")?;
        testbed.filter.kill()?;
        // Another has its name.
        gateway.ip(&[format!("link set eth8 name {LAN}")])?;
        testbed.filter.succeed(&["detach"])?;
        testbed.expect_reached(tcp("192.0.2.80".parse()?, 443))?;
        // Nothing is in the way of the next start.
        let named = config(mode).replace("name: eth1", "name: lan9").replace("[eth1", "[lan9");
        testbed.filter.configure(&named)?;
        testbed.filter.start()?;
        expect_judged(&testbed)?;
    }
    Ok(())
}

#[test]
fn two_interfaces_that_change_names_are_judged_by_their_names() -> Result<()> {
    let both = config("auto").replace("  - name: eth1\n", "  - name: eth1\n  - name: eth2\n");
    let mut testbed = Testbed::create(&Setup { config: both, ..site::setup() })?;
    without_native(&mut testbed);
    let gateway = Arc::clone(&testbed.network.gateway);
    gateway.ip(&["link add eth2 type veth peer eth3", "link set eth2 up", "link set eth3 up"])?;
    testbed.filter.start()?;
    expect_judged(&testbed)?;
    let before = gateway.ifindex(LAN)?;
    nothing_passes_unjudged(&mut testbed, |_| {
        gateway.ip(&[
            "link set eth1 down",
            "link set eth2 down",
            "link set eth1 name other",
            "link set eth2 name eth1",
            "link set other name eth2",
            "link set eth1 up",
            "link set eth2 up",
            &format!("address replace {}/64 dev eth2 nodad", GATEWAY[1]),
        ])
    })?;
    ensure!(gateway.ifindex("eth2")? == before, "the names were not changed");
    eventually("both are attached", || {
        let status = status(&testbed)?;
        let interfaces = status["interfaces"].as_array().context("a list")?;
        Ok(interfaces.len() == 2 && interfaces.iter().all(|one| one["attached"] == true))
    })
}

#[test]
fn an_interface_that_leaves_its_namespace_and_returns_is_judged_again() -> Result<()> {
    for mode in ["auto", "tc"] {
        let mut testbed = testbed(mode)?;
        let gateway = Arc::clone(&testbed.network.gateway);
        let elsewhere = Namespace::create(&format!("{}-elsewhere", gateway.name()))?;
        // A filter goes with its qdisc when the interface leaves, and who attached it is dead.
        let stays = mode != "tc" || pins::has_tcx()?;
        for dead in [false, true].into_iter().filter(|dead| !dead || stays) {
            if dead {
                // While the mode of XDP changes, TC judges: where a filter does that, it would be lost.
                // Once the daemon has seen the interface back, nothing changes any more.
                testbed.filter.succeed(&["reload"])?;
                let interface = &status(&testbed)?["interfaces"][0];
                ensure!(
                    interface["attached"] == true && (interface["mode"] == "tc") == (mode == "tc"),
                    "{interface}"
                );
                testbed.filter.kill()?;
            }
            nothing_passes_unjudged(&mut testbed, |_| {
                for _ in 0..5 {
                    gateway.ip(&[format!("link set {LAN} netns {}", elsewhere.name())])?;
                    elsewhere.ip(&[format!("link set {LAN} netns {}", gateway.name())])?;
                    gateway.ip(&[
                        format!("link set {LAN} up"),
                        format!("address replace {}/24 dev {LAN}", GATEWAY[0]),
                        format!("address replace {}/64 dev {LAN} nodad", GATEWAY[1]),
                    ])?;
                }
                Ok(())
            })
            .with_context(|| format!("{mode}, dead: {dead}, {}", testbed.filter.output()))?;
        }
    }
    Ok(())
}

/// Waits until `status` tells of an interface that was judged and is the configuration's no more.
fn await_stray(testbed: &Testbed, words: &str) -> Result<()> {
    let since = Instant::now();
    eventually(words, || {
        let status = status(testbed)?;
        let problems = status["problems"].as_array().context("a list")?;
        let is_it = |one: &Value| one["text"].as_str().is_some_and(|text| text.contains(words));
        Ok(problems.iter().any(|one| one["code"] == "interface_stray" && is_it(one)))
    })?;
    println!("named after {} ms", since.elapsed().as_millis());
    let told = testbed.filter.succeed(&["check"])?;
    ensure!(told.contains(words.split(" as ").next().unwrap_or(words)), "{told}");
    Ok(())
}

fn has_stray(testbed: &Testbed) -> Result<bool> {
    let status = status(testbed)?;
    let problems = status["problems"].as_array().into_iter().flatten();
    Ok(problems.into_iter().any(|one| one["code"] == "interface_stray"))
}

#[test]
fn an_interface_whose_name_another_takes_is_held_back_until_it_is_named() -> Result<()> {
    for mode in ["auto", "tc"] {
        let mut testbed = testbed(mode)?;
        let gateway = Arc::clone(&testbed.network.gateway);
        gateway.ip(&["link add eth8 type veth peer eth9", "link set eth9 up"])?;
        nothing_passes_unjudged(&mut testbed, |testbed| {
            rename(&gateway, LAN, "lan9")?;
            gateway.ip(&[format!("link set eth8 name {LAN}"), format!("link set {LAN} up")])?;
            await_stray(testbed, "lan9 was judged as eth1 and is the configuration's no more")?;
            testbed.expect_denied(tcp("192.0.2.5".parse()?, 631))?;
            // The next daemon knows it too.
            testbed.filter.kill()?;
            testbed.filter.start()?;
            await_stray(testbed, "lan9 was judged and is the configuration's no more")?;
            testbed.expect_denied(tcp("192.0.2.5".parse()?, 631))?;
            let named = config(mode).replace("name: eth1", "name: lan9").replace("[eth1", "[lan9");
            testbed.filter.configure(&named)?;
            testbed.filter.succeed(&["reload"]).map(drop)
        })
        .with_context(|| format!("{mode}: {}", testbed.filter.output()))?;
        eventually("nothing is held back", || Ok(!has_stray(&testbed)?))?;
    }
    Ok(())
}

#[test]
fn an_interface_that_returns_under_another_name_is_held_back_until_it_has_its_own() -> Result<()> {
    let mut testbed = testbed("auto")?;
    let gateway = Arc::clone(&testbed.network.gateway);
    let elsewhere = Namespace::create(&format!("{}-elsewhere", gateway.name()))?;
    nothing_passes_unjudged(&mut testbed, |testbed| {
        gateway.ip(&[format!("link set {LAN} netns {}", elsewhere.name())])?;
        eventually("it is missed", || {
            Ok(status(testbed)?["daemon"]["missing_interfaces"][0] == LAN)
        })?;
        elsewhere.ip(&[
            format!("link set {LAN} name lan9"),
            format!("link set lan9 netns {}", gateway.name()),
        ])?;
        gateway.ip(&[
            "link set lan9 up".to_owned(),
            format!("address replace {}/24 dev lan9", GATEWAY[0]),
            format!("address replace {}/64 dev lan9 nodad", GATEWAY[1]),
        ])?;
        await_stray(testbed, "lan9 was judged as eth1 and is the configuration's no more")?;
        testbed.expect_denied(tcp("192.0.2.5".parse()?, 631))?;
        rename(&gateway, "lan9", LAN)
    })?;
    eventually("nothing is held back", || Ok(!has_stray(&testbed)?))
}

/// While no daemon runs, programs stay on their interfaces, whatever these are called.
#[test]
fn status_without_a_daemon_tells_what_is_judged_by_whatever_name() -> Result<()> {
    let both = config("auto").replace("  - name: eth1\n", "  - name: eth1\n  - name: eth2\n");
    let mut testbed = Testbed::create(&Setup { config: both, ..site::setup() })?;
    let gateway = Arc::clone(&testbed.network.gateway);
    gateway.ip(&["link add eth2 type veth peer eth3", "link set eth2 up", "link set eth3 up"])?;
    testbed.filter.start()?;
    eventually("both are attached", || Ok(attached(&testbed)? == ["eth1", "eth2"]))?;
    testbed.filter.kill()?;
    gateway.ip(&[
        "link set eth1 down",
        "link set eth2 down",
        "link set eth1 name other",
        "link set eth2 name eth1",
        "link set other name eth2",
        "link set eth1 up",
        "link set eth2 up",
    ])?;
    ensure!(attached(&testbed)? == ["eth1", "eth2"], "{}", status(&testbed)?);
    await_warning(&testbed, "eth1 is judged as eth2, as it was called when a daemon ran")?;
    await_warning(&testbed, "eth2 is judged as eth1, as it was called when a daemon ran")?;
    // And where another has the name.
    gateway.ip(&[
        "link set eth2 down",
        "link set eth2 name lan9",
        "link set lan9 up",
        "link add eth2 type veth peer eth4",
    ])?;
    ensure!(attached(&testbed)? == ["eth1", "lan9"], "{}", status(&testbed)?);
    await_warning(&testbed, "lan9 is judged as eth1")
}

/// Names of the interfaces that are attached, as `status` tells them.
fn attached(testbed: &Testbed) -> Result<Vec<String>> {
    let status = status(testbed)?;
    let interfaces = status["interfaces"].as_array().context("a list")?;
    let attached = interfaces.iter().filter(|one| one["attached"] == true);
    Ok(attached.filter_map(|one| one["name"].as_str().map(str::to_owned)).collect())
}

#[test]
fn a_replaced_interface_is_judged_again() -> Result<()> {
    let mut testbed = testbed("auto")?;
    nothing_passes_unjudged(&mut testbed, |testbed| remake_link(&testbed.network))
}

#[test]
fn an_interface_that_becomes_a_port_is_judged_there_and_named() -> Result<()> {
    let mut testbed = testbed("auto")?;
    let gateway = Arc::clone(&testbed.network.gateway);
    nothing_passes_unjudged(&mut testbed, |_| {
        gateway.ip(&[
            "link add br0 type bridge".to_owned(),
            format!("link set {LAN} master br0"),
            format!("address flush dev {LAN} scope global"),
            "link set br0 up".to_owned(),
            format!("address add {}/24 dev br0", GATEWAY[0]),
            format!("address add {}/64 dev br0 nodad", GATEWAY[1]),
        ])
    })?;
    await_warning(&testbed, "eth1 is a member of br0: ")?;
    // And another in its place, while no daemon runs: the bridge's packets wait for one.
    testbed.filter.kill()?;
    nothing_passes_unjudged(&mut testbed, |testbed| {
        let client = testbed.network.client.name().to_owned();
        gateway.ip(&[
            format!("link delete {LAN}"),
            format!("link add {LAN} index 111 type veth peer {WAN} index 112 netns {client}"),
            format!("link set {LAN} up"),
        ])?;
        testbed.network.client.ip(&[
            format!("link set {WAN} up"),
            format!("address add {}/24 dev {WAN}", CLIENT[0]),
            format!("address add {}/64 dev {WAN} nodad", CLIENT[1]),
            format!("route replace default via {}", GATEWAY[0]),
            format!("route replace default via {}", GATEWAY[1]),
        ])?;
        testbed.filter.start()?;
        gateway.ip(&[format!("link set {LAN} master br0")])
    })
}
