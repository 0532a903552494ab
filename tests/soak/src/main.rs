//! The soak: everything that can happen to a filter, at once and for a long time, while a model of
//! the policy judges every packet. `cargo xtask test --soak MINUTES` runs it.

mod far_end;
mod faults;
mod growth;
mod judge;
mod knowledge;
mod leaks;
#[expect(unsafe_code, reason = "raw sockets")]
mod ledger;
mod links;
mod model;
mod names;
mod objects;
mod packet;
mod queue;
mod report;
mod rest;
mod run;
mod site;
mod slope;
#[expect(unsafe_code, reason = "an option of sockets that no library has")]
mod sockets;
mod timeline;
mod traffic;
mod watch;
mod world;

use std::{
    process::ExitCode,
    time::{SystemTime, UNIX_EPOCH},
};

use crate::{
    run::{checked, run},
    site::Sizes,
    world::Measure,
};
use anyhow::Result;
use clap::Parser;

/// Runs the filter under mixed traffic with reloads, ends of the daemon, interfaces that go and
/// return, resolvers that do not answer and full tables, all at once, and judges every packet by a
/// model of its own. In network namespaces; touches nothing outside.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask test --soak")]
struct Options {
    /// Duration
    #[arg(value_name = "MINUTES")]
    minutes: f64,
    /// Repeats the random choices of an earlier soak
    #[arg(long)]
    seed: Option<u64>,
    /// For a slow machine: fewer packets, smaller tables
    #[arg(long)]
    slow: bool,
    /// Set the wall clock too: in a machine of its own alone
    #[arg(long)]
    clock_steps: bool,
}

fn main() -> ExitCode {
    match soak(&Options::parse()) {
        Ok((passed, failed)) => {
            let word = if failed == 0 { "ok" } else { "FAILED" };
            println!(
                "\ntest result: {word}. {passed} passed; {failed} failed; 0 ignored\n\n\
                 {passed} passed, {failed} failed"
            );
            if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("soak: {error:#}");
            println!("\n0 passed, 1 failed");
            ExitCode::FAILURE
        }
    }
}

fn soak(options: &Options) -> Result<(u32, u32)> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let sizes = if options.slow {
        Sizes { hosts: 512, flows: 2048, new_flows: 2048, pending: 1024 }
    } else {
        Sizes { hosts: 1024, flows: 32_768, new_flows: 16_384, pending: 4096 }
    };
    run(Measure {
        duration: checked(options.minutes)?,
        seed: options.seed.unwrap_or(since.as_secs()),
        pace: if options.slow { 40 } else { 600 },
        sizes,
        clock_steps: options.clock_steps,
    })
}
