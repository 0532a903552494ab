//! The benchmarks, run by `cargo xtask bench`.

use std::process::ExitCode;

use anyhow::{Result, ensure};
use clap::Parser;
use intune_filter_tests::bench::{ALL, Effort, machine::Machine, report::Report};

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
    /// So many runs of each
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    runs: Option<u32>,
}

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
    let known = ALL.map(|(name, _)| name);
    for name in &options.names {
        ensure!(known.contains(&name.as_str()), "no benchmark {name}, expected {known:?}");
    }
    let mut effort = if options.quick { Effort::QUICK } else { Effort::FULL };
    if let Some(runs) = options.runs {
        effort.runs = runs as usize;
    }
    let mut benchmarks = Vec::new();
    for (name, benchmark) in ALL {
        if options.names.is_empty() || options.names.iter().any(|wanted| wanted == name) {
            benchmarks.push((name, benchmark(effort)?));
        }
    }
    let report = Report { machine: Machine::this(), benchmarks };
    if options.json {
        println!("{:#}", report.json());
    } else {
        print!("{report}");
    }
    Ok(())
}
