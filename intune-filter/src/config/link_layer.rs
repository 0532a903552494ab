//! Says what of a configuration an interface cannot have for what its packets look like: one of layer 3,
//! whose packets have no Ethernet header, and a bond.

use super::{Config, Mode};
use crate::yaml::FileError;

/// Returns an error for each key that an interface cannot have if it is one of layer 3.
#[must_use]
pub(crate) fn refused_at_layer3(config: &Config, name: &str) -> Vec<FileError> {
    let Some(index) = config.interfaces.iter().position(|one| one.name == name) else {
        return Vec::new();
    };
    let interface = config.interfaces.get(index);
    let mut errors = Vec::new();
    if let Some(mode) = interface.map(|one| one.mode)
        && !matches!(mode, Mode::Auto | Mode::Tc)
    {
        let message = format!(
            "XDP takes frames, and packets on {name} have no Ethernet header (layer 3), expected auto \
             or tc"
        );
        errors.push(config.error(format!("interfaces[{index}].mode"), message));
    }
    if interface.is_some_and(|one| !one.vlans.is_empty()) {
        let message = format!(
            "packets on {name} have no Ethernet header (layer 3) that could carry a tag, expected none"
        );
        errors.push(config.error(format!("interfaces[{index}].vlans"), message));
    }
    for (index, group) in config.clients.iter().enumerate() {
        let is_there = || config.zones_of(group).iter().any(|zone| zone.interface == name);
        if !group.macs.is_empty() && is_there() {
            let message = format!(
                "packets on {name} have no MAC addresses (layer 3), expected no macs, or on another \
                 interface"
            );
            errors.push(config.error(format!("clients[{index}].macs"), message));
        }
    }
    errors
}

/// Returns an error if an interface cannot have its mode where it is a bond.
#[must_use]
pub(crate) fn refused_on_bond(config: &Config, name: &str) -> Option<FileError> {
    let mut interfaces = config.interfaces.iter().enumerate();
    let (index, _) = interfaces.find(|(_, one)| one.name == name && one.mode == Mode::Native)?;
    let message = format!(
        "native XDP sees the frames of the bond {name} as its members', which are in no zone, expected \
         auto, generic or tc"
    );
    Some(config.error(format!("interfaces[{index}].mode"), message))
}
