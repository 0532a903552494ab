//! Cargo, from within a test: for the programs of other packages, which `cargo test` does not build.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use anyhow::{Context as _, Result, anyhow, ensure};

use crate::namespace::run;

/// Cargo in the workspace's root.
#[must_use]
pub fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// The developer commands: the program that runs this test, or the one that cargo builds now.
#[must_use]
pub fn xtask() -> Command {
    if let Some(program) = env::var_os("INTUNE_XTASK") {
        return Command::new(program);
    }
    let mut cargo = cargo();
    cargo.args(["run", "--quiet", "--package", "xtask", "--"]);
    cargo
}

/// The workspace's root.
#[must_use]
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}

/// The directory in which everything is built.
pub fn target() -> Result<PathBuf> {
    let profile = profile()?;
    Ok(profile.parent().context("a profile is in a directory")?.to_owned())
}

/// The directory of the profile that a test program was built in, such as target/debug.
fn profile() -> Result<PathBuf> {
    let program = env::current_exe()?;
    let mut directory = program.parent().context("a program is in a directory")?;
    if directory.ends_with("deps") {
        directory = directory.parent().context("deps is in a profile's directory")?;
    }
    Ok(directory.to_owned())
}

/// The binary under test: `INTUNE_FILTER`, or the one beside this program, or, under `cargo test`,
/// which builds no other package's binaries, what cargo builds now.
pub fn binary() -> Result<PathBuf> {
    static BINARY: OnceLock<Result<PathBuf, String>> = OnceLock::new();

    BINARY
        .get_or_init(|| find().map_err(|error| format!("{error:#}")))
        .clone()
        .map_err(|e| anyhow!(e))
}

fn find() -> Result<PathBuf> {
    if let Some(path) = env::var_os("INTUNE_FILTER") {
        return fs::canonicalize(&path).with_context(|| format!("INTUNE_FILTER={path:?}"));
    }
    let profile = profile()?;
    let path = profile.join("intune-filter");
    if env::current_exe()?.parent() == Some(&profile) {
        ensure!(path.exists(), "{} is not built: run `cargo xtask demo`", path.display());
        return Ok(path);
    }
    let mut build = cargo();
    build.args(["build", "--quiet", "--workspace", "--bin", "intune-filter"]);
    if profile.ends_with("release") {
        build.arg("--release");
    }
    run(&mut build).context("cannot build intune-filter")?;
    Ok(path)
}
