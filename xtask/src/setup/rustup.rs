//! Parts that rustup installs: the compiler where the distribution has none, and cargo's
//! subcommands.

use std::{path::PathBuf, process::Command};

use anyhow::{Context, Result};

use crate::{
    command::{self, find},
    toolchain,
};

/// Installs the compiler's release with the sources of core.
pub(super) fn toolchain() -> Result<()> {
    let mut rustup = rustup().with_context(|| {
        format!(
            "the package archive of this machine has no rustc {} with core for {}, and rustup, \
             which could bring it, is not here: install rustup",
            toolchain::RUST,
            toolchain::TARGET
        )
    })?;
    rustup.args(["toolchain", "install", &format!("{}.0", toolchain::RUST)]);
    rustup.args(["--no-self-update", "--profile", "minimal", "--component", "rust-src"]);
    command::run(&mut rustup)
}

/// Installs subcommands of cargo, by the names that cargo has for them.
pub(super) fn components(names: &[&str]) -> Result<()> {
    let mut rustup = rustup().with_context(|| {
        format!("cargo {} is not here, and rustup neither, which could bring it", names.join(", "))
    })?;
    rustup.args(["component", "add"]);
    for name in names {
        rustup.arg(if *name == "fmt" { "rustfmt" } else { name });
    }
    command::run(&mut rustup)
}

fn rustup() -> Option<Command> {
    let beside_cargo: PathBuf = toolchain::cargo_home().join("bin/rustup");
    find("rustup").or_else(|| beside_cargo.is_file().then_some(beside_cargo)).map(Command::new)
}
