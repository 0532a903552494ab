//! Prepares a start: makes directories, takes locks, and translates the configuration for the
//! kernel and the reconciler.

use std::{fs, os::unix::fs::DirBuilderExt as _, path::Path};

use anyhow::{Context as _, Result};

use super::interfaces::EnforcedInterface;
use crate::{
    config::{self, Config, Mode, OtherVlans, Paths, refused_at_layer3, refused_on_bond},
    kernel::{self, Hook, Lock, PinDirectory, WantedMode},
    policy::Policy,
    system::{LinkLayer, netlink::Snapshot},
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

/// Returns the hooks that the interfaces need, each once. Interfaces that do not exist yet are taken for
/// Ethernet.
#[must_use]
pub fn hooks(config: &Config, snapshot: &Snapshot) -> Vec<Hook> {
    let of = |interface: &config::Interface| {
        let now = snapshot.interface(&interface.name);
        let link = now.map_or(&LinkLayer::Ethernet, |now| &now.link);
        [wanted_mode(interface.mode).hook(link), Hook::to_clients(link)]
    };
    let needed: Vec<Hook> = config.interfaces.iter().flat_map(of).flatten().collect();
    Hook::ALL.into_iter().filter(|hook| needed.contains(hook)).collect()
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
                at_layer3: refused_at_layer3(config, &interface.name)
                    .iter()
                    .map(ToString::to_string)
                    .collect(),
                on_bond: refused_on_bond(config, &interface.name).map(|error| error.to_string()),
            }
        })
        .collect()
}
