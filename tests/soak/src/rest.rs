//! Remains when all is over: holdings of the daemon, entries of maps, objects in the kernel.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use intune_filter::{
    events::flow_reaper::has_expired,
    kernel::{FlowEntry, Pins},
    system::clock,
};
use serde_json::Value;

use super::{
    growth::{Range, grown},
    leaks::Holdings,
    objects::Objects,
    world::{World, lock},
};

/// Longest time until ended things are gone: the daemon looks for flows that have ended in silence
/// once a minute, and threads of a pool wait for more to do.
const DRAINED: Duration = Duration::from_secs(150);

/// Interval of looks meanwhile.
const LOOKED: Duration = Duration::from_millis(500);

/// Longest time for which an ended flow is still in its table.
const SWEPT: Duration = Duration::from_secs(120);

/// Waits until what the daemon holds is no more than before, and every flow that is over is gone;
/// returns what is still there when that takes too long.
pub fn drained(world: &World, before: &Range) -> Result<Vec<(&'static str, String)>> {
    if before.looks() == 0 {
        // All of it would have grown from nothing.
        let what =
            "nothing to compare with: at no moment were all interfaces there between reloads";
        return Ok(vec![("kernel objects", what.to_owned())]);
    }
    let begun = Instant::now();
    let mut after = Range::default();
    loop {
        after.add(Holdings::of(world)?);
        let mut rests = grown(before, &after);
        rests.extend(stale_flows(world)?.map(|what| ("map entries", what)));
        if rests.is_empty() || begun.elapsed() > DRAINED {
            return Ok(rests);
        }
        thread::sleep(LOOKED);
    }
}

/// Flows that are over for long and still in the tables. The daemon is not asked: it would have
/// threads and sockets for its answer as long as it is asked again and again.
fn stale_flows(world: &World) -> Result<Option<String>> {
    let directory = lock(&world.filter).pins();
    let pins = Pins::open(&directory)?.context("there are pins while the daemon lives")?;
    Ok(stale(&pins.flows()?, clock::boot_time()))
}

fn stale(flows: &[FlowEntry], now: u64) -> Option<String> {
    let since = now.saturating_sub(SWEPT.as_nanos() as u64);
    let is_stale = |entry: &&FlowEntry| has_expired(entry.key.protocol, &entry.flow, since);
    let stale: Vec<_> = flows.iter().filter(is_stale).collect();
    stale.first().map(|first| format!("{} flows are over, {first:?}", stale.len()))
}

/// Entries and room of the maps; more than there is room for cannot be.
pub fn map_entries(world: &World) -> Result<Vec<(String, u64, u64)>> {
    let status = world.status()?;
    let maps = status["maps"].as_object().context("status tells of maps")?;
    let number = |value: &Value| value.as_u64().unwrap_or(0);
    let room = |(name, map): (&String, &Value)| {
        (name.clone(), number(&map["entries"]), number(&map["capacity"]))
    };
    let rooms: Vec<_> = maps.iter().map(room).collect();
    for (name, entries, capacity) in &rooms {
        if entries > capacity || *capacity == 0 {
            world.tally().fail("map entries", format!("{name}: {entries} of {capacity}"));
        }
    }
    let entries = |name: &str| {
        let (_, entries, _) = rooms.iter().find(|(known, ..)| known == name)?;
        Some(*entries)
    };
    // One interface without tags: whatever the interface was before is no more.
    if entries("ZONES") != Some(1) {
        let what = format!("ZONES: {:?}, expected 1", entries("ZONES"));
        world.tally().fail("map entries", what);
    }
    // The gateway's, of its two links and loopback, link-local ones among them.
    if entries("OWN_ADDRESSES").is_none_or(|entries| entries > 24) {
        let what = format!("OWN_ADDRESSES: {:?}, expected 24 at most", entries("OWN_ADDRESSES"));
        world.tally().fail("map entries", what);
    }
    Ok(rooms)
}

/// Objects that are left; the kernel frees them a moment after their last holder is gone.
pub fn left(seen: &Objects) -> Result<Vec<String>> {
    let begun = Instant::now();
    loop {
        let left = seen.left()?;
        if left.is_empty() || begun.elapsed() > Duration::from_secs(20) {
            return Ok(left);
        }
        thread::sleep(Duration::from_millis(200));
    }
}

#[cfg(test)]
mod tests {
    use intune_filter_ebpf::abi::{Flow, FlowKey, flow_flags};

    use super::*;

    #[test]
    fn a_flow_that_was_not_swept_away_is_found() {
        const SECOND: u64 = 1_000_000_000;
        let now = 10_000 * SECOND;
        // An answered one of UDP lives for five minutes.
        let flow = |silent: u64| FlowEntry {
            key: FlowKey { protocol: 17, ..FlowKey::default() },
            flow: Flow {
                last_seen: now - silent * SECOND,
                flags: flow_flags::ANSWERED,
                ..Flow::default()
            },
            answered: true,
        };
        assert_eq!(stale(&[flow(0), flow(299), flow(419)], now), None);
        let told = stale(&[flow(0), flow(421), flow(9000)], now).unwrap();
        assert!(told.starts_with("2 flows are over"), "{told}");
    }
}
