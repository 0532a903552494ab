//! VLAN zones over 802.1Q devices, with real clients.

use std::{net::IpAddr, sync::Arc};

use anyhow::{Context as _, Result, ensure};
use intune_filter_tests::{
    counters::Counters,
    listeners::Listeners,
    network::{CLIENT, GATEWAY, LAN, WAN},
    probe::{ProbeResult, probe},
    prog_test_run::{
        Datagram,
        datagram::{TAG, patched},
    },
    site::{ANSWER, CONFIG, SILENCE, WEB, eventually, tcp, udp},
    testbed::{FOREIGN_PORT, Testbed},
    wire::{Tap, Wire},
};

use crate::wiring::{add_vlan, add_vlans, keep_tags_in_frames, move_addresses, silence, testbed};

/// Destinations that the policy denies to all clients.
const FOREIGN: [&str; 2] = ["192.0.2.80", "2001:db8:80::1"];

fn foreign() -> [IpAddr; 2] {
    FOREIGN.map(|address| address.parse().expect("an address"))
}

/// The site's configuration, judging these VLANs of its interface.
fn config(vlans: &str) -> String {
    CONFIG.replace("  - name: eth1\n", &format!("  - name: eth1\n    vlans: {vlans}\n"))
}

/// A testbed whose client is on VLAN `id`.
fn on_vlan(id: u16, judged: &str) -> Result<Testbed> {
    let testbed = testbed(config(judged))?;
    silence(&testbed.network, true)?;
    add_vlans(&testbed.network, id)?;
    let (client, gateway) = (format!("{WAN}.{id}"), format!("{LAN}.{id}"));
    move_addresses(&testbed.network, &client, &gateway)?;
    // Without the filter everything is reached: what is denied later is the filter's doing.
    testbed.expect_reached(tcp(foreign()[0], 443))?;
    testbed.expect_reached(udp(foreign()[1], 5000))?;
    Ok(testbed)
}

#[test]
#[ignore = "needs 802.1Q"]
fn a_vlan_that_is_named_is_judged() -> Result<()> {
    let mut testbed = on_vlan(20, "[20]")?;
    testbed.filter.start()?;
    testbed.expect_verdicts()?;
    // The tag was seen in both directions: nothing went by without a zone.
    let counters = testbed.filter.counters()?;
    ensure!(counters.get("unmanaged_vlan") == 0, "without a zone: {counters}");
    for reason in ["policy", "flow", "dns_query", "dns_answer", "learned", "destination"] {
        ensure!(counters.get(reason) > 0, "no {reason} among {counters}");
    }
    Ok(())
}

/// What is on-link in a zone is what its VLAN device has, and not the device below.
#[test]
#[ignore = "needs 802.1Q"]
fn what_is_on_link_in_a_vlan_is_that_of_its_device() -> Result<()> {
    let text = config("[0, 20]").replace("[10.20.0.0/24, \"fd00:20::/64\"]", "on-link");
    let other = "  - {name: untagged, on: eth1.0, networks: on-link, services: []}\ndns:\n";
    let text = text.replacen("    networks: on-link", "    on: eth1.20\n    networks: on-link", 1);
    let mut testbed = testbed(text.replacen("dns:\n", other, 1))?;
    add_vlans(&testbed.network, 20)?;
    move_addresses(&testbed.network, &format!("{WAN}.20"), &format!("{LAN}.20"))?;
    testbed.network.gateway.ip(&["address add 10.29.0.1/24 dev eth1"])?;
    testbed.filter.start()?;
    testbed.expect_verdicts()?;
    let status = testbed.filter.json(&["status"])?;
    let told = status["on_link"].as_array().context("a list")?.iter();
    let told: Vec<String> =
        told.map(|one| format!("{} {} {}", one["zone"], one["network"], one["groups"])).collect();
    let expected = [
        r#""eth1" "10.29.0.0/24" ["untagged"]"#,
        r#""eth1.20" "10.20.0.0/24" ["devices"]"#,
        r#""eth1.20" "fd00:20::/64" ["devices"]"#,
    ];
    ensure!(told == expected, "{told:?}");
    // The prefix goes to the untagged zone: on the VLAN its clients are in no group.
    testbed
        .network
        .gateway
        .ip(&["address del 10.20.0.1/24 dev eth1.20", "address add 10.20.0.1/24 dev eth1"])?;
    let before = testbed.filter.counters()?;
    let denied = testbed.network.client.run(|| probe(tcp(foreign()[0], 443), SILENCE));
    ensure!(denied != ProbeResult::Reached, "{denied:?}");
    let since = testbed.filter.counters()?.since(&before);
    ensure!(since.get("unlisted_client") > 0, "{since}");
    Ok(())
}

