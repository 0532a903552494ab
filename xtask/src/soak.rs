//! The soak: built with optimisations as the user who asks, run as root.

use anyhow::Result;

use crate::{
    command,
    setup::{self, Scope},
    workspace::{self, Profile},
};

/// Builds the filter and the soak, and runs the soak for some minutes. Not a debug build, whose
/// memory and pace are not a gateway's.
pub(crate) fn run(minutes: f64, seed: Option<u64>) -> Result<()> {
    setup::run(Scope::Everything)?;
    workspace::build(Profile::Release, &["intune-filter", "soak"])?;
    let soak = workspace::program(Profile::Release, "soak")?;
    let mut command = command::root_command("making network namespaces", soak)?;
    command.arg(minutes.to_string());
    if let Some(seed) = seed {
        command.args(["--seed", &seed.to_string()]);
    }
    command::run(&mut command)
}
