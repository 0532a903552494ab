//! The benchmarks: built with optimisations as the user who asks, run as root.

use std::{ffi::OsString, process::Command};

use anyhow::Result;

use crate::{
    command,
    setup::{self, Scope},
    test::{Count, counted},
    workspace::{self, Profile},
};

/// The programs that the filter is measured against, in an object of their own.
const YARDSTICK: &str = "intune-filter-yardstick";

/// Builds the benchmarks and runs them.
pub fn run(arguments: &[OsString]) -> Result<()> {
    setup::run(Scope::Benchmarks)?;
    command::run(build()?.args(arguments))
}

/// Measures quickly, and counts the goals; those fail of which a ratio is out by twice. What this
/// machine cannot measure is ignored.
pub fn check() -> Result<Count> {
    let (mut count, status) = counted(build()?.args(["--quick", "--check"]))?;
    if !status.success() {
        count.failed = count.failed.max(1);
    }
    Ok(count)
}

/// Builds the benchmarks, and returns the command that runs them.
fn build() -> Result<Command> {
    workspace::build(Profile::Release, &["intune-filter", "bench"])?;
    build_yardstick()?;
    let bench = workspace::program(Profile::Release, "bench")?;
    command::root_command("measuring programs in the kernel", bench)
}

/// Builds the object that only benchmarks load, as the filter's own is built, to where they look
/// for it.
fn build_yardstick() -> Result<()> {
    let mut cargo = workspace::kernel_cargo("build", "bpf")?;
    command::run(cargo.args(["--bin", YARDSTICK]))
}
