//! Finds filtered interfaces on which the gateway takes prefixes and routes from router advertisements:
//! every client there can send them.

use std::{collections::BTreeSet, fs};

use crate::{
    config::Config,
    daemon::interfaces::devices::device_of,
    system::{Interface, netlink::Snapshot},
};

/// Says of which devices of the zones the gateway takes router advertisements.
pub(super) fn taken(config: &Config, snapshot: &Snapshot) -> Vec<String> {
    let mut devices = BTreeSet::new();
    for zone in config.zones() {
        let interface = snapshot.interface(&zone.interface);
        let index = interface.and_then(|one| device_of(snapshot, one.index, zone.vlan));
        let device = index.and_then(|index| snapshot.by_index(index));
        devices.extend(device.map(Interface::present_name));
    }
    let takes = |device: &&&str| {
        let read = |key: &str| {
            let text = fs::read_to_string(format!("/proc/sys/net/ipv6/conf/{device}/{key}"));
            text.ok().and_then(|text| text.trim().parse::<i32>().ok()).unwrap_or_default()
        };
        accepts(read("accept_ra"), read("forwarding"), read("disable_ipv6"))
    };
    let say = |device: &str| {
        format!(
            "the gateway takes router advertisements on {device}: a client there can give it prefixes and \
             routes, also a default one; expected net.ipv6.conf.{device}.accept_ra = 0"
        )
    };
    devices.iter().filter(takes).map(|device| say(device)).collect()
}

/// Whether the kernel accepts router advertisements, by the interface's settings.
const fn accepts(accept_ra: i32, forwarding: i32, disable_ipv6: i32) -> bool {
    disable_ipv6 == 0 && (accept_ra == 2 || accept_ra == 1 && forwarding == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_router_takes_none_unless_it_is_told_to() {
        for (settings, expected) in [
            ((1, 1, 0), false),
            ((0, 0, 0), false),
            ((0, 1, 0), false),
            ((2, 1, 0), true),
            ((1, 0, 0), true),
            ((2, 1, 1), false),
        ] {
            assert_eq!(accepts(settings.0, settings.1, settings.2), expected, "{settings:?}");
        }
    }
}
