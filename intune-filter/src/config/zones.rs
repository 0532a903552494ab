//! Numbers the zones, pairs of interface and VLAN, and finds those of a group.

use super::{ClientGroup, Config, Interface, SourceCheck};

/// Interface and VLAN whose frames are judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone {
    /// Number of the zone, from 1 in the file's order.
    pub number: u32,
    /// Name of the interface.
    pub interface: String,
    /// VLAN id, 0 for untagged frames.
    pub vlan: u16,
    /// Sources that are denied for the way that the routes lead to them.
    pub source_check: SourceCheck,
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
    /// Whether a device is one of the filtered interfaces.
    #[must_use]
    pub fn filters(&self, device: &str) -> bool {
        self.interfaces.iter().any(|interface| interface.name == device)
    }

    /// Returns the names of the filtered interfaces.
    #[must_use]
    pub fn interface_names(&self) -> Vec<&str> {
        self.interfaces.iter().map(|interface| interface.name.as_str()).collect()
    }

    /// Returns every zone in the order of their numbers.
    #[must_use]
    pub fn zones(&self) -> Vec<Zone> {
        let untagged = [0];
        let pairs = self.interfaces.iter().flat_map(|interface| {
            let vlans = if interface.vlans.is_empty() { &untagged[..] } else { &interface.vlans };
            vlans.iter().map(move |vlan| (interface, *vlan))
        });
        let zone = |(number, (interface, vlan)): (u32, (&Interface, u16))| Zone {
            number,
            interface: interface.name.clone(),
            vlan,
            source_check: interface.source_check,
        };
        (1..).zip(pairs).map(zone).collect()
    }

    /// Returns the zones of a group: all zones if the group has no `on`, all of an interface if
    /// `on` names one; none if `on` names a zone that is not configured.
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