#[test]
#[ignore = "needs 802.1Q"]
fn nobody_outside_reaches_a_client_on_a_vlan() -> Result<()> {
    let mut testbed = on_vlan(20, "[20]")?;
    let _listeners = Listeners::start(&testbed.network.client, [FOREIGN_PORT], [])?;
    let outside = |timeout| {
        let all = || CLIENT.map(|address| probe(tcp(address, FOREIGN_PORT), timeout));
        testbed.network.internet.run(all)
    };
    ensure!(outside(ANSWER) == [ProbeResult::Reached; 2], "the client does not answer");
    testbed.filter.start()?;
    let found = testbed
        .network
        .internet
        .run(|| CLIENT.map(|address| probe(tcp(address, FOREIGN_PORT), SILENCE)));
    ensure!(found == [ProbeResult::Silent; 2], "{found:?}");
    let counters = testbed.filter.counters()?;
    ensure!(counters.get("unsolicited") >= 2, "{counters}");
    Ok(())
}

#[test]
#[ignore = "needs 802.1Q"]
fn vlans_that_are_not_named_and_untagged_frames_pass_unjudged() -> Result<()> {
    let mut testbed = on_vlan(30, "[20]")?;
    testbed.filter.start()?;
    testbed.expect_reached(tcp(foreign()[0], 443))?;
    testbed.expect_reached(udp(foreign()[1], 5000))?;
    let tagged = testbed.filter.counters()?.since(&Counters::default());
    ensure!(tagged.get("unmanaged_vlan") > 0, "{tagged}");
    ensure!(tagged.denials().is_empty(), "{tagged}");

    move_addresses_back(&testbed)?;
    testbed.expect_reached(tcp(foreign()[0], 443))?;
    let untagged = testbed.filter.counters()?.since(&tagged);
    ensure!(untagged.get("unmanaged_vlan") > 0 && untagged.denials().is_empty(), "{untagged}");
    Ok(())
}

/// A VLAN device of no zone routes unfiltered; `check` names it, and `other_vlans: deny` closes it in
/// both directions, wherever the tag is.
#[test]
#[ignore = "needs 802.1Q"]
fn a_vlan_of_no_zone_is_named_and_denied_if_the_site_says_so() -> Result<()> {
    for hook in ["auto", "tc"] {
        let text = config("[20]").replace("    vlans", &format!("    mode: {hook}\n    vlans"));
        let mut testbed = testbed(text.clone())?;
        silence(&testbed.network, true)?;
        add_vlans(&testbed.network, 30)?;
        move_addresses(&testbed.network, "eth0.30", "eth1.30")?;
        let _listeners = Listeners::start(&testbed.network.client, [FOREIGN_PORT], [])?;
        let outside = |testbed: &Testbed, timeout| {
            let all = || CLIENT.map(|address| probe(tcp(address, FOREIGN_PORT), timeout));
            testbed.network.internet.run(all)
        };
        testbed.filter.start()?;
        testbed.expect_reached(tcp(foreign()[0], 443))?;
        testbed.expect_reached(udp(foreign()[1], 5000))?;
        ensure!(outside(&testbed, ANSWER) == [ProbeResult::Reached; 2], "{hook}: nothing to close");
        let named = "VLAN 30 on eth1 (device eth1.30)";
        let said = testbed.filter.succeed(&["check"])?;
        ensure!(said.contains(&format!("  Foreign tags.\n    devices in {named}\n")), "{said}");
        let said = testbed.filter.succeed(&["status"])?;
        ensure!(said.contains(&format!("{named} is in no zone: its frames pass")), "{said}");
        let client = CLIENT[0].to_string();
        let explained = ["explain", &client, FOREIGN[0], "--on", "eth1.30"];
        let verdict = testbed.filter.json(&explained)?;
        ensure!(verdict["reason"] == "unmanaged_vlan", "{verdict}");

        testbed.filter.configure(&format!("{text}other_vlans: deny\n"))?;
        let told = format!("! {named} is denied: who manages the gateway by it is cut off");
        let preview = testbed.filter.succeed(&["apply", "--dry-run"])?;
        ensure!(preview.contains(&told), "{preview}");
        testbed.expect_reached(tcp(foreign()[0], 443))?;
        let before = testbed.filter.counters()?;
        let applied = testbed.filter.run(&["apply"])?;
        let [out, err] =
            [&applied.stdout, &applied.stderr].map(|text| String::from_utf8_lossy(text));
        ensure!(applied.status.success() && out.contains(&told), "{out}{err}");
        ensure!(err.contains(named) && err.contains("--confirm"), "no warning beforehand: {err}");

        testbed.expect_denied(tcp(foreign()[0], 443))?;
        testbed.expect_denied(udp(foreign()[1], 5000))?;
        ensure!(outside(&testbed, SILENCE) == [ProbeResult::Silent; 2], "{hook}: open to outside");
        let counters = testbed.filter.counters()?.since(&before);
        ensure!(counters.get("other_vlan") >= 4, "{hook}: {counters}");
        let said = testbed.filter.succeed(&["check"])?;
        ensure!(said.contains(&format!("{named} is in no zone: its frames are denied")), "{said}");
        let verdict = testbed.filter.run(&explained)?;
        let verdict = String::from_utf8_lossy(&verdict.stdout).into_owned();
        ensure!(verdict.contains("other_vlan"), "{verdict}");
        let events = testbed.filter.succeed(&["events", "--denied"])?;
        ensure!(events.contains("reason other_vlan  [eth1.30]"), "{events}");
    }
    Ok(())
}

