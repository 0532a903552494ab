//! Finds interfaces that were renamed under their programs: the pins follow a name that is wanted, and
//! an interface is known by its old name where the new one is not.

use std::{collections::BTreeMap, fs, io, path::Path};

use anyhow::{Context as _, Result};

use super::{
    attached::{Pinned, has_filter, pinned},
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

/// Returns the interface with the filter pinned under a name: that of this name or, if it has not, the
/// only one that has and is not pinned by its own name.
fn by_filter<'s>(
    directory: &PinDirectory,
    name: &str,
    snapshot: &'s Snapshot,
) -> Result<Option<&'s Interface>> {
    let Some((hook, program)) = filter(directory, name)? else { return Ok(None) };
    let on_its_own = |name: &str, hook, program| {
        snapshot.interface(name).filter(|interface| has_filter(interface, hook, program))
    };
    if let Some(interface) = on_its_own(name, hook, program) {
        return Ok(Some(interface));
    }
    let pinned = directory.linked_interfaces()?;
    for other in pinned.iter().filter(|other| *other != name) {
        // Which of them is which nothing tells.
        if filter(directory, other)?
            .is_some_and(|(hook, of)| of == program && on_its_own(other, hook, of).is_none())
        {
            return Ok(None);
        }
    }
    let mut candidates = snapshot.interfaces.iter().filter(|interface| {
        let filters = interface.filters.and_then(|filters| filters.of(hook.clsact()));
        filters == Some(program) && !pinned.contains(&interface.name)
    });
    let first = candidates.next();
    Ok(first.filter(|_| candidates.next().is_none()))
}

/// Returns the hook and the program of the filter of packets to clients that is pinned under a name.
fn filter(directory: &PinDirectory, name: &str) -> Result<Option<(Hook, u32)>> {
    for hook in TO_CLIENTS {
        if let Some(Pinned::Filter(program)) = pinned(&directory.link(name, hook))? {
            return Ok(Some((hook, program)));
        }
    }
    Ok(None)
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
