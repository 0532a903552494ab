//! The workspace: its directories, and cargo commands that build it.

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, anyhow};

use crate::{command, toolchain};

/// The directory of the workspace.
pub(crate) fn root() -> &'static Path {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest)
}

/// The cargo that runs this program, or the one on the path.
pub(crate) fn cargo() -> Command {
    let mut cargo = Command::new(cargo_path());
    cargo.current_dir(root());
    cargo
}

/// The path of [`cargo`].
pub(crate) fn cargo_path() -> OsString {
    env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

/// The directory of cargo's products: this program is one of them, whatever the configuration says.
pub(crate) fn target() -> Result<PathBuf> {
    let program = env::current_exe().context("cannot tell where this program is")?;
    // TARGET/PROFILE/xtask
    let target = program.ancestors().nth(2).context("this program is not where cargo puts it")?;
    Ok(target.to_owned())
}

/// Builds programs of the workspace. Always of the whole workspace, so that all of them, and a
/// `cargo build` by hand, take the same features of the libraries and build these but once.
pub(crate) fn build(profile: Profile, programs: &[&str]) -> Result<()> {
    let mut cargo = cargo();
    cargo.args(["build", "--locked", "--workspace"]);
    cargo.args(programs.iter().flat_map(|program| ["--bin", program]));
    if profile == Profile::Release {
        cargo.arg("--release");
    }
    command::run(&mut cargo)
}

/// A cargo for what runs in the kernel: a command of cargo's, with products in a directory of their
/// own beneath cargo's.
pub(crate) fn kernel_cargo(subcommand: &str, directory: &str) -> Result<Command> {
    let compiler = toolchain::compiler().map_err(|reason| anyhow!(reason))?;
    let linker = toolchain::linker().map_err(|reason| anyhow!(reason))?;
    let mut cargo = Command::new(toolchain::cargo_for(&compiler, cargo_path()));
    cargo.current_dir(root());
    cargo.args([subcommand, "--locked"]);
    toolchain::use_for(&mut cargo, &compiler, &linker);
    cargo.arg("--target-dir").arg(target()?.join(directory));
    cargo.env("AYA_BPF_TARGET_ARCH", env::consts::ARCH);
    Ok(cargo)
}

/// Path of a program that [`build`] has built.
pub(crate) fn program(profile: Profile, name: &str) -> Result<PathBuf> {
    let directory = match profile {
        Profile::Debug => "debug",
        Profile::Release => "release",
    };
    Ok(target()?.join(directory).join(name))
}

/// Profile of a build.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Profile {
    /// Quickly.
    Debug,
    /// With optimisations.
    Release,
}
