//! Describes interfaces that the policy wants enforced, with their zones.

use crate::{
    kernel::{WantedMode, ZoneMap},
    system::netlink::Snapshot,
};

/// Interface that the policy wants enforced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnforcedInterface {
    /// Name of the interface.
    pub name: String,
    /// Mode in which packets from clients are to be judged.
    pub mode: WantedMode,
    /// Zone numbers with their VLAN ids.
    pub zones: Vec<(u16, u32)>,
    /// Whether offloads that hide VLAN tags may be turned off.
    pub manage_offloads: bool,
    /// Whether frames with a VLAN tag that no zone has are denied.
    pub denies_other_vlans: bool,
}

impl EnforcedInterface {
    /// Returns the mode to ask for on an interface with this index: XDP in the driver of a veth device
    /// would answer in vain if the peer does not receive that.
    #[must_use]
    pub(super) fn mode_on(&self, index: u32, snapshot: &Snapshot) -> WantedMode {
        let is_deaf = self.mode == WantedMode::Auto && snapshot.deaf.contains(&index);
        if is_deaf { WantedMode::Generic } else { self.mode }
    }

    /// Whether frames have to keep their VLAN tags. TC sees tags that the hardware has stripped
    /// too.
    #[must_use]
    pub fn needs_tags(&self) -> bool {
        let by_tag = self.denies_other_vlans || self.zones.iter().any(|(vlan, _)| *vlan != 0);
        self.mode != WantedMode::Tc && by_tag
    }
}

/// Returns the zones of the interfaces that exist.
#[must_use]
pub(crate) fn zones_of(wanted: &[EnforcedInterface], snapshot: &Snapshot) -> ZoneMap {
    wanted
        .iter()
        .filter_map(|wanted| Some((wanted, snapshot.interface(&wanted.name)?.index)))
        .flat_map(|(wanted, index)| {
            wanted.zones.iter().map(move |(vlan, zone)| ((index, u32::from(*vlan)), *zone))
        })
        .collect()
}
