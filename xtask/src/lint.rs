//! Format and lints, of what runs on the host and of what runs in the kernel.

use std::env;

use anyhow::{Result, anyhow};

use crate::{command, toolchain, workspace};

/// Checks format and lints; a warning is an error.
pub fn run() -> Result<()> {
    command::run(workspace::cargo().args(["fmt", "--all", "--check"]))?;
    let clippy = ["clippy", "--locked", "--workspace", "--all-targets", "--", "-D", "warnings"];
    command::run(workspace::cargo().args(clippy))?;
    kernel()
}

/// Clippy has no `core` for the BPF target: the compiler's own lints judge it. In a directory of
/// its own, since other flags would make the object itself be built anew each time.
fn kernel() -> Result<()> {
    let compiler = toolchain::compiler().map_err(|reason| anyhow!(reason))?;
    let linker = toolchain::linker().map_err(|reason| anyhow!(reason))?;
    let outer = workspace::cargo_path();
    let mut cargo = std::process::Command::new(toolchain::cargo_for(&compiler, outer));
    cargo.current_dir(workspace::root());
    cargo.args(["check", "--locked", "--package", "intune-filter-ebpf"]);
    cargo.args(["--lib", "--bins"]);
    toolchain::use_for(&mut cargo, &compiler, &linker);
    cargo.arg("--target-dir").arg(workspace::target()?.join("bpf-lint"));
    cargo.env("RUSTFLAGS", "-Dwarnings").env("AYA_BPF_TARGET_ARCH", env::consts::ARCH);
    command::run(&mut cargo)
}
