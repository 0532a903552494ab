//! The demo: built as the user who asks, run as root.

use std::ffi::OsString;

use anyhow::Result;

use crate::{
    command,
    setup::{self, Scope},
    workspace,
};

/// Builds the program and the demo, and runs the demo.
pub fn run(arguments: &[OsString]) -> Result<()> {
    setup::run(Scope::Everything)?;
    workspace::build(true)?;
    let build = ["build", "--locked", "--release", "--package", "intune-filter-tests"];
    command::run(workspace::cargo().args(build).args(["--bin", "demo"]))?;
    let demo = workspace::target()?.join("release/demo");
    command::run(command::root_command("the demo", demo)?.args(arguments))
}
