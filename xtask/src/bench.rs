//! The benchmarks: built with optimisations as the user who asks, run as root.

use std::ffi::OsString;

use anyhow::Result;

use crate::{
    command,
    setup::{self, Scope},
    workspace::{self, Profile},
};

/// Builds the benchmarks and runs them.
pub fn run(arguments: &[OsString]) -> Result<()> {
    setup::run(Scope::Everything)?;
    workspace::build(Profile::Release, &["intune-filter", "bench"])?;
    let bench = workspace::program(Profile::Release, "bench")?;
    command::run(command::root_command("measuring programs in the kernel", bench)?.args(arguments))
}
