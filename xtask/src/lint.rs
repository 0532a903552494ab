//! Format and lints, of what runs on the host and of what runs in the kernel.

use anyhow::Result;

use crate::{command, workspace};

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
    let mut cargo = workspace::kernel_cargo("check", "bpf-lint")?;
    command::run(cargo.args(["--lib", "--bins"]).env("RUSTFLAGS", "-Dwarnings"))
}
