//! Tables are filled: learned addresses, flows, queries; and one client begins more than it may.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use anyhow::Result;

use super::between;
use crate::{
    ledger::Side,
    links::Links,
    model::Verdict,
    packet::{Packet, What},
    site::{self, CLIENTS, Group},
    timeline::{Fault, Span},
    world::World,
};
use intune_filter_tests::{
    dns::{self, ADDRESS_TYPES},
    prog_test_run::Datagram,
    random::Random,
    responder::RESPONDER,
};

/// A UDP port where the far end echoes.
pub const ECHOED: u16 = 5000;

/// Packets that are on the way at once.
const AT_ONCE: u32 = 32;

/// Time between an address's expiry and its making room.
const MAKES_ROOM: Duration = Duration::from_secs(60);

/// Interval of floods of the table of addresses: in between it has to have room again.
const FILLED: Duration = Duration::from_secs(150);

/// Fills tables until the soak is over.
pub fn run(world: &World) -> Result<()> {
    let mut random = Random::new(world.measure.seed, "pressure");
    let mut links = Links::open(world, 91)?;
    let (begun, mut round) = (Instant::now(), 0_u32);
    let mut fill = (world.measure.duration / 2).min(FILLED);
    while between(world, &mut random, Duration::from_secs(6)) {
        round += 1;
        if begun.elapsed() >= fill {
            fill = begun.elapsed() + FILLED;
            hosts(world, &mut links, round)?;
        }
        match random.within(0..3) {
            0 => world.during(Fault::FlowsFull, || flows(world, &mut links, round))?,
            1 => world.during(Fault::PendingFull, || pending(world, &mut links, round))?,
            _ => storm(world, &mut links, round)?,
        }
    }
    Ok(())
}

/// More names are asked for than there is room for their addresses. While these live, what else is
/// new may find no room.
fn hosts(world: &World, links: &mut Links<'_>, round: u32) -> Result<()> {
    let before = world.counters()?.get("hosts_full");
    let count = world.measure.sizes.hosts * 5 / 2;
    world.during(Fault::HostsFull, || {
        ask(world, links, count, round, RESPONDER, |number| {
            format!("{}.{}", site::FILLING + (round * count + number) / 2 % 100_000, site::FILL)
        })?;
        let policies = world.policies(Span::since(Instant::now()));
        let longest = policies.iter().map(|policy| policy.longest_life()).max();
        // An answer that is late may teach yet.
        let life = longest.unwrap_or_default() + Duration::from_secs(1);
        world.history().0.fault_for(Fault::HostsFull, life + MAKES_ROOM);
        Ok(())
    })?;
    let full = world.counters()?.get("hosts_full").saturating_sub(before);
    world.tally().add("names asked for to fill the table", count.into());
    world.tally().add("addresses that found no room", full);
    Ok(())
}

/// More flows are answered than there is room for.
fn flows(world: &World, links: &mut Links<'_>, round: u32) -> Result<()> {
    let count = world.measure.sizes.flows * 6 / 5;
    burst(world, links, count, "filling flows", |number| {
        let family = (number % 2) as usize;
        let destination = site::bulk(number / 7)[family];
        let local = 10_000 + (round * 1009 + number / CLIENTS) % 50_000;
        let what = What::Udp { local: local as u16, remote: ECHOED };
        Packet::new(Group::Bulk.client(number)[family], destination, what)
    })
}

/// Lets one client begin more than it may: its own packets have uncertain verdicts, others' are not
/// affected.
fn storm(world: &World, links: &mut Links<'_>, round: u32) -> Result<()> {
    world.tally().add("storms of one client", 1);
    burst(world, links, 3000, "storm of one client", |number| {
        let family = (round % 2) as usize;
        let what = What::Udp { local: (round * 3000 + number) as u16, remote: ECHOED };
        let allowed = number % 2 == 0;
        let destination = if allowed { site::bulk(number) } else { site::nowhere(number) };
        Packet::new(Group::Storm.client(0)[family], destination[family], what)
    })
}

/// Sends packets, a few at once, and judges each.
fn burst(
    world: &World,
    links: &mut Links<'_>,
    count: u32,
    kind: &'static str,
    packet: impl Fn(u32) -> Packet,
) -> Result<()> {
    let mut number = 0;
    while number < count && world.goes_on() {
        let begun = Instant::now();
        let mut sent = Vec::new();
        for _ in 0..AT_ONCE {
            let packet = packet(number);
            let tag = world.ledger.tag(Side::Server);
            links.send(Side::Client, packet.frame(tag))?;
            sent.push((packet, tag));
            number += 1;
        }
        links.settle(Side::Client)?;
        let span = Span::since(begun);
        for (packet, tag) in sent {
            let (verdict, reason) = world.judge(&packet, span);
            // What one client may begin depends on what it has begun.
            let limited = packet.source == Group::Storm.client(0)[0]
                || packet.source == Group::Storm.client(0)[1];
            let verdict =
                if limited && verdict == Verdict::Passes { Verdict::Either } else { verdict };
            if verdict == Verdict::Passes && !world.had(Fault::Link, span) {
                world.ledger.wait(tag, Side::Server, Duration::from_secs(2));
            }
            let arrived = world.ledger.take(tag, Side::Server);
            if limited && !arrived && verdict == Verdict::Either {
                world.tally().add("packets of a storm that were too many", 1);
            }
            if verdict == Verdict::Denied && !arrived {
                world.ledger.deny(tag);
            }
            world.hold(kind, &packet, (verdict, reason), span, arrived);
        }
    }
    Ok(())
}

/// More queries are sent than there is room for, to a resolver that does not answer.
fn pending(world: &World, links: &mut Links<'_>, round: u32) -> Result<()> {
    let count = world.measure.sizes.pending * 6 / 5;
    ask(world, links, count, round, site::MUTE, |_| format!("1.{}", site::FILL))?;
    world.tally().add("queries sent to fill the table", count.into());
    Ok(())
}

/// Sends queries, half of them over either family, from many clients and ports.
fn ask(
    world: &World,
    links: &mut Links<'_>,
    count: u32,
    round: u32,
    resolver: [IpAddr; 2],
    name: impl Fn(u32) -> String,
) -> Result<()> {
    for number in 0..count {
        let family = (number % 2) as usize;
        let query = dns::query(&name(number), ADDRESS_TYPES[family])?;
        let local = 10_000 + (round * 1009 + number / CLIENTS) % 50_000;
        let datagram = Datagram::new(Group::Bulk.client(number)[family], resolver[family]);
        links.send(Side::Client, datagram.udp(local as u16, 53, &query).frame())?;
        if number % AT_ONCE == AT_ONCE - 1 {
            links.settle(Side::Client)?;
            if !world.goes_on() {
                break;
            }
        }
    }
    links.settle(Side::Client)
}
