//! Prepares a start: makes directories, takes locks, and translates the configuration for the
//! kernel and the reconciler.

use std::{fs, os::unix::fs::DirBuilderExt as _, path::Path};

use anyhow::{Context as _, Result};

use super::interfaces::EnforcedInterface;
use crate::{
    config::{Config, Mode, OtherVlans, Paths},
    kernel::{self, Hook, Lock, PinDirectory, WantedMode},
    policy::Policy,
};

/// Makes the directories, and keeps every other daemon out of them.
///
/// # Errors
/// A directory cannot be made, or another daemon has it.
pub fn prepare(paths: &Paths) -> Result<Vec<Lock>> {
    let make = |directory: &Path| {
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(directory);
        made.with_context(|| format!("cannot make {}", directory.display()))
    };
    make(&paths.runtime_dir)?;
    kernel::ensure_bpffs(&paths.pin_dir)?;
    PinDirectory::new(&paths.pin_dir).refuse_other_layouts()?;
    let mut locks = vec![kernel::acquire(&paths.pin_dir)?];
    match make(&paths.state_dir) {
        Ok(()) => locks.push(kernel::acquire(&paths.state_dir)?),
        // Without the state directory nothing survives a restart, but everything filters.
        Err(error) => log::error!("{error:#}"),
    }
    Ok(locks)
}

/// Returns the hooks that the interfaces need, each once.
#[must_use]
pub fn hooks(config: &Config) -> Vec<Hook> {
    let judges = |hook: &Hook| {
        config.interfaces.iter().any(|interface| wanted_mode(interface.mode).hook() == *hook)
    };
    Hook::ALL.into_iter().filter(|hook| *hook == Hook::Egress || judges(hook)).collect()
}

const fn wanted_mode(mode: Mode) -> WantedMode {
    match mode {
        Mode::Auto => WantedMode::Auto,
        Mode::Native => WantedMode::Native,
        Mode::Generic => WantedMode::Generic,
        Mode::Tc => WantedMode::Tc,
    }
}

/// The interfaces that the policy wants enforced.
#[must_use]
pub fn wanted(config: &Config, policy: &Policy) -> Vec<EnforcedInterface> {
    config
        .interfaces
        .iter()
        .map(|interface| {
            let mode = wanted_mode(interface.mode);
            let zones = policy.zones.iter().filter(|zone| zone.interface == interface.name);
            let zones = zones.map(|zone| (zone.vlan, zone.number)).collect();
            EnforcedInterface {
                name: interface.name.clone(),
                mode,
                zones,
                manage_offloads: config.manage_offloads,
                denies_other_vlans: config.other_vlans == OtherVlans::Deny,
            }
        })
        .collect()
}
