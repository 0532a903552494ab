//! Licences, sources and advisories of the libraries that the workspace depends on, by cargo-deny.

use std::{path::PathBuf, process::Command};

use anyhow::Result;

use crate::{
    command::{self, find, say, succeeds},
    toolchain, workspace,
};

/// The release that the configuration was written for.
const VERSION: &str = "0.20.2";

/// Checks what `.cargo/deny.toml` says: advisories only where their database can be fetched.
/// Without cargo-deny nothing is checked, and that is said.
pub(crate) fn check() -> Result<()> {
    let Some(program) = installed() else {
        say(&format!(
            "cargo-deny is not here: licences and sources of libraries go unchecked (`cargo \
             install cargo-deny --version {VERSION} --locked`)"
        ));
        return Ok(());
    };
    let deny = |words: &[&str]| {
        let mut command = Command::new(&program);
        command.current_dir(workspace::root()).arg("--locked").args(words);
        command
    };
    command::run(&mut deny(&["check", "--hide-inclusion-graph", "licenses", "bans", "sources"]))?;
    if !succeeds(&mut deny(&["fetch", "db"])) {
        say("the database of advisories cannot be fetched here: advisories go unchecked");
        return Ok(());
    }
    command::run(&mut deny(&["check", "--disable-fetch", "advisories"]))
}

fn installed() -> Option<PathBuf> {
    let beside_cargo = toolchain::cargo_home().join("bin/cargo-deny");
    find("cargo-deny").or_else(|| beside_cargo.is_file().then_some(beside_cargo))
}
