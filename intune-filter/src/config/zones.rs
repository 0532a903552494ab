//! Zones: the (interface, VLAN) pairs of the configuration, and which of them a group is in.

use super::{ClientGroup, Config};

/// An interface and VLAN whose frames are judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone {
    /// Its number, from 1 in the file's order.
    pub number: u32,
    /// The interface's name.
    pub interface: String,
    /// The VLAN id, 0 for untagged frames.
    pub vlan: u16,
}

impl std::fmt::Display for Zone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.vlan {
            0 => f.write_str(&self.interface),
            vlan => write!(f, "{}.{vlan}", self.interface),
        }
    }
}

impl Config {
    /// Every zone, in the order of its number.
    #[must_use]
    pub fn zones(&self) -> Vec<Zone> {
        let untagged = [0];
        let pairs = self.interfaces.iter().flat_map(|interface| {
            let vlans = if interface.vlans.is_empty() { &untagged[..] } else { &interface.vlans };
            vlans.iter().map(|vlan| (interface.name.clone(), *vlan))
        });
        (1..)
            .zip(pairs)
            .map(|(number, (interface, vlan))| Zone { number, interface, vlan })
            .collect()
    }

    /// The zones that a group is in: all of them if it has no `on`, all of an interface if it
    /// names that alone; none if it names what is not configured.
    #[must_use]
    pub fn zones_of(&self, group: &ClientGroup) -> Vec<Zone> {
        let mut zones = self.zones();
        let Some(on) = &group.on else { return zones };
        if self.interfaces.iter().any(|interface| interface.name == *on) {
            zones.retain(|zone| zone.interface == *on);
        } else {
            zones.retain(|zone| format!("{}.{}", zone.interface, zone.vlan) == *on);
        }
        zones
    }
}
