//! The LAN interface goes down on either end, or vanishes and returns as another one.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};

use super::between;
use crate::{
    ledger::Side,
    links::Links,
    site::Group,
    timeline::Fault,
    world::{World, lock},
};
use intune_filter_tests::{
    namespace::Namespace,
    network::{CLIENT, GATEWAY, LAN, Network, WAN},
    random::Random,
    xdp::PassAll,
};

/// Longest time until the daemon is attached to an interface that is back, its own restart
/// included.
const ATTACHED: Duration = Duration::from_secs(120);

/// Breaks the link until the soak is over. `answering` is the clients' own XDP program.
pub fn run_faults(world: &World, mut answering: PassAll, mean: Duration) -> Result<PassAll> {
    let mut random = Random::new(world.measure.seed, "links");
    let mut links = Links::open(world, 90)?;
    let mut index = 100;
    while between(world, &mut random, mean) {
        let kind = random.within(0..3);
        let replaced = kind == 2;
        let mut break_it = || {
            let network = &world.network;
            let away = Duration::from_millis(random.within(0..1500).into());
            match kind {
                0 => {
                    network.gateway.ip(&[format!("link set {LAN} down")])?;
                    thread::sleep(away);
                    network.gateway.ip(&[format!("link set {LAN} up")])?;
                    world.tally().add("interfaces down and up", 1);
                }
                1 => {
                    network.client.ip(&[format!("link set {WAN} down")])?;
                    thread::sleep(away);
                    network.client.ip(&[format!("link set {WAN} up")])?;
                    world.tally().add("interfaces down and up", 1);
                }
                _ => {
                    network.gateway.ip(&[format!("link delete {LAN}")])?;
                    thread::sleep(away);
                    index += 2;
                    let client = network.client.name();
                    network.gateway.ip(&[
                        format!(
                            "link add {LAN} index {index} type veth peer {WAN} index {} netns \
                             {client}",
                            index + 1
                        ),
                        format!("link set {LAN} up"),
                    ])?;
                    network.client.ip(&[format!("link set {WAN} up")])?;
                    answering = PassAll::attach(&network.client, WAN)?;
                    world.tally().add("interfaces deleted and made again", 1);
                }
            }
            address(network)?;
            lock(&world.gateway_macs)[0] = network.lan_address()?;
            wait_until_attached(world)?;
            for family in 0..2 {
                links.settle_by(Side::Client, family)?;
                links.settle_by(Side::Server, family)?;
            }
            Ok(())
        };
        if replaced {
            world.during(Fault::Link, || world.during(Fault::Replaced, break_it))?;
        } else {
            world.during(Fault::Link, &mut break_it)?;
        }
    }
    Ok(answering)
}

/// Waits until the daemon, if need be the next one, is attached.
fn wait_until_attached(world: &World) -> Result<()> {
    let begun = Instant::now();
    loop {
        let status = world.status()?;
        let shut = status["daemon"]["gate"]["shut"].as_array().is_some_and(|shut| !shut.is_empty());
        if status["interfaces"][0]["attached"] == true && !shut && !world.is_down() {
            return Ok(());
        }
        ensure!(begun.elapsed() < ATTACHED, "not attached for {ATTACHED:?}: {status}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Gives the link its addresses and routes, those that are there and those that are not.
pub fn address(network: &Network) -> Result<()> {
    let [client4, client6] = CLIENT;
    let [gateway4, gateway6] = GATEWAY;
    let mut gateway = vec![
        format!("address replace {gateway4}/24 dev {LAN}"),
        format!("address replace {gateway6}/64 dev {LAN} nodad"),
    ];
    let mut client = vec![
        format!("address replace {client4}/24 dev {WAN}"),
        format!("address replace {client6}/64 dev {WAN} nodad"),
        format!("route replace default via {gateway4}"),
        format!("route replace default via {gateway6} dev {WAN}"),
    ];
    for group in Group::BEHIND {
        let [v4, v6] = group.networks();
        gateway.push(format!("route replace {v4} via {client4}"));
        gateway.push(format!("route replace {v6} via {client6} dev {LAN}"));
        // Every address of the group is one of the client's own.
        client.push(format!("route replace local {v4} dev lo table local"));
        client.push(format!("route replace local {v6} dev lo table local"));
    }
    let said = |namespace: &Namespace, lines: &[String]| {
        namespace.ip(lines).with_context(|| format!("addresses of {}", namespace.name()))
    };
    said(&network.client, &client)?;
    said(&network.gateway, &gateway)
}

/// Sets up the other side once.
pub fn address_once(network: &Network) -> Result<()> {
    network.client.sysctl("ipv6/ip_nonlocal_bind", "1")?;
    network.internet.ip(&[
        "route add 10.20.0.0/16 via 172.31.0.1 table local",
        "route add fd00:20::/48 via fd00:31::1 table local",
    ])?;
    address(network)
}
