//! `explain` against the attached program: over random policies and packets, the program that is attached,
//! the one that explains and their logic on the host are of one mind.

use std::{collections::BTreeMap, net::IpAddr};

use anyhow::{Context as _, Result, ensure};
use aya::programs::Xdp;
use aya_obj::programs::XdpAttachType;
use intune_filter::{kernel::Hook, simulation::explain_on_host};
use intune_filter_ebpf::abi::Explanation;
use intune_filter_tests::{
    prog_test_run::{Datagram, Fate, Flags, Message, program::judge_at_xdp},
    random::Random,
};

use super::{
    DEVICE, World,
    model::{CLIENTS, DESTINATIONS, NAMES, PORTS, Policy},
    pairs,
};

/// Policies, unless `INTUNE_POLICIES` says more; and at most.
const POLICIES: u64 = 16;
const POLICIES_MAX: u64 = 1000;
/// Packets under each.
const PACKETS: u32 = 100;
const RESOLVER: &str = "192.0.2.53";
/// Sources in no group, and one that nobody has.
const STRANGERS: [&str; 3] = ["10.9.0.1", "fd00:9::1", "127.0.0.1"];

/// A packet that a client may send, with a port that no other has.
fn packet(random: &mut Random, port: u16) -> Result<Vec<u8>> {
    let destination: IpAddr = random.pick(&DESTINATIONS).parse()?;
    let of_family =
        |one: &&str| one.parse().is_ok_and(|one: IpAddr| one.is_ipv4() == destination.is_ipv4());
    let strangers: Vec<&str> = STRANGERS.into_iter().filter(of_family).collect();
    let client = if random.once_in(8) {
        *random.pick(&strangers)
    } else {
        random.pick(&CLIENTS)[usize::from(destination.is_ipv6())]
    };
    let client: IpAddr = client.parse()?;
    let to = *random.pick(&[PORTS[0], PORTS[1], PORTS[2], 22, 53, 853]);
    let datagram = Datagram::new(client, destination);
    let datagram = match random.within(0..7) {
        0 => datagram.udp(port, to, b"datagram"),
        1 => datagram.echo_request(port),
        2 => datagram.segment([port, to], Flags::ACK, [7, 7], b"data"),
        3 => datagram.raw(47, b"a tunnel"),
        4 if client.is_ipv4() => {
            let names = [NAMES[0], NAMES[2], "x.unlisted.test", "dns.google"];
            let name: &&str = random.pick(&names);
            let query = Message::query(port, name, *random.pick(&[1, 28, 65]));
            Datagram::new(client, RESOLVER.parse::<IpAddr>()?).udp(port, 53, query.octets())
        }
        _ => datagram.tcp(port, to, Flags::SYN),
    };
    Ok(datagram.frame())
}

#[test]
fn the_attached_program_and_what_explains_it_are_of_one_mind() -> Result<()> {
    const SEED: u64 = 18;
    let policies = match std::env::var_os("INTUNE_POLICIES") {
        Some(_) => pairs()?.min(POLICIES_MAX),
        None => POLICIES,
    };
    let mut world = World::new(SEED)?;
    let pins = world.kernel.pins();
    let program = pins.directory().program(Hook::Ingress.program());
    let program = Xdp::from_pin(program, XdpAttachType::Interface)?;
    let mut random = Random::new(SEED, "packets");
    let mut reasons: BTreeMap<&str, u32> = BTreeMap::new();
    let mut port = 1024;
    for policy in 0..policies {
        for _ in 0..8 {
            world.resolve()?;
        }
        let mut frames = Vec::new();
        for _ in 0..PACKETS {
            port = if port == u16::MAX { 1024 } else { port + 1 };
            frames.push(packet(&mut random, port)?);
        }
        let on_host = explain_on_host(&pins, DEVICE, &frames)?;
        for (number, (frame, here)) in frames.iter().zip(on_host).enumerate() {
            let what = || format!("packet {number} of policy {policy}: {}", world.policy.config());
            let told: Explanation = pins.explain(frame, DEVICE).with_context(what)?;
            ensure!(told == here, "explain {told:?}, on the host {here:?}; {}", what());
            let attached = judge_at_xdp(&program, DEVICE, frame)? == Fate::Passed;
            ensure!(attached != told.denies(), "{told:?}, passes {attached}; {}", what());
            *reasons.entry(told.reason.as_str()).or_default() += 1;
        }
        world.policy = Policy::random(&mut world.random);
        world.put_into_force()?;
    }
    println!("{policies} policies by {PACKETS} packets, no disagreement: {reasons:?}");
    for reason in ["policy", "port", "service", "destination", "dns_query", "dns_unlisted"] {
        ensure!(reasons.contains_key(reason), "{reason} never came: {reasons:?}");
    }
    Ok(())
}
