//! Cost of packets of known and new flows, beside the cost with another build of the filter.
//!
//! Each build is measured by its own benchmarks' program, which knows its maps: one is the server of
//! the other, and both run in turn, row by row, so that whatever else the machine does meets both.

use std::{
    fmt,
    io::{BufRead as _, BufReader, Write as _, stdin, stdout},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use anyhow::{Context as _, Result, anyhow, ensure};
use intune_filter::{config::MapSizes, policy::map_sizes};
use nix::{
    sched::{CpuSet, sched_setaffinity},
    unistd::Pid,
};

use super::{
    HOT, Heat,
    baseline::{Baseline, Hook, Measured},
    load::Load,
    packets::{Family, Kind, Packets},
    tables::Tables,
};
use crate::{Measurement, Unit};
use intune_filter_tests::prog_test_run::{IngressHook, LoadedFilter, run_sized};

/// The option with which a program measures what it is told to.
pub const SERVE: &str = "--serve";

/// Runs, unless others are asked for.
pub const RUNS: usize = 20;

/// Nanoseconds that a packet of a known flow may cost more.
const MORE: f64 = 5.0;

/// Nanoseconds that the first packet of a flow may cost more.
const MORE_TO_OPEN: f64 = 20.0;

/// Number of times that both builds are loaded: the place of maps and programs in memory costs a
/// few nanoseconds, or saves them, for as long as they are loaded.
const LOADED: usize = 4;

/// Tries of each program in a run: the quickest counts, since disturbances only add to a time.
const TRIES: usize = 5;

/// A measured kind of packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Row {
    kind: Kind,
    family: Family,
    hook: Hook,
    heat: Heat,
}

impl Row {
    /// All, in the order of their numbers.
    fn all() -> Vec<Self> {
        let mut rows = Vec::new();
        for family in [Family::V4, Family::V6] {
            let kind = Kind::Established;
            for hook in [Hook::Ingress, Hook::Egress] {
                rows.extend([Heat::Hot, Heat::Cold].map(|heat| Self { kind, family, hook, heat }));
            }
        }
        for family in [Family::V4, Family::V6] {
            rows.extend([Kind::ToNetwork, Kind::ToName].map(|kind| {
                let (hook, heat) = (Hook::Ingress, Heat::Cold);
                Self { kind, family, hook, heat }
            }));
        }
        rows
    }

    /// Number of flows, or 0 for ever new ones.
    const fn flows(self) -> u32 {
        match (self.kind, self.heat) {
            (Kind::Established, Heat::Hot) => HOT,
            (Kind::Established, Heat::Cold) => Load::BASE.flows,
            _ => 0,
        }
    }

    /// Nanoseconds that a packet may cost more.
    fn bound(self) -> f64 {
        if self.kind == Kind::Established { MORE } else { MORE_TO_OPEN }
    }

    fn packets(self) -> Packets {
        let destinations = self.kind.destinations(&Load::BASE);
        let mut packets = Packets::new(self.kind, self.family, self.flows(), destinations);
        if self.hook == Hook::Egress {
            packets = packets.answered();
        }
        packets.cycle.scattered = u32::from(self.heat == Heat::Cold);
        packets
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let direction = match self.hook {
            Hook::Ingress => "from the client (XDP)",
            Hook::Egress => "to the client (TC)",
        };
        if self.kind != Kind::Established {
            return write!(f, "{}, {}", self.family, self.kind);
        }
        let order = if self.heat == Heat::Hot { "" } else { ", in no order" };
        write!(f, "{}, {direction}, {} flows{order}", self.family, self.flows())
    }
}

/// Measures a row for each line that comes, which holds its number, until no more come; answers with
/// nanoseconds.
pub fn serve() -> Result<()> {
    let mut failed = None;
    run_sized(IngressHook::Xdp, &map_sizes(&MapSizes::default()), "", "", |filter| {
        failed = serve_with(filter).err();
    });
    failed.map_or(Ok(()), Err)
}

fn serve_with(filter: &mut LoadedFilter) -> Result<()> {
    let mut baseline = Baseline::load(Load::BASE.flows * 2, MapSizes::default().new_flows)?;
    let mut tables = Tables::default();
    tables.fill(filter, &mut baseline, Load::BASE)?;
    let mut rows: Vec<(Row, Packets)> =
        Row::all().into_iter().map(|row| (row, row.packets())).collect();
    for line in stdin().lines() {
        let number: usize = line?.trim().parse().context("a row's number was expected")?;
        let (row, packets) = rows.get_mut(number).context("there is no such row")?;
        tables.point(&mut baseline, packets)?;
        let descriptors = filter.descriptors()?;
        let (own, empty) = match row.hook {
            Hook::Ingress => (&descriptors.0, "empty"),
            Hook::Egress => (&descriptors.1, "empty_tc"),
        };
        let Packets { cycle, frame, .. } = packets;
        let mut time = |program| baseline.time(row.hook, program, cycle, frame, true);
        let [mut nothing, mut this] = [f64::INFINITY; 2];
        for _ in 0..TRIES {
            nothing = nothing.min(time(Measured::Own(empty))?.as_nanos() as f64);
            this = this.min(time(Measured::Other(own))?.as_nanos() as f64);
        }
        let mut out = stdout().lock();
        writeln!(out, "{}", this - nothing)?;
        out.flush()?;
    }
    Ok(())
}

/// A program that measures its build.
struct Server {
    child: Child,
    to: Option<ChildStdin>,
    from: BufReader<ChildStdout>,
}