fn move_addresses_back(testbed: &Testbed) -> Result<()> {
    let network = &testbed.network;
    network.client.ip(&[format!("link delete {WAN}.30")])?;
    network.gateway.ip(&[format!("link delete {LAN}.30")])?;
    silence(network, false)?;
    move_addresses(network, WAN, LAN)
}

/// An address that another VLAN was allowed is worth nothing there.
#[test]
#[ignore = "needs 802.1Q"]
fn groups_of_two_vlans_are_kept_apart() -> Result<()> {
    let groups =
        config("[20, 30]").replace("  - name: devices\n", "  - name: devices\n    on: eth1.30\n");
    let mut testbed = testbed(groups)?;
    let network = &testbed.network;
    add_vlans(network, 30)?;
    move_addresses(network, "eth0.30", "eth1.30")?;
    testbed.filter.start()?;
    let web = testbed.resolve(WEB[0])?;
    testbed.expect_reached(tcp(web[0], 443))?;

    // The same addresses, client and server, on VLAN 20, which no group is in.
    let network = &testbed.network;
    network.client.ip(&["link delete eth0.30"])?;
    network.gateway.ip(&["link delete eth1.30"])?;
    add_vlans(network, 20)?;
    move_addresses(network, "eth0.20", "eth1.20")?;
    testbed.expect_denied(tcp(web[0], 443))?;
    testbed.expect_denied(tcp(web[1], 443))?;
    let counters = testbed.filter.counters()?;
    ensure!(counters.get("unlisted_client") > 0, "{counters}");
    Ok(())
}

/// Linux takes priorities off a frame until it finds a VLAN's tag, which may be one that is judged.
#[test]
#[ignore = "needs 802.1Q"]
fn no_vlan_is_reached_behind_a_priority() -> Result<()> {
    let mut testbed = on_vlan(20, "[20]")?;
    let (mac, target) = (testbed.network.lan_address()?, foreign()[0]);
    let wire = testbed.network.client.run(|| Wire::open(WAN))?;
    let tap = testbed.network.internet.run(|| Tap::open(WAN))?;
    let send = |tags: &[u16]| {
        let datagram = Datagram::new(CLIENT[0], target).udp(40_000, 5000, b"hidden");
        let tagged = tags.iter().fold(datagram, |datagram, tag| datagram.tag(TAG, *tag));
        wire.send(&patched(tagged.frame(), 0, &mac))
    };
    let is_it = |frame: &[u8]| frame.ends_with(b"hidden");
    let ways: [&[u16]; 3] = [&[0, 20], &[0xe000, 20], &[0, 0, 20]];
    // The control: without the filter it arrives.
    for tags in ways {
        send(tags)?;
        loop {
            let frame = tap.wait(ANSWER)?;
            if is_it(&frame.with_context(|| format!("{tags:?} does not arrive"))?) {
                break;
            }
        }
    }
    testbed.filter.start()?;
    // What arrived before is of no interest: the echo, and the error of the client, who has no
    // socket for it and quotes it.
    while tap.take()?.is_some() {}
    for (number, tags) in (1..).zip(ways) {
        send(tags)?;
        eventually("the frame is judged", || {
            Ok(testbed.filter.counters()?.get("vlan_tag") == number)
        })?;
    }
    while let Some(frame) = tap.take()? {
        ensure!(!is_it(&frame), "arrived: {frame:02x?}");
    }
    Ok(())
}

