//! A neighbour's frames and a client's life: a client's packets are judged, and teach, the same
//! whether or not a neighbour on its LAN sends arbitrary frames between them. What each packet of the
//! client's is to come to, its script says, which knows nothing of the filter's code.
//!
//! `INTUNE_FRAMES` says how many frames the neighbour sends to each program, `INTUNE_SEED` repeats those
//! of an earlier run.

mod found;
mod hostile;
mod victim;

use std::{
    env,
    time::{SystemTime, UNIX_EPOCH},
};

use intune_filter_tests::{
    prog_test_run::{Bed, HookPoint, site::changed_config, state::State},
    random::Random,
};

use crate::run_roomy;
use hostile::Hostile;
use victim::{Life, Step};

/// More than the client begins, and less than the neighbour begins in its name.
const LIMITS: &str = "limits: {queries: {rate: 1, burst: 50}, flows: {rate: 1, burst: 50}}";

/// Number of the neighbour's frames.
pub(crate) fn amount(usual: u64) -> u64 {
    let frames = env::var("INTUNE_FRAMES").ok();
    frames.map_or(usual, |text| text.parse().expect("INTUNE_FRAMES is a number"))
}

/// Seed of a run.
pub(crate) fn seed() -> u64 {
    match env::var("INTUNE_SEED") {
        Ok(text) => text.parse().expect("INTUNE_SEED is a number"),
        Err(_) => {
            SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_micros() as u64
        }
    }
}

/// Numbers of a run.
#[derive(Debug, Default)]
struct Tally {
    lives: u64,
    /// Packets of the client's that were judged beside the neighbour's.
    packets: u64,
    frames: u64,
    /// Of the neighbour's.
    passed: u64,
    /// Of the neighbour's, with the client's address.
    in_its_name: u64,
}

/// Has a client live alone, and then among so many frames of a neighbour's, again and again.
///
/// # Panics
/// At the first packet of the client's that comes to something else than its script says.
pub(crate) fn disturb(bed: &mut dyn Bed, seed: u64, frames: u64) {
    println!("INTUNE_SEED={seed}");
    let none = "limits: {queries: off, flows: off}";
    let limited = changed_config("", "", |text| text.replacen(none, LIMITS, 1));
    bed.install(&limited).expect("the policy goes into the maps");
    hostile::settle(bed);
    let mut tally = Tally::default();
    while tally.frames < frames {
        let life = tally.lives;
        let random = || Random::new(seed, &format!("life {life}"));
        let script = Life::new(&mut random());
        let about = format!("life {life} of INTUNE_SEED={seed}");
        let alone = live(bed, &script, &format!("{about}, alone"), None);
        let choices = Random::new(seed, &format!("neighbour {life}"));
        let mut hostile = Hostile::new(choices, &script, frames - tally.frames);
        let disturbed = live(bed, &script, &about, Some(&mut hostile));
        assert_eq!(alone, disturbed, "{about}: what was learned");
        tally.lives += 1;
        tally.packets += script.steps.len() as u64;
        tally.frames += hostile.sent;
        tally.passed += hostile.passed;
        tally.in_its_name += hostile.in_its_name;
    }
    println!("{tally:?}");
    assert!(tally.in_its_name > tally.frames / 4, "too few were in its name: {tally:?}");
    assert!(tally.passed > tally.frames / 20, "too few have passed: {tally:?}");
}

/// Judges every packet of a life, each after a few frames of a neighbour's; returns what it was taught.
fn live(
    bed: &mut dyn Bed,
    life: &Life,
    about: &str,
    mut neighbour: Option<&mut Hostile<'_>>,
) -> Vec<String> {
    bed.clear().expect("the maps can be emptied");
    for (at, step) in life.steps.iter().enumerate() {
        let mut sent = 0;
        if let Some(hostile) = &mut neighbour {
            for _ in 0..hostile.random.within(0..life.disturbed + 1) {
                hostile.send(bed, at);
            }
            sent = hostile.sent;
        }
        match step {
            Step::Rest(seconds) => rest(bed, *seconds),
            Step::Packet { what, point, frame, expected } => {
                let came_to = judged(bed, *point, frame);
                assert_eq!(
                    came_to, *expected,
                    "{about}, behind {sent} frames of the neighbour's, packet {at}: {what}\n\
                     {frame:02x?}"
                );
            }
        }
    }
    let mut taught = Vec::new();
    for (address, host) in bed.hosts().expect("the addresses can be read") {
        if life.taught.contains(&address) {
            taught.push(format!("{address}: {:?}", host.rules));
        }
    }
    taught.sort();
    assert_eq!(taught.len(), life.taught.len(), "{about}: {taught:?}");
    taught
}

/// Fate of a packet, and what is counted of it. Whether a packet is allowed by its flow or opens one
/// is all the same: both name the rule.
fn judged(bed: &dyn Bed, point: HookPoint, frame: &[u8]) -> String {
    let before = bed.counted().expect("the counters can be read");
    let fate = bed.judge(point, frame).expect("a frame of the client's is judged");
    let after = bed.counted().expect("the counters can be read");
    let counted = words(&after, &before, &|rule| bed.rule_name(rule));
    format!("{}: {counted}", fate.text())
}

fn words(after: &State, before: &State, rule: &dyn Fn(u8) -> String) -> String {
    let words = after.counted_since(before, rule).into_iter().filter_map(|line| {
        let word = line.split(' ').next().unwrap_or_default();
        match word {
            "policy" | "flow" => Some("allowed".to_owned()),
            // How much is told depends on time.
            "event_lost" | "event_suppressed" | "event_repeated" | "name_lost"
            | "name_suppressed" => None,
            _ => Some(word.to_owned()),
        }
    });
    words.collect::<Vec<_>>().join(", ")
}

/// Lets time pass for what is remembered of flows.
fn rest(bed: &dyn Bed, seconds: u64) {
    let nanoseconds = seconds * 1_000_000_000;
    let earlier = |time: u64| time.saturating_sub(nanoseconds);
    bed.change_flows(&|flow| flow.last_seen = earlier(flow.last_seen)).expect("flows");
    bed.change_queries(&|query| query.asked = earlier(query.asked)).expect("queries");
    bed.change_fragments(&|datagram| datagram.seen = earlier(datagram.seen)).expect("datagrams");
    bed.change_limits(&|limits| limits.due = limits.due.map(earlier)).expect("limits");
}

#[test]
fn no_frame_of_a_neighbours_changes_what_becomes_of_a_clients() {
    run_roomy("", "", |bed| disturb(bed, seed(), amount(10_000)));
}
