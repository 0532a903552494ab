//! The demo: built as the user who asks, run as root.

use std::ffi::OsString;

use anyhow::Result;

use crate::{
    command,
    setup::{self, Scope},
    workspace::{self, Profile},
};

/// Builds the program and the demo, and runs the demo.
pub(crate) fn run(arguments: &[OsString]) -> Result<()> {
    setup::run(Scope::Everything)?;
    workspace::build(Profile::Release, &["intune-filter", "demo"])?;
    let demo = workspace::program(Profile::Release, "demo")?;
    command::run(command::root_command("the demo", demo)?.args(arguments))
}