impl Server {
    fn start(bench: &Path) -> Result<Self> {
        let mut command = Command::new(bench);
        command.arg(SERVE).stdin(Stdio::piped()).stdout(Stdio::piped());
        let what = || format!("cannot run {}", bench.display());
        let mut child = command.spawn().with_context(what)?;
        let (to, from) = (child.stdin.take(), child.stdout.take());
        Ok(Self { child, to, from: BufReader::new(from.with_context(what)?) })
    }

    fn measure(&mut self, row: usize) -> Result<f64> {
        let to = self.to.as_mut().context("the pipe is open")?;
        writeln!(to, "{row}").and_then(|()| to.flush()).context("it has ended")?;
        let mut line = String::new();
        self.from.read_line(&mut line)?;
        line.trim().parse().with_context(|| format!("it has said {:?}", line.trim()))
    }

    /// Ends it, as it ends by itself: its namespace goes with it.
    fn end(mut self) -> Result<()> {
        drop(self.to.take());
        let status = self.child.wait()?;
        ensure!(status.success(), "it ended with {status}");
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // At the end of its input it takes its namespace with it; nothing to do about a failure.
        drop(self.to.take());
        let _ = self.child.wait();
    }
}

/// Costs of both builds in nanoseconds, run by run.
struct Costs {
    before: Measurement,
    this: Measurement,
    /// Difference of this build to the other, run by run.
    more: Measurement,
}

impl Costs {
    fn new(runs: &[[f64; 2]]) -> Self {
        let of = |value: fn(&[f64; 2]) -> f64| {
            Measurement::new("", Unit::Time, runs.iter().map(value).collect())
        };
        Self { before: of(|run| run[0]), this: of(|run| run[1]), more: of(|run| run[1] - run[0]) }
    }

    /// The median of what the runs differ by: whatever slows the machine down for some of them slows
    /// both of a pair.
    fn difference(&self) -> f64 {
        self.more.median()
    }
}

/// Measures this build and the build of `other`, a program of benchmarks; prints the medians of the
/// runs and of their differences. Fails if a difference is too large.
pub fn run(other: &Path, runs: usize) -> Result<()> {
    stay()?;
    let own = std::env::current_exe().context("cannot tell where this program is")?;
    let rows = Row::all();
    let mut found: Vec<Vec<[f64; 2]>> = vec![Vec::new(); rows.len()];
    for load in 0..LOADED {
        // As many as are left, spread evenly.
        let share = runs * (load + 1) / LOADED - runs * load / LOADED;
        if share > 0 {
            measure([other, &own], share, &mut found)?;
        }
    }
    println!(
        "packets of known and new flows, {runs} runs of each build in turn, medians, ns a packet\n{:<52} {:>8} \
         {:>8} {:>11}  with 95 % certainty",
        "", "before", "this", "difference"
    );
    let mut slower = Vec::new();
    for (row, runs) in rows.iter().zip(&found) {
        let costs = Costs::new(runs);
        let (low, high) = costs.more.interval();
        let (name, bound) = (row.to_string(), row.bound());
        println!(
            "{name:<52} {:>8.1} {:>8.1} {:>+11.1}  {low:+.1} to {high:+.1}",
            costs.before.median(),
            costs.this.median(),
            costs.difference(),
        );
        if costs.difference() > bound {
            slower.push(format!("{name}, more than {bound} ns"));
        }
    }
    ensure!(slower.is_empty(), "slower than the other build: {}", slower.join("; "));
    println!("known flows take at most {MORE} ns more, new ones {MORE_TO_OPEN} ns");
    Ok(())
}

/// Loads both builds and measures them in turn; the first run warms the caches up.
fn measure(benches: [&Path; 2], runs: usize, found: &mut [Vec<[f64; 2]>]) -> Result<()> {
    let [mut before, mut this] = [Server::start(benches[0])?, Server::start(benches[1])?];
    let failed = |bench: usize| move |error| anyhow!("{}: {error:#}", benches[bench].display());
    for run in 0..=runs {
        for (row, found) in found.iter_mut().enumerate() {
            let mut costs = [0.0; 2];
            // Neither is always the first.
            for side in if (run + row).is_multiple_of(2) { [0, 1] } else { [1, 0] } {
                let server = if side == 0 { &mut before } else { &mut this };
                costs[side] = server.measure(row).map_err(failed(side))?;
            }
            if run > 0 {
                found.push(costs);
            }
        }
    }
    before.end().map_err(failed(0))?;
    this.end().map_err(failed(1))
}

/// Keeps this process and its children on one CPU, which both builds then share.
fn stay() -> Result<()> {
    let this = Pid::from_raw(0);
    let allowed = nix::sched::sched_getaffinity(this)?;
    let last = (0..CpuSet::count()).rev().find(|cpu| allowed.is_set(*cpu) == Ok(true));
    let mut one = CpuSet::new();
    one.set(last.context("there is a CPU")?)?;
    Ok(sched_setaffinity(this, &one)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_row_is_of_other_packets() {
        let rows = Row::all();
        assert_eq!(rows.len(), 12);
        for (number, row) in rows.iter().enumerate() {
            let packets = row.packets();
            assert_eq!(packets.cycle.to_client == 1, row.hook == Hook::Egress);
            assert_eq!(packets.cycle.v6 == 1, row.family == Family::V6);
            assert!(rows[..number].iter().all(|other| other.to_string() != row.to_string()));
        }
    }

    #[test]
    fn the_difference_is_that_of_runs_side_by_side() {
        // The machine was slow for the second half.
        let costs = Costs::new(&[[100.0, 101.0], [100.0, 105.0], [150.0, 154.0], [150.0, 153.0]]);
        assert_eq!((costs.before.median(), costs.this.median()), (100.0, 105.0));
        assert_eq!(costs.difference(), 3.0);
        assert_eq!(costs.more.interval(), (1.0, 5.0));
    }
}
