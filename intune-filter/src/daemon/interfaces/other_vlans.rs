//! Finds the gateway's VLAN devices above filtered interfaces whose id is in no zone.

use std::collections::BTreeSet;

use super::devices::whole;
use crate::{
    config::{Config, OtherVlan, OtherVlans},
    system::netlink::Snapshot,
};

/// Returns the VLAN devices above filtered interfaces whose id is in no zone. Those above a bridge or
/// bond of which an interface is a member have its frames too.
pub(crate) fn other_vlans(config: &Config, snapshot: &Snapshot) -> Vec<OtherVlan> {
    let mut found = BTreeSet::new();
    for wanted in &config.interfaces {
        let Some(interface) = snapshot.interface(&wanted.name) else { continue };
        let parents = [interface.index, whole(snapshot, interface.index)];
        for (device, (parent, vlan)) in &snapshot.vlan_devices {
            if *vlan == 0 || !parents.contains(parent) || wanted.vlans.contains(vlan) {
                continue;
            }
            found.extend(snapshot.by_index(*device).map(|device| OtherVlan {
                interface: wanted.name.clone(),
                vlan: *vlan,
                device: device.name.clone(),
            }));
        }
    }
    found.into_iter().collect()
}

/// Returns the VLAN devices whose frames one configuration denies and another does not.
pub(crate) fn cut_off(from: &Config, to: &Config, snapshot: &Snapshot) -> Vec<OtherVlan> {
    let denied = |config: &Config| match config.other_vlans {
        OtherVlans::Pass => Vec::new(),
        OtherVlans::Deny => other_vlans(config, snapshot),
    };
    let before = denied(from);
    denied(to).into_iter().filter(|other| !before.contains(other)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::Interface;

    fn config(interfaces: &str, other_vlans: &str) -> Config {
        let text = format!(
            "interfaces: {interfaces}\nclients: [{{name: a, networks: [10.20.0.0/24]}}]\n\
             dns: {{resolvers: [10.20.0.1]}}\nother_vlans: {other_vlans}\n"
        );
        Config::parse("config.yaml", &text).unwrap()
    }

    fn snapshot() -> Snapshot {
        let names = [("eth1", 2), ("eth2", 3), ("eth1.20", 20), ("office", 21), ("bond0.40", 22)];
        let interface = |(name, index)| Interface::bare(name, index);
        Snapshot {
            interfaces: names.map(interface).to_vec(),
            vlan_devices: [(20, (2, 20)), (21, (2, 30)), (22, (9, 40)), (23, (2, 50))].into(),
            wholes: [(3, 9)].into(),
            ..Snapshot::default()
        }
    }

    #[test]
    fn vlan_devices_of_no_zone_are_found_by_their_ids() {
        let found = |interfaces| {
            let found = other_vlans(&config(interfaces, "pass"), &snapshot());
            found.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let [twenty, thirty] =
            ["VLAN 20 on eth1 (device eth1.20)", "VLAN 30 on eth1 (device office)"];
        assert_eq!(found("[{name: eth1}]"), [twenty, thirty]);
        assert_eq!(found("[{name: eth1, vlans: [20]}]"), [thirty]);
        assert_eq!(found("[{name: eth1, vlans: [0, 20, 30]}]"), [""; 0]);
        assert_eq!(found("[{name: eth2}]"), ["VLAN 40 on eth2 (device bond0.40)"]);
        assert_eq!(found("[{name: eth9}]"), [""; 0]);
    }

    #[test]
    fn what_a_change_denies_is_what_passed_before() {
        let [passes, denies] = ["pass", "deny"].map(|word| config("[{name: eth1}]", word));
        assert_eq!(cut_off(&passes, &denies, &snapshot()).len(), 2);
        assert_eq!(cut_off(&denies, &passes, &snapshot()), []);
        assert_eq!(cut_off(&denies, &denies, &snapshot()), []);
        let fewer = config("[{name: eth1, vlans: [0, 20]}]", "deny");
        assert_eq!(cut_off(&fewer, &denies, &snapshot()).len(), 1);
    }
}
