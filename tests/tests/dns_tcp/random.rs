//! Random streams against a reader of the test's own, octet for octet.

use std::{
    env,
    sync::atomic::{AtomicUsize, Ordering},
    time::Instant,
};

use anyhow::{Context as _, Result, ensure};
use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    unistd::Pid,
};

use crate::{
    coverage::{Coverage, Trick},
    field::Field,
    reader::Reader,
    run::Streams,
};

/// Streams in all modes together.
const CASES: u64 = 10_000;
/// Streams at once.
const LIVE: usize = 128;
/// Streams on one gateway: fewer than connections that the filter follows.
const BATCH: u64 = 2_500;

/// So many of this number as `INTUNE_CASES` asks for.
pub fn cases(of: u64, default: u64) -> Result<u64> {
    let Ok(text) = env::var("INTUNE_CASES") else { return Ok(of) };
    let cases: u64 = text.parse().context("INTUNE_CASES is a number")?;
    Ok((of * cases).div_ceil(default))
}

/// Keeps the thread on one processor, another for each test: so what is sent is forwarded in the
/// order in which it was sent.
pub fn stay() -> Result<()> {
    static NEXT: AtomicUsize = AtomicUsize::new(0);

    let all = sched_getaffinity(Pid::from_raw(0))?;
    let usable: Vec<usize> =
        (0..CpuSet::count()).filter(|cpu| all.is_set(*cpu).unwrap_or(false)).collect();
    let mut one = CpuSet::new();
    let chosen = usable.get(NEXT.fetch_add(1, Ordering::Relaxed) % usable.len().max(1));
    one.set(*chosen.context("there is a processor")?)?;
    Ok(sched_setaffinity(Pid::from_raw(0), &one)?)
}

fn in_mode(mode: &str, share: u64) -> Result<()> {
    stay()?;
    let (streams, began) = (Streams::chosen(LIVE)?, Instant::now());
    println!("{mode}: INTUNE_SEED={}", streams.seed);
    let only: Option<u64> = env::var("INTUNE_STREAM").ok().map(|t| t.parse()).transpose()?;
    let cases = cases(CASES, CASES)?;
    let mut coverage = Coverage::default();
    // Numbers are dealt out to the modes in turn.
    let batches = cases.div_ceil(3).div_ceil(BATCH).max(1);
    for batch in 0..batches {
        let mut field = Field::create(mode)?;
        field.filter.start()?;
        let mut reader = Reader::open(&field.network.internet)?;
        let numbers = (batch..cases.div_ceil(3)).step_by(batches as usize);
        let (plain, cookies): (Vec<u64>, Vec<u64>) = numbers
            .map(|number| number * 3 + share)
            .filter(|number| only.is_none_or(|only| only == *number))
            .partition(|number| number % 8 < 5);
        for (numbers, always) in [(plain, false), (cookies, true)] {
            field.use_cookies(always)?;
            coverage.add(&streams.run(&field, Some(&mut reader), numbers)?);
        }
    }
    println!("{mode}, {:?}:\n{coverage}", began.elapsed());
    if only.is_none() {
        expect_coverage(&coverage, &streams.without)?;
    }
    Ok(())
}

/// Whether enough was tried, and enough of it came through, for the streams to say something.
fn expect_coverage(coverage: &Coverage, without: &[Trick]) -> Result<()> {
    let Coverage { ordinary, hostile, hostile_read, .. } = coverage;
    ensure!(*ordinary > 0, "no honest stream");
    // Most begin with what is denied, and go on from there.
    ensure!(hostile_read * 5 >= *hostile, "of {hostile} hostile streams {hostile_read} were read");
    if hostile + ordinary < 1000 {
        return Ok(());
    }
    // What is lost for ever is counted by how it is lost.
    let counted = |trick: &&Trick| **trick != Trick::LostForever && !without.contains(trick);
    for trick in Trick::ALL.iter().filter(counted) {
        let count = coverage.of(*trick);
        ensure!(count.streams > 0, "no stream tries {}", trick.as_str());
    }
    Ok(())
}

#[test]
fn what_is_read_is_what_was_judged_in_native_mode() -> Result<()> {
    in_mode("native", 0)
}

#[test]
fn what_is_read_is_what_was_judged_in_generic_mode() -> Result<()> {
    in_mode("generic", 1)
}

#[test]
fn what_is_read_is_what_was_judged_in_tc_mode() -> Result<()> {
    in_mode("tc", 2)
}
