//! A filtered interface of layer 3: packets that begin at the IP header, without hardware addresses.

use std::{net::IpAddr, process::Command};

use anyhow::{Context as _, Result, ensure};
use etherparse::PacketBuilder;
use intune_filter_tests::{
    namespace::run,
    network::{CLIENT, GATEWAY, LAN},
    probe::{ProbeResult, probe},
    resolver::Kind,
    site::{self, ANSWER, CONFIG, WEB, eventually, in_mode, tcp, udp},
    testbed::{FOREIGN_PORT, Setup, Testbed},
    tun::{RAW_IP, Tun, TunLink},
};

/// A testbed whose client is at the other end of a tun link.
struct Tunnelled {
    // Dropped before the link's thread, which waits for nothing of it.
    testbed: Testbed,
    link: TunLink,
}

fn tunnelled(config: &str, change: impl Fn(&Tun) -> Result<()>) -> Result<Tunnelled> {
    let config = config.to_owned();
    let setup = Setup { config, resolver: Kind::Unbound, ..site::setup() };
    let testbed = Testbed::create(&setup)?;
    let link = testbed.network.use_tun(change)?;
    Ok(Tunnelled { testbed, link })
}

impl Tunnelled {
    /// Has a packet come in from the client's side, and waits until it is counted.
    fn sent(&self, packet: &[u8], reason: &str) -> Result<()> {
        let before = self.testbed.filter.counters()?;
        self.link.send(packet)?;
        let counted = || anyhow::Ok(self.testbed.filter.counters()?.since(&before));
        eventually(reason, || Ok(counted()?.get(reason) >= 1))?;
        let counted = counted()?;
        ensure!(counted.denials().get(reason) == 1, "expected {reason} once: {counted}");
        Ok(())
    }
}

/// Destinations of the service `printer`, and of none.
fn printer() -> [IpAddr; 2] {
    ["192.0.2.5", "2001:db8:9100::5"].map(|address| address.parse().expect("an address"))
}
fn foreign() -> [IpAddr; 2] {
    ["192.0.2.80", "2001:db8:80::1"].map(|address| address.parse().expect("an address"))
}

fn syn(source: [u8; 4]) -> Vec<u8> {
    let builder = PacketBuilder::ipv4(source, [192, 0, 2, 5], 64).tcp(40_000, 631, 1, 64_240);
    let mut packet = Vec::new();
    builder.syn().write(&mut packet, &[]).expect("a vector takes everything");
    packet
}

fn syn6(source: &str) -> Vec<u8> {
    let [source, to] = [source, "2001:db8:9100::5"].map(|text| text.parse().expect("an address"));
    let (source, to): (std::net::Ipv6Addr, std::net::Ipv6Addr) = (source, to);
    let builder = PacketBuilder::ipv6(source.octets(), to.octets(), 64);
    let mut packet = Vec::new();
    let builder = builder.tcp(40_000, 631, 1, 64_240).syn();
    builder.write(&mut packet, &[]).expect("a vector takes everything");
    packet
}

/// A client of layer 3 is judged at TC, and nothing about its packets is taken for a fault.
pub(crate) fn expect_judged(testbed: &mut Testbed) -> Result<()> {
    testbed.expect_verdicts()?;
    // The gateway itself, by both families.
    for address in GATEWAY {
        testbed.expect_reached(tcp(address, FOREIGN_PORT))?;
    }
    let counters = testbed.filter.counters()?;
    for reason in ["ethertype", "malformed", "source", "source_interface"] {
        ensure!(counters.get(reason) == 0, "{reason}: {counters}");
    }
    let status = testbed.filter.json(&["status"])?;
    ensure!(status["interfaces"][0]["mode"] == "tc", "{status}");
    Ok(())
}

#[test]
fn a_tun_client_reaches_what_the_policy_allows_and_nothing_else() -> Result<()> {
    let mut tunnelled = tunnelled(CONFIG, |_| Ok(()))?;
    let testbed = &mut tunnelled.testbed;
    testbed.filter.start()?;
    expect_judged(testbed)?;
    ensure!(testbed.filter.output().contains("no Ethernet header"), "says why it is at TC");
    // Nothing depends on the daemon.
    testbed.filter.kill()?;
    testbed.expect_verdicts()
}

/// Modems that carry IP and nothing else have a type of their own, and so has PPP.
#[test]
fn a_raw_ip_device_is_judged_like_a_tun_device() -> Result<()> {
    let mut tunnelled = tunnelled(CONFIG, |end| end.set_type(RAW_IP))?;
    tunnelled.testbed.filter.start()?;
    tunnelled.testbed.expect_verdicts()
}

