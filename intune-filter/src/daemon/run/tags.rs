//! Checks that interfaces can be judged as wanted, and that VLAN tags stay visible. An offload that others turn on again would hide them, and
//! every zone with a tag.

use anyhow::{Result, bail};

use super::state::Daemon;
use crate::{
    kernel,
    system::{Interface, netlink::Snapshot},
};

impl Daemon<'_> {
    /// Checks every attached interface.
    pub(super) fn keep_tags(&mut self, snapshot: &Snapshot) {
        for interface in self.reconciler.attached_among(&snapshot.interfaces) {
            if let Err(error) = self.may_enforce(interface) {
                self.failed(interface, &error);
            }
        }
    }

    /// Ensures that an interface's packets can be judged as the configuration wants, and that its frames
    /// keep their tags, if zones depend on them.
    pub(super) fn may_enforce(&self, interface: &Interface) -> Result<()> {
        let Some(wanted) = self.reconciler.wanted(&interface.name) else { return Ok(()) };
        if let Some(why) = wanted.refusal(interface) {
            bail!(why);
        }
        if wanted.needs_tags() && interface.link.has_frames() {
            return kernel::keep_tags(interface.present_name(), wanted.manage_offloads);
        }
        Ok(())
    }
}
