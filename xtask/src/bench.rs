//! The benchmarks: built with optimisations as the user who asks, run as root.

use std::{ffi::OsString, process::Command};

use anyhow::Result;

use crate::{
    command,
    runner::{Count, counted},
    setup::{self, Scope},
    workspace::{self, Profile},
};

/// The package of the benchmarks' own BPF objects.
const PACKAGE: &str = "intune-filter-bench-ebpf";
/// Its features, each with an object of its name: programs that the filter is compared with, and
/// programs that do one operation of the filter each.
const OBJECTS: [&str; 2] = ["baseline", "micro"];

/// Builds the benchmarks and runs them.
pub(crate) fn run(arguments: &[OsString]) -> Result<()> {
    setup::run(Scope::Benchmarks)?;
    command::run(build(Profile::Release)?.args(arguments))
}

/// Measures, quickly or whole, and counts the goals; those fail of which a ratio is out by twice. What
/// this machine cannot measure is ignored. Quickly not optimised, as the tests: what is held to a ratio
/// is the kernel's work, and building takes longer than measuring.
pub(crate) fn check(whole: bool) -> Result<Count> {
    let mut bench = build(if whole { Profile::Release } else { Profile::Debug })?;
    bench.arg("--check");
    if !whole {
        bench.arg("--quick");
    }
    let (mut count, status) = counted(&mut bench)?;
    if !status.success() {
        count.failed = count.failed.max(1);
    }
    Ok(count)
}

/// Builds the benchmarks, and returns the command that runs them.
fn build(profile: Profile) -> Result<Command> {
    workspace::build(profile, &["intune-filter", "bench"])?;
    build_objects()?;
    let bench = workspace::program(profile, "bench")?;
    command::root_command("measuring programs in the kernel", bench)
}

/// Builds the objects that only benchmarks load, as the filter's own is built, to where they look
/// for them. Each by itself: cargo would give the features of both to each.
fn build_objects() -> Result<()> {
    for object in OBJECTS {
        let mut cargo = workspace::kernel_cargo("build", "bpf")?;
        cargo.args(["--package", PACKAGE, "--features", object]);
        command::run(cargo.args(["--bin", &format!("intune-filter-bench-{object}")]))?;
    }
    Ok(())
}