/// Replies of the filter's own come back by the same device, without an Ethernet header.
#[test]
fn denials_at_layer_3_are_answered_and_told() -> Result<()> {
    let config = CONFIG.replace("    services: [web", "    on_deny: reject\n    services: [web");
    let mut tunnelled = tunnelled(&config, |_| Ok(()))?;
    let testbed = &mut tunnelled.testbed;
    testbed.filter.start()?;
    let client = |target| testbed.network.client.run(|| probe(target, ANSWER));
    for (family, client_address) in CLIENT.map(|address| address.to_string()).iter().enumerate() {
        let to = foreign()[family];
        for target in [tcp(to, 443), udp(to, 5000)] {
            let found = client(target);
            let counters = testbed.filter.counters()?;
            ensure!(found == ProbeResult::Refused, "{target}: {found:?}, {counters}");
        }
        let at = |to: IpAddr, port: u16| match to {
            IpAddr::V4(to) => format!("{to}:{port}"),
            IpAddr::V6(to) => format!("[{to}]:{port}"),
        };
        let explain = |to: &str| testbed.filter.json(&["explain", client_address, to]);
        let told = explain(&at(to, 443))?;
        ensure!(told["reason"] == "destination", "{told}");
        let told = explain(&at(printer()[family], 631))?;
        ensure!(told["reason"] == "policy", "{told}");
    }
    let counters = testbed.filter.counters()?;
    ensure!(counters.get("destination") >= 4, "{counters}");
    Ok(())
}

#[test]
fn nobody_at_layer_3_sends_in_anothers_name_or_what_is_no_ip() -> Result<()> {
    let everybody = CONFIG.replace("[10.20.0.0/24, \"fd00:20::/64\"]", "[0.0.0.0/0, \"::/0\"]");
    let mut tunnelled = tunnelled(&everybody, |_| Ok(()))?;
    tunnelled.testbed.filter.start()?;
    // Routed elsewhere. The last two have the EtherTypes of ARP and of IPv4 where a frame has its own.
    for source in [[198, 51, 100, 9], [172, 31, 0, 2], [8, 6, 0, 1], [8, 0, 0x45, 1]] {
        tunnelled.sent(&syn(source), "source_interface")?;
    }
    tunnelled.sent(&syn6("2001:db8:5::5"), "source_interface")?;
    let whole = syn([10, 20, 0, 10]);
    for length in [1, 9, 19, 20, 24, 39] {
        tunnelled.sent(&whole[..length], "malformed")?;
    }
    let whole = syn6("fd00:20::10");
    for length in [1, 39, 40, 59] {
        tunnelled.sent(&whole[..length], "malformed")?;
    }
    Ok(())
}

/// Each address is a sender of its own; what one begins is not what others may not.
#[test]
fn an_address_at_layer_3_has_limits_of_its_own() -> Result<()> {
    let limited = CONFIG.replace(
        "limits: {queries: off, flows: off}",
        "limits: {queries: off, flows: {rate: 1, burst: 4}, zone: {flows: {rate: 1, burst: 1}}}",
    );
    let mut tunnelled = tunnelled(&limited, |_| Ok(()))?;
    tunnelled.testbed.filter.start()?;
    let opened = |source: u8, port: u16| {
        let from = [10, 20, 0, source];
        let builder = PacketBuilder::ipv4(from, [192, 0, 2, 5], 64).tcp(port, 631, 1, 64_240);
        let mut packet = Vec::new();
        builder.syn().write(&mut packet, &[]).map(|()| packet)
    };
    let before = tunnelled.testbed.filter.counters()?;
    let count = || anyhow::Ok(tunnelled.testbed.filter.counters()?.since(&before));
    // More than all of the others may together.
    for port in 0..200 {
        tunnelled.link.send(&opened(66, 30_000 + port)?)?;
    }
    eventually("the flood is judged", || {
        let counted = count()?;
        Ok(counted.get("policy") + counted.get("flow_limit") >= 200)
    })?;
    ensure!(count()?.get("flow_limit") >= 190, "{}", count()?);
    let before = tunnelled.testbed.filter.counters()?;
    for source in 100..150 {
        tunnelled.link.send(&opened(source, 40_000)?)?;
    }
    let count = || anyhow::Ok(tunnelled.testbed.filter.counters()?.since(&before));
    eventually("everybody is judged", || {
        let counted = count()?;
        Ok(counted.get("policy") + counted.get("flow_limit") >= 50)
    })?;
    ensure!(count()?.get("policy") == 50, "{}", count()?);
    Ok(())
}

