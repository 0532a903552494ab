//! Removes everything, links first, then programs and maps, of every layout.

use std::{fs, io, path::Path};

use anyhow::{Context as _, Result};

use super::{
    attach, bpffs,
    directory::{PinDirectory, entries},
    leftovers,
};

/// Removes all pins. Returns whether there were any. The first error is told after everything
/// else has been tried: this is the way back for someone who is locked out.
///
/// # Errors
/// A link or a pin cannot be removed.
pub fn remove_all(directory: &PinDirectory) -> Result<bool> {
    let mut first_error = None;
    let mut note = |result: Result<()>| {
        if let Err(error) = result {
            first_error.get_or_insert(error);
        }
    };
    let mut removed = false;
    for layout in directory.layouts()? {
        let layout = directory.root().join(layout);
        // The links' directory and names are the same in every layout.
        let links = layout.join("links");
        for name in entries(&links)? {
            removed = true;
            note(attach::remove_attachment(&links.join(name)).map(drop));
        }
        // Before the maps are gone, which tell whose a filter is.
        note(leftovers::take_off_now(directory));
        for part in ["programs", "stages", "maps"] {
            for name in entries(&layout.join(part))? {
                removed = true;
                note(remove_file(&layout.join(part).join(name)));
            }
        }
        for part in ["links", "programs", "stages", "maps", ""] {
            note(remove_directory(&layout.join(part)));
        }
    }
    note(bpffs::release(directory.root()));
    note(remove_directory(directory.root()));
    first_error.map_or(Ok(removed), Err)
}

fn remove_file(path: &Path) -> Result<()> {
    fs::remove_file(path).with_context(|| format!("cannot remove {}", path.display()))
}

fn remove_directory(path: &Path) -> Result<()> {
    match fs::remove_dir(path) {
        Ok(()) => Ok(()),
        Err(error) => match error.kind() {
            // The directory holds files of other programs, or is another program's mount.
            io::ErrorKind::NotFound
            | io::ErrorKind::DirectoryNotEmpty
            | io::ErrorKind::ResourceBusy => Ok(()),
            _ => Err(error).with_context(|| format!("cannot remove {}", path.display())),
        },
    }
}
