//! Imports, libraries, format and lints, of what runs on the host and of what runs in the kernel.

use anyhow::Result;

use crate::{command, deny, imports, workspace};

/// Packages that run in the kernel: the filter, and programs of the benchmarks.
const PACKAGES: [&str; 5] = [
    "--package=intune-filter-ebpf",
    "--features=intune-filter-ebpf/bpf",
    "--package=intune-filter-bench-ebpf",
    "--features=intune-filter-bench-ebpf/baseline",
    "--features=intune-filter-bench-ebpf/micro",
];

/// Checks imports, format and lints; a warning is an error.
pub(crate) fn run() -> Result<()> {
    command::say("circles of imports, and lengths of files");
    imports::check()?;
    deny::check()?;
    command::run(workspace::cargo().args(["fmt", "--all", "--check"]))?;
    let clippy = ["clippy", "--locked", "--workspace", "--all-targets", "--", "-D", "warnings"];
    command::run(workspace::cargo().args(clippy))?;
    kernel()
}

/// Clippy has no `core` for the BPF target: the compiler's own lints judge it. In a directory of
/// its own, since other flags would make the object itself be built anew each time.
fn kernel() -> Result<()> {
    let mut cargo = workspace::kernel_cargo("check", "bpf-lint")?;
    cargo.args(PACKAGES).args(["--lib", "--bins"]);
    command::run(cargo.env("RUSTFLAGS", "-Dwarnings"))
}