#[test]
fn datagrams_in_fragments_pass_a_layer_3_interface_both_ways() -> Result<()> {
    let mut tunnelled = tunnelled(CONFIG, |_| Ok(()))?;
    let testbed = &mut tunnelled.testbed;
    testbed.filter.start()?;
    for (family, to) in printer().into_iter().enumerate() {
        let to = to.to_string();
        let mut ping = testbed.network.client.command("ping");
        run(ping.args(["-n", "-c", "1", "-W", "5", "-s", "4000", &to]))?;
        let foreign = foreign()[family].to_string();
        let mut ping = testbed.network.client.command("ping");
        ping.args(["-n", "-c", "1", "-W", "1", "-s", "4000", &foreign]);
        ensure!(run(&mut ping).is_err(), "{foreign} is reached in fragments");
    }
    let counters = testbed.filter.counters()?;
    ensure!(counters.get("fragment_allowed") >= 8, "{counters}");
    Ok(())
}

/// Returns what a command prints on its way to a failure.
fn failure(command: &mut Command) -> Result<String> {
    let output = command.output().context("cannot run the filter")?;
    ensure!(!output.status.success(), "succeeds");
    Ok(String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr))
}

/// By name: when it is checked, at a start, and when it is applied to what runs, which goes on.
#[test]
fn what_layer_3_does_not_have_is_refused_by_name() -> Result<()> {
    let mut tunnelled = tunnelled(CONFIG, |_| Ok(()))?;
    let testbed = &mut tunnelled.testbed;
    let with_macs = CONFIG
        .replace("    services: [web", "    macs: [\"02:00:5e:00:53:10\"]\n    services: [web");
    let with_vlans = CONFIG.replace("  - name: eth1\n", "  - name: eth1\n    vlans: [0, 20]\n");
    let refused = [
        (in_mode(CONFIG, "native"), "interfaces[0].mode"),
        (in_mode(CONFIG, "generic"), "interfaces[0].mode"),
        (with_macs, "clients[0].macs"),
        (with_vlans, "interfaces[0].vlans"),
    ];
    let expect = |output: &str, key: &str, told_by: &str| {
        let named = [key, LAN, "layer 3", "expected"].iter().all(|word| output.contains(word));
        ensure!(named, "{told_by} does not name {key}: {output}");
        Ok(())
    };
    for (config, key) in &refused {
        testbed.filter.configure(config)?;
        let path = testbed.filter.config().display().to_string();
        expect(&failure(&mut testbed.filter.command(&["check", &path])?)?, key, "check")?;
        let (code, output) = testbed.filter.fail_to_start()?;
        ensure!(code == Some(1), "{code:?}: {output}");
        expect(&output, key, "run")?;
    }
    testbed.filter.configure(CONFIG)?;
    testbed.filter.start()?;
    for (config, key) in &refused {
        testbed.filter.configure(config)?;
        let path = testbed.filter.config().display().to_string();
        expect(&failure(&mut testbed.filter.command(&["apply", &path])?)?, key, "apply")?;
        expect(&failure(&mut testbed.filter.command(&["reload"])?)?, key, "reload")?;
    }
    testbed.resolve(WEB[0])?;
    testbed.expect_reached(tcp(printer()[0], 631))?;
    testbed.expect_denied(tcp(foreign()[0], 443))
}

/// Programs for frames would read these packets from the wrong place.
#[test]
fn another_device_of_the_name_gets_programs_of_its_own() -> Result<()> {
    let config = CONFIG.to_owned();
    let mut testbed = Testbed::create(&Setup { config, resolver: Kind::Unbound, ..site::setup() })?;
    testbed.filter.start()?;
    testbed.expect_reached(tcp(printer()[0], 631))?;
    let link = testbed.network.use_tun(|_| Ok(()))?;
    let mode = || Ok(testbed.filter.json(&["status"])?["interfaces"][0]["mode"] == "tc");
    eventually("the tun device is judged", mode)?;
    for family in 0..2 {
        testbed.expect_reached(tcp(printer()[family], 631))?;
        testbed.expect_denied(tcp(foreign()[family], 443))?;
    }
    drop(testbed);
    drop(link);
    Ok(())
}