/// VLAN id 0 carries a priority and no VLAN (IEEE 802.1Q clause 6.9).
#[test]
#[ignore = "needs 802.1Q"]
fn frames_with_a_priority_alone_are_untagged() -> Result<()> {
    let mut testbed = testbed(CONFIG.to_owned())?;
    let network = &testbed.network;
    keep_tags_in_frames(&network.client)?;
    add_vlan(&network.client, WAN, "priority", 0)?;
    // Frames go out tagged; what comes back is not, and belongs to the plain device: nothing is
    // ever heard of neighbours on the tagged one.
    let mac = |namespace: &intune_filter_tests::namespace::Namespace, interface: &str| {
        let mut command = std::process::Command::new("ip");
        command.args(["-json", "-netns", namespace.name(), "link", "show", interface]);
        let text = intune_filter_tests::namespace::run(&mut command)?;
        let links: serde_json::Value = serde_json::from_str(&text)?;
        anyhow::Ok(links[0]["address"].as_str().unwrap_or_default().to_owned())
    };
    let gateway = mac(&network.gateway, LAN)?;
    for address in GATEWAY {
        network.client.ip(&[
            format!("neigh replace {address} lladdr {gateway} dev priority nud permanent"),
            format!("route add {address} dev priority"),
            format!("route replace default via {address} dev priority"),
        ])?;
    }
    for address in foreign() {
        testbed.expect_reached(tcp(address, 443))?;
    }

    testbed.filter.start()?;
    for (web, foreign) in testbed.resolve(WEB[0])?.into_iter().zip(foreign()) {
        testbed.expect_reached(tcp(web, 443))?;
        testbed.expect_denied(tcp(foreign, 443))?;
    }
    let counters = testbed.filter.counters()?;
    ensure!(counters.get("unmanaged_vlan") == 0, "{counters}");
    Ok(())
}

/// A VLAN in a VLAN that is judged is denied, in one that is not it passes.
#[test]
#[ignore = "needs 802.1Q"]
fn a_vlan_in_a_vlan_is_denied_where_the_outer_one_is_judged() -> Result<()> {
    for (outer, is_judged) in [(20, true), (30, false)] {
        let mut testbed = testbed(config("[20]"))?;
        let network = &testbed.network;
        keep_tags_in_frames(&network.client)?;
        for (namespace, parent) in [(&network.client, WAN), (&network.gateway, LAN)] {
            namespace.ip(&[
                format!("link add link {parent} name outer type vlan proto 802.1ad id {outer}"),
                "link set outer up".to_owned(),
            ])?;
            add_vlan(namespace, "outer", "inner", 40)?;
        }
        move_addresses(network, "inner", "inner")?;
        let target = tcp(foreign()[0], 443);
        testbed.expect_reached(target)?;
        testbed.filter.start()?;
        if is_judged {
            testbed.expect_denied(target)?;
        } else {
            testbed.expect_reached(target)?;
        }
        let counters = testbed.filter.counters()?;
        let reason = if is_judged { "vlan_tag" } else { "unmanaged_vlan" };
        ensure!(counters.get(reason) > 0, "{outer}: {counters}");
    }
    Ok(())
}

/// `boot: closed` goes by the VLAN's device, whatever it is called.
#[test]
#[ignore = "needs 802.1Q"]
fn a_vlans_device_that_returns_while_the_daemon_is_dead_finds_the_gate_shut() -> Result<()> {
    let mut testbed = testbed(format!("{}boot: closed\n", config("[20]")))?;
    add_vlans(&testbed.network, 20)?;
    let gateway = Arc::clone(&testbed.network.gateway);
    gateway.ip(&["link delete eth1.20"])?;
    add_vlan(&gateway, LAN, "guests", 20)?;
    move_addresses(&testbed.network, "eth0.20", "guests")?;
    let printer = tcp("192.0.2.5".parse()?, 631);
    testbed.filter.start()?;
    testbed.expect_reached(printer)?;
    testbed.filter.kill()?;
    testbed.expect_reached(printer)?;
    gateway.ip(&["link delete guests"])?;
    add_vlan(&gateway, LAN, "guests", 20)?;
    gateway.ip(&[
        format!("address add {}/24 dev guests", GATEWAY[0]),
        format!("address add {}/64 dev guests nodad", GATEWAY[1]),
    ])?;
    testbed.expect_denied(printer)?;
    testbed.filter.start()?;
    testbed.expect_reached(printer)?;
    testbed.expect_denied(tcp(foreign()[0], 443))
}
