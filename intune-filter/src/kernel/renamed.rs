//! Finds interfaces that were renamed under their programs: the pins follow a name that is wanted, and
//! an interface is known by its old name where the new one is not.

use std::{collections::BTreeMap, fs, io, path::Path};

use anyhow::{Context as _, Result};

use super::{
    attached::{Pinned, pinned},
    directory::{Hook, PinDirectory},
};
use crate::system::{
    Interface,
    netlink::{self, Snapshot},
};

/// Name for the pins of an interface on their way to a name that others leave: no interface can have
/// it.
const PASSING: &str = ":";

/// Moves the pins of renamed interfaces whose new name is among `wanted`, so that the programs stay on
/// them; then does as [`keep_names`].
///
/// # Errors
/// A pin cannot be read or moved.
pub(crate) fn follow_names(
    directory: &PinDirectory,
    wanted: &[&str],
    snapshot: &mut Snapshot,
) -> Result<()> {
    let mut moves = Vec::new();
    for name in directory.linked_interfaces()? {
        let now = on(directory, &name, snapshot)?.map(|interface| interface.name.clone());
        if let Some(now) = now.filter(|now| *now != name && wanted.contains(&now.as_str())) {
            log::info!("{name} is called {now} now, and goes on being judged");
            moves.push((name, now));
        }
    }
    // Two interfaces may have changed their names with each other.
    for (number, (from, _)) in moves.iter().enumerate() {
        move_pins(directory, from, &format!("{PASSING}{number}"))?;
    }
    for (number, (_, to)) in moves.iter().enumerate() {
        move_pins(directory, &format!("{PASSING}{number}"), to)?;
    }
    keep_names(directory, wanted, snapshot)
}

/// Gives renamed interfaces the names back under which they are pinned, unless another interface has
/// that name, or the present one is among `wanted`.
///
/// # Errors
/// A pin cannot be read.
pub(crate) fn keep_names(
    directory: &PinDirectory,
    wanted: &[&str],
    snapshot: &mut Snapshot,
) -> Result<()> {
    let mut kept = BTreeMap::new();
    for name in directory.linked_interfaces()? {
        if let Some(interface) = on(directory, &name, snapshot)?
            && !wanted.contains(&interface.name.as_str())
        {
            kept.insert(interface.index, name);
        }
    }
    for (index, name) in kept {
        snapshot.keep_name(&name, index);
    }
    Ok(())
}

/// Returns the interfaces and addresses of this moment, as [`keep_names`] names them.
///
/// # Errors
/// The kernel does not answer, or a pin cannot be read.
pub(crate) fn named_snapshot(directory: &PinDirectory, wanted: &[&str]) -> Result<Snapshot> {
    let mut snapshot = netlink::snapshot()?;
    keep_names(directory, wanted, &mut snapshot)?;
    Ok(snapshot)
}

/// Returns the present name of an interface that is pinned under a name: the same, unless it was
/// renamed.
pub(super) fn present_name(directory: &PinDirectory, name: &str) -> String {
    let links = Hook::ALL.into_iter().filter_map(|hook| link(directory, name, hook).ok().flatten());
    let mut indices = links.map(|(index, _)| index);
    let present = indices.find_map(|index| nix::net::if_::if_indextoname(index).ok());
    present.and_then(|name| name.into_string().ok()).unwrap_or_else(|| name.to_owned())
}

/// Hooks of packets to clients, one of which every judged interface has.
const TO_CLIENTS: [Hook; 2] = [Hook::Egress, Hook::EgressL3];

/// Returns the interface on which the programs pinned under a name are.
fn on<'s>(
    directory: &PinDirectory,
    name: &str,
    snapshot: &'s Snapshot,
) -> Result<Option<&'s Interface>> {
    if let Some((index, program)) = link(directory, name, Hook::Ingress)? {
        // One in another namespace may have an index that another interface has here.
        let is_it = |found: &&Interface| found.xdp.is_some_and(|(id, _)| id == program);
        return Ok(snapshot.by_index(index).filter(is_it));
    }
    for hook in TO_CLIENTS {
        if let Some((index, _)) = link(directory, name, hook)? {
            return Ok(snapshot.by_index(index));
        }
    }
    by_filter(directory, name, snapshot)
}

/// Returns the interface with the filters pinned under a name: that of this name or, where there is none,
/// the only one that has filters there and no pins of its own.
fn by_filter<'s>(
    directory: &PinDirectory,
    name: &str,
    snapshot: &'s Snapshot,
) -> Result<Option<&'s Interface>> {
    let mut is_filter = false;
    for hook in TO_CLIENTS {
        is_filter |= matches!(pinned(&directory.link(name, hook))?, Some(Pinned::Filter));
    }
    if !is_filter || snapshot.interface(name).is_some() {
        return Ok(snapshot.interface(name).filter(|_| is_filter));
    }
    let pinned = directory.linked_interfaces()?;
    let mut candidates = snapshot.interfaces.iter().filter(|interface| {
        interface.filters.is_some_and(|filters| filters.egress) && !pinned.contains(&interface.name)
    });
    let missing = pinned.iter().filter(|name| snapshot.interface(name).is_none()).count();
    let first = candidates.next();
    Ok(first.filter(|_| missing == 1 && candidates.next().is_none()))
}

/// Returns the index of a link's interface and the id of its program, if the link is on one.
fn link(directory: &PinDirectory, name: &str, hook: Hook) -> Result<Option<(u32, u32)>> {
    Ok(match pinned(&directory.link(name, hook))? {
        Some(Pinned::Link(state)) if state.ifindex != 0 => Some((state.ifindex, state.program)),
        _ => None,
    })
}

fn move_pins(directory: &PinDirectory, from: &str, to: &str) -> Result<()> {
    for hook in Hook::ALL {
        let (from, to) = (directory.link(from, hook), directory.link(to, hook));
        // What is in the place belongs to no interface that is wanted.
        remove(&to)?;
        match fs::rename(&from, &to) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("cannot move {}", from.display()));
            }
            _ => {}
        }
    }
    Ok(())
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}
