//! Finds filters of clsact that are this instance's, and takes them off interfaces that it judges no more:
//! unlike a link, such a filter outlives its pin, and goes with an interface to another name.

use std::{collections::BTreeSet, thread};

use anyhow::{Result, anyhow};
use aya::{maps::MapInfo, programs::loaded_programs, util::KernelVersion};

use super::{
    directory::{Hook, PinDirectory, entries},
    filter,
    renamed::keep_names,
};
use crate::system::{
    clsact::{Direction, TCX},
    netlink::{self, Snapshot},
};

/// Whether a program uses one of the maps that are pinned in a directory, which tells it from any other's,
/// another instance's too.
pub(super) fn is_ours(directory: &PinDirectory, program: u32) -> Result<bool> {
    let mut loaded = loaded_programs().filter_map(Result::ok);
    let Some(found) = loaded.find(|loaded| loaded.id() == program) else { return Ok(false) };
    let used: BTreeSet<u32> = found.map_ids()?.unwrap_or_default().into_iter().collect();
    for layout in directory.layouts()? {
        let maps = directory.root().join(layout).join("maps");
        let mut pinned = entries(&maps)?.into_iter().filter_map(|name| {
            // One that was removed meanwhile is no more ours than one that was never there.
            MapInfo::from_pin(maps.join(name)).ok()
        });
        if pinned.any(|map| used.contains(&map.id())) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Removes the filters of this instance from every interface that has no pin for them under the name by
/// which it is judged.
///
/// # Errors
/// A pin cannot be read.
pub(crate) fn take_off_leftovers(directory: &PinDirectory, snapshot: &Snapshot) -> Result<()> {
    for interface in &snapshot.interfaces {
        for direction in Direction::ALL {
            let Some(program) = interface.filters.and_then(|filters| filters.of(direction)) else {
                continue;
            };
            let mut hooks = Hook::ALL.into_iter().filter(|hook| hook.clsact() == direction);
            let is_pinned = hooks.any(|hook| directory.link(&interface.name, hook).exists());
            if !is_pinned && is_ours(directory, program)? {
                log::info!(
                    "{}: not judged any more: its filters are removed",
                    interface.present_name()
                );
                filter::remove(interface.present_name(), direction);
            }
        }
    }
    Ok(())
}

/// Does the same with the interfaces of this moment. Where programs are attached by links alone, there is
/// nothing to do.
pub(super) fn take_off_now(directory: &PinDirectory) -> Result<()> {
    if KernelVersion::current().is_ok_and(|version| version >= TCX) {
        return Ok(());
    }
    // A runtime cannot wait for another one in its own thread.
    let read = thread::scope(|scope| scope.spawn(netlink::snapshot).join());
    let mut snapshot = read.map_err(|_| anyhow!("cannot read the interfaces"))??;
    keep_names(directory, &[], &mut snapshot)?;
    take_off_leftovers(directory, &snapshot)
}
