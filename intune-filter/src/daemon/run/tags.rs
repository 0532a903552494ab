//! Checks that VLAN tags stay visible. An offload that others turn on again would hide them, and
//! every zone with a tag.

use anyhow::Result;

use super::state::Daemon;
use crate::{
    kernel,
    system::{Interface, netlink::Snapshot},
};

impl Daemon<'_> {
    /// Checks every attached interface.
    pub(super) fn keep_tags(&mut self, snapshot: &Snapshot) {
        for interface in self.reconciler.attached_among(&snapshot.interfaces) {
            if let Err(error) = self.see_tags(interface) {
                self.failed(interface, &error);
            }
        }
    }

    /// Ensures that an interface's frames keep their tags, if zones depend on them.
    pub(super) fn see_tags(&self, interface: &Interface) -> Result<()> {
        match self.reconciler.wanted(&interface.name) {
            Some(wanted) if wanted.needs_tags() => {
                kernel::keep_tags(interface.present_name(), wanted.manage_offloads)
            }
            _ => Ok(()),
        }
    }
}
