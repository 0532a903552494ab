//! VLAN tags are seen at the start and stay seen: whoever turns an offload on again would hide them,
//! and with them every zone that goes by a tag.

use anyhow::Result;

use super::state::Daemon;
use crate::{kernel, system::netlink::Snapshot};

impl Daemon<'_> {
    /// Looks at every interface that is attached.
    pub(super) fn keep_tags(&mut self, snapshot: &Snapshot) {
        for interface in self.reconciler.attached_among(&snapshot.interfaces) {
            if let Err(error) = self.see_tags(&interface.name) {
                self.failed(interface, &error);
            }
        }
    }

    /// Sees to it that an interface's frames show their tags, where zones go by them.
    pub(super) fn see_tags(&self, name: &str) -> Result<()> {
        match self.reconciler.wanted(name) {
            Some(wanted) if wanted.needs_tags() => kernel::keep_tags(name, wanted.manage_offloads),
            _ => Ok(()),
        }
    }
}
