//! Finds attachments by the pins of links.

use std::{
    io,
    os::fd::{AsFd as _, OwnedFd},
    path::Path,
};

use anyhow::{Context as _, Result};

use super::{
    directory::{Hook, PinDirectory},
    syscall::{self, LinkState},
};
use crate::system::Interface;

/// Attachment that a pin stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pinned {
    /// XDP or TCX link.
    Link(LinkState),
    /// Filter of clsact, which has no link: the pin is that of its program, which has this id.
    Filter(u32),
}

/// Whether a hook's program is attached to an interface of this name and index.
pub(super) fn is_on(directory: &PinDirectory, interface: &Interface, hook: Hook) -> Result<bool> {
    Ok(match pinned(&directory.link(&interface.name, hook))? {
        Some(Pinned::Link(link)) => link.ifindex == interface.index,
        Some(Pinned::Filter(program)) => has_filter(interface, hook, program),
        None => false,
    })
}

/// Whether the link of a hook is pinned under an interface's name, and on its index.
pub(super) fn is_linked(
    directory: &PinDirectory,
    interface: &Interface,
    hook: Hook,
) -> Result<bool> {
    let pinned = pinned(&directory.link(&interface.name, hook))?;
    Ok(matches!(pinned, Some(Pinned::Link(link)) if link.ifindex == interface.index))
}

/// Whether an interface has the filter of a hook, with this program, as far as the kernel tells.
pub(super) fn has_filter(interface: &Interface, hook: Hook, program: u32) -> bool {
    interface.filters.is_none_or(|filters| filters.of(hook.clsact()) == Some(program))
}

/// Returns the attachment pinned at a link's path; `None` if there is no pin.
pub(super) fn pinned(path: &Path) -> Result<Option<Pinned>> {
    let Some(pin) = open_pin(path)? else { return Ok(None) };
    Ok(Some(match syscall::link_state(pin.as_fd()) {
        Ok(state) => Pinned::Link(state),
        Err(_) => {
            let program = syscall::program_id(pin.as_fd());
            Pinned::Filter(program.with_context(|| format!("{} is no program", path.display()))?)
        }
    }))
}

/// Opens a pin; `None` if there is none.
pub(super) fn open_pin(path: &Path) -> Result<Option<OwnedFd>> {
    match syscall::open_pin(path) {
        Ok(fd) => Ok(Some(fd)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot open {}", path.display())),
    }
}
