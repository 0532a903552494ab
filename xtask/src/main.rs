//! Developer commands: `cargo xtask COMMAND`.

#![cfg_attr(not(test), warn(unreachable_pub))]
#![warn(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

mod bench;
mod command;
mod demo;
mod deny;
mod faults;
mod form;
mod imports;
mod install;
mod lint;
mod packages;
mod packet;
mod runner;
mod setup;
mod soak;
mod test;
mod toolchain;
mod vm;
mod workspace;

use std::{ffi::OsString, process::ExitCode};

use clap::{Parser, Subcommand};
use workspace::Profile;

/// Sets a machine up, builds, tests, shows and installs intune-filter.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version)]
struct Arguments {
    #[command(subcommand)]
    command: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Install what is missing to build and to test; does nothing where nothing is missing
    Setup,
    /// Build the program, with the BPF object in it
    Build {
        /// With optimisations
        #[arg(long)]
        release: bool,
    },
    /// Show the filter at work in network namespaces of its own
    Demo {
        /// For the demo: `--keep`, `--json`; `--help` tells all
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Measure how fast the filter is on this machine
    Bench {
        /// For the benchmarks: `--json`, `--quick`; `--help` tells all
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Check format and lints, then run every test, as root
    Test(test::Options),
    /// Judge one row of the tables of packets, and show why; without a name, list the rows
    Packet(packet::Options),
    /// Check imports, format and lints, on the host and for the kernel
    Lint,
    /// Build the program and put it, its unit and configuration in place
    Install(install::Options),
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Task::Setup => set_up(),
        Task::Build { release } => build(release),
        Task::Demo { arguments } => demo::run(&arguments),
        Task::Bench { arguments } => bench::run(&arguments),
        Task::Test(options) => test::run(&options),
        Task::Packet(options) => packet::run(&options),
        Task::Lint => setup::run(setup::Scope::Everything).and_then(|()| lint::run()),
        Task::Install(options) => install::run(&options),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn set_up() -> anyhow::Result<()> {
    setup::run(setup::Scope::Everything)?;
    vm::set_up()?;
    setup::report();
    Ok(())
}

fn build(release: bool) -> anyhow::Result<()> {
    setup::run(setup::Scope::Build)?;
    let profile = if release { Profile::Release } else { Profile::Debug };
    workspace::build(profile, &["intune-filter"])
}
