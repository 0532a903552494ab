//! The benchmarks: what is measured, and how it is told. `cargo xtask bench` runs them.

mod daemon;
mod dns;
mod figures;
mod findings;
mod gateway;
mod goal;
mod learning;
mod machine;
mod markdown;
mod measurement;
mod object;
mod picture;
mod profile;
mod programs;
mod reload;
mod report;
#[cfg(test)]
mod tests;
mod text;
mod written;

use std::{env, fs, path::PathBuf, process::ExitCode, time::Instant};

use anyhow::{Context as _, Error, Result, bail, ensure};
use clap::Parser;
use intune_filter_tests::cargo;

use figures::Figures;
use findings::{Chart, Effort, Findings, Unavailable};
use goal::{Bound, Goal};
use machine::Machine;
use measurement::{Measurement, Unit};
use programs::versus;
use report::Report;
use text::text;

/// A benchmark: measures one or more things.
type Benchmark = fn(Effort) -> Result<Findings>;

/// Every benchmark by its name, in the order in which they run.
const ALL: [(&str, Benchmark); 6] = [
    ("programs", programs::run),
    ("gateway", gateway::run),
    ("dns", dns::run),
    ("learning", learning::run),
    ("daemon", daemon::run),
    ("reload", reload::run),
];

/// Measures the filter on this machine, on maps and in network namespaces of its own.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench")]
struct Options {
    /// Only these benchmarks; all without any
    names: Vec<String>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
    /// Few runs: to see that it works, and about how fast
    #[arg(long)]
    quick: bool,
    /// Number of runs of each
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    runs: Option<u32>,
    /// Write the result into a directory: report.md, report.json, and pictures
    #[arg(long, value_name = "DIR")]
    write: Option<PathBuf>,
    /// Write the result into tests/figures, and what it comes to into tests/README.md and README.md
    #[arg(long, conflicts_with = "write")]
    publish: bool,
    /// Fail where a ratio is out by twice, of its goal and of what it was when figures were published
    /// last; and count goals as a test runner counts tests
    #[arg(long)]
    check: bool,
    /// Instead, measure packets of known and new flows with this build and with the one that this program of
    /// benchmarks belongs to, such as OTHER/target/release/bench, in turn; fail where this one takes
    /// more than 5 ns more for a known flow, or 20 for a new one. 20 runs, unless others are asked for
    #[arg(long, value_name = "BENCH", conflicts_with_all = ["names", "json", "quick", "write", "publish", "check"])]
    against: Option<PathBuf>,
    /// Measure what the program on the other end of the pipes asks for
    #[arg(long, hide = true, exclusive = true)]
    serve: bool,
}

/// Directory of the published figures, seen from the README.
const FIGURES: &str = "tests/figures/";

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<()> {
    if options.serve {
        return versus::serve();
    }
    if let Some(other) = &options.against {
        return versus::run(other, options.runs.map_or(versus::RUNS, |runs| runs as usize));
    }
    let known = ALL.map(|(name, _)| name);
    for name in &options.names {
        ensure!(known.contains(&name.as_str()), "no benchmark {name}, expected {known:?}");
    }
    let mut effort = if options.quick { Effort::QUICK } else { Effort::FULL };
    if let Some(runs) = options.runs {
        effort.runs = runs as usize;
    }
    let mut benchmarks = Vec::new();
    let mut broken = Vec::new();
    for (name, benchmark) in ALL {
        if !options.names.is_empty() && !options.names.iter().any(|wanted| wanted == name) {
            continue;
        }
        let begun = Instant::now();
        match benchmark(effort) {
            Ok(findings) => benchmarks.push((name, findings)),
            Err(error) => match error.downcast::<Unavailable>() {
                Ok(unavailable) => benchmarks.push((name, nothing(&unavailable))),
                // What the others find is told all the same.
                Err(error) => broken.push((name, error)),
            },
        }
        eprintln!("{name}: took {:.0?}", begun.elapsed());
    }
    let report = Report { machine: Machine::this(), command: command(), benchmarks };
    if options.json {
        println!("{:#}", Figures::of(&report).json());
    } else {
        print!("{report}");
    }
    for (name, error) in &broken {
        eprintln!("bench: {name}: {error:#}");
    }
    if options.check {
        check(&report, &broken)?;
    }
    if let Some((name, _)) = broken.first() {
        bail!("{name} failed");
    }
    if let Some(directory) = &options.write {
        written::write(&report, directory)?;
    }
    if options.publish {
        let root = cargo::root();
        written::write(&report, &root.join(FIGURES))?;
        written::summarize(&report, &root.join("tests/README.md"), "figures/")?;
        written::headline(&report, &root.join("README.md"), FIGURES)?;
    }
    Ok(())
}

/// Findings of a benchmark that this machine cannot run.
fn nothing(unavailable: &Unavailable) -> Findings {
    Findings { notes: vec![unavailable.to_string()], ..Findings::default() }
}

/// This command, as it was typed.
fn command() -> String {
    let arguments = env::args().skip(1).map(|word| format!(" {word}"));
    format!("cargo xtask bench{}", arguments.collect::<String>())
}

/// Prints which goals are out by twice, and the count of all as the runners of tests do.
fn check(report: &Report, broken: &[(&str, Error)]) -> Result<()> {
    let path = cargo::root().join(FIGURES).join("report.json");
    let json = fs::read_to_string(&path);
    let json = json.with_context(|| format!("cannot read {}", path.display()))?;
    let published: Figures = serde_json::from_str(&json)
        .with_context(|| format!("{} holds no figures", path.display()))?;
    let is_far = |goal: &&Goal| goal.is_far(published.of_goal(&goal.name));
    let (far, near): (Vec<_>, Vec<_>) = report.goals().partition(is_far);
    for goal in &far {
        println!("FAR FROM ITS GOAL: {}: {}", goal.name, text(goal.unit, goal.value));
    }
    let (passed, failed) = (near.len(), far.len() + broken.len());
    let empty = |(_, findings): &&(&str, Findings)| findings.measurements.is_empty();
    let ignored = report.benchmarks.iter().filter(empty).count();
    let word = if failed == 0 { "ok" } else { "FAILED" };
    println!("\ntest result: {word}. {passed} passed; {failed} failed; {ignored} ignored");
    ensure!(far.is_empty(), "{} goals are out by twice", far.len());
    Ok(())
}
