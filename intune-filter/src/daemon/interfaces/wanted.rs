//! Describes interfaces that the policy wants enforced, with their zones.

use crate::{
    kernel::{WantedMode, ZoneMap},
    system::{Interface, LinkLayer, netlink::Snapshot},
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
    /// Errors that the configuration has if the interface is one of layer 3.
    pub at_layer3: Vec<String>,
    /// Error that it has if the interface is a bond.
    pub on_bond: Option<String>,
}

impl EnforcedInterface {
    /// Returns the mode to ask for on an interface: XDP in the driver of a veth device would answer in
    /// vain if the peer does not receive that, and in the drivers of a bond's members see no frame of the
    /// bond's.
    #[must_use]
    pub(super) fn mode_on(&self, interface: &Interface, snapshot: &Snapshot) -> WantedMode {
        let avoids = snapshot.deaf.contains(&interface.index) || interface.link == LinkLayer::Bond;
        if self.mode == WantedMode::Auto && avoids { WantedMode::Generic } else { self.mode }
    }

    /// Returns why the interface cannot be enforced as it is, if it cannot.
    #[must_use]
    pub(crate) fn refusal(&self, interface: &Interface) -> Option<String> {
        match &interface.link {
            LinkLayer::Ethernet => None,
            LinkLayer::Bond => self.on_bond.clone(),
            LinkLayer::Layer3 => (!self.at_layer3.is_empty()).then(|| self.at_layer3.join("; ")),
            LinkLayer::Unjudged(why) => Some(why.to_string()),
        }
    }

    /// Whether frames have to keep their VLAN tags. TC sees tags that the hardware has stripped
    /// too.
    #[must_use]
    pub fn needs_tags(&self) -> bool {
        let by_tag = self.denies_other_vlans || self.zones.iter().any(|(vlan, _)| *vlan != 0);
        self.mode != WantedMode::Tc && by_tag
    }
}

#[cfg(test)]
impl EnforcedInterface {
    /// Returns an interface with zones, in the mode auto.
    pub(super) fn bare(name: &str, zones: &[(u16, u32)]) -> Self {
        Self {
            name: name.into(),
            mode: WantedMode::Auto,
            zones: zones.to_vec(),
            manage_offloads: true,
            denies_other_vlans: false,
            at_layer3: Vec::new(),
            on_bond: None,
        }
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
