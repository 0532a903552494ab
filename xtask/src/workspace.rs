//! Where the workspace and its products are, and building them.

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use crate::command;

/// The directory of the workspace.
pub fn root() -> &'static Path {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest)
}

/// The cargo that runs this program, or the one on the path.
pub fn cargo() -> Command {
    let mut cargo = Command::new(cargo_path());
    cargo.current_dir(root());
    cargo
}

/// The path of [`cargo`].
pub fn cargo_path() -> OsString {
    env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

/// The directory of cargo's products: this program is one of them, whatever the configuration says.
pub fn target() -> Result<PathBuf> {
    let program = env::current_exe().context("cannot tell where this program is")?;
    // TARGET/PROFILE/xtask
    let target = program.ancestors().nth(2).context("this program is not where cargo puts it")?;
    Ok(target.to_owned())
}

/// Builds the program, with the BPF object in it.
pub fn build(release: bool) -> Result<()> {
    let mut cargo = cargo();
    cargo.args(["build", "--locked", "--package", "intune-filter"]);
    if release {
        cargo.arg("--release");
    }
    command::run(&mut cargo)
}
