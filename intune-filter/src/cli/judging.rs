//! Finds which programs judge an interface, under whatever name they are pinned: while no daemon runs, pins
//! follow no name.

use anyhow::Result;

use crate::{
    kernel::Pins,
    system::{Interface, Mode, netlink::Snapshot},
};

/// Returns the mode in which an interface is judged, and the name under which its programs are pinned.
///
/// # Errors
/// A pin cannot be read.
pub(super) fn mode_of(pins: &Pins, interface: &Interface) -> Result<Option<(Mode, String)>> {
    if let Some(mode) = pins.enforced(interface)? {
        return Ok(Some((mode, interface.name.clone())));
    }
    for name in pins.directory().linked_interfaces()? {
        let pinned = Interface { name, ..interface.clone() };
        if pins.is_linked(&pinned)?
            && let Some(mode) = pins.enforced(&pinned)?
        {
            return Ok(Some((mode, pinned.name)));
        }
    }
    Ok(None)
}

/// Returns a line for each interface that is judged by programs of another name.
///
/// # Errors
/// A pin cannot be read.
pub(super) fn notes(pins: &Pins, snapshot: &Snapshot) -> Result<Vec<String>> {
    let mut notes = Vec::new();
    for interface in &snapshot.interfaces {
        if let Some((_, pinned)) = mode_of(pins, interface)?
            && pinned != interface.name
        {
            let name = &interface.name;
            notes.push(format!(
                "{name} is judged as {pinned}, as it was called when a daemon ran: the next one goes by \
                 the names in `interfaces`"
            ));
        }
    }
    Ok(notes)
}
