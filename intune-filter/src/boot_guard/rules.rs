//! Computes the rules of the guard: the clients' interfaces, those that pass, and the nftables
//! table with both.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use crate::{
    config::Zone,
    system::{Interface, netlink::Snapshot},
};

/// Name of the table, of family `inet`.
pub(crate) const TABLE: &str = "intune-filter";

/// Name of the set of interfaces that pass.
pub(super) const JUDGED: &str = "judged";
/// Name of the set of those among them that the configuration names.
pub(super) const DEVICES: &str = "attached";
/// Name of the set of interfaces that are held back.
pub(super) const HELD: &str = "held";

/// Priority before the filters of others, which may accept packets or divert them past later
/// chains.
const PRIORITY: i32 = -10;

/// Longest interface name, in octets: Linux's IFNAMSIZ less the terminating zero.
const NAME_MAX: usize = 15;

/// Interfaces that the guard blocks or lets pass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct GuardRules {
    /// Names of the interfaces with clients, including VLAN devices.
    pub names: BTreeSet<String>,
    /// Indices of the interfaces that pass, since a program has judged their packets.
    pub judged: BTreeSet<u32>,
    /// Indices of those among them that the configuration names: not the bridge or bond of a member. No rule
    /// asks for them, but the next daemon does.
    pub devices: BTreeSet<u32>,
    /// Indices of interfaces that were judged, and are the configuration's no more.
    pub held: BTreeSet<u32>,
}

impl GuardRules {
    /// Returns the rules for zones. `is_attached` tells whether the programs of both directions are
    /// on an interface.
    #[must_use]
    pub(crate) fn new(
        zones: &[Zone],
        snapshot: &Snapshot,
        is_attached: impl Fn(&Interface) -> bool,
    ) -> Self {
        let mut gate = Self::default();
        // A whole passes when every filtered member is attached.
        let mut unjudged = BTreeSet::new();
        let filters = |name: &str| zones.iter().any(|zone| zone.interface == name);
        for zone in zones {
            let now = snapshot.interface(&zone.interface);
            let attached = now.is_some_and(&is_attached);
            let judged = if attached { &mut gate.judged } else { &mut unjudged };
            let wholes = now.into_iter().flat_map(|now| snapshot.wholes_of(now.index));
            if zone.vlan == 0 {
                gate.names.insert(zone.interface.clone());
                gate.names.extend(now.and_then(|now| now.renamed.clone()));
                judged.extend(now.map(|now| now.index));
                // The stack receives a member's packets from there.
                for index in wholes {
                    let whole = snapshot.by_index(index);
                    if let Some(whole) = whole.filter(|whole| !filters(&whole.name)) {
                        gate.names.insert(whole.present_name().to_owned());
                        judged.insert(index);
                    }
                }
                continue;
            }
            let below: Vec<u32> = wholes.chain(now.map(|now| now.index)).collect();
            for device in &snapshot.interfaces {
                let vlan = snapshot.vlan_devices.get(&device.index);
                if vlan.is_some_and(|(of, id)| below.contains(of) && *id == zone.vlan) {
                    gate.names.insert(device.present_name().to_owned());
                    judged.insert(device.index);
                }
            }
            let is_another = |name: &String| snapshot.interface(name).is_some();
            gate.names.extend(usual_names(zone).filter(|name| !is_another(name)));
        }
        gate.judged.retain(|index| !unjudged.contains(index));
        let devices = Self::devices(zones, snapshot).into_keys();
        gate.devices = devices.filter(|index| gate.judged.contains(index)).collect();
        gate
    }

    /// Returns the devices whose packets the zones judge, by index: interfaces, and devices of their VLANs.
    #[must_use]
    pub(super) fn devices<'z>(zones: &'z [Zone], snapshot: &Snapshot) -> BTreeMap<u32, &'z Zone> {
        let mut devices = BTreeMap::new();
        for zone in zones {
            let Some(now) = snapshot.interface(&zone.interface) else { continue };
            if zone.vlan == 0 {
                devices.insert(now.index, zone);
                continue;
            }
            let below: Vec<u32> = snapshot.wholes_of(now.index).chain([now.index]).collect();
            let of_vlan = snapshot.vlan_devices.iter();
            let of_vlan = of_vlan.filter(|(_, (of, id))| below.contains(of) && *id == zone.vlan);
            devices.extend(of_vlan.map(|(index, _)| (*index, zone)));
        }
        devices
    }

    /// Returns the table as nft's input, which replaces an existing table. A persistent table can
    /// be owned, and needs nft 1.1 and Linux 6.9.
    #[must_use]
    pub(crate) fn ruleset(&self, persists: bool) -> String {
        let names: Vec<String> = self.names.iter().map(|name| format!("\"{name}\"")).collect();
        let numbers =
            |indices: &BTreeSet<u32>| indices.iter().map(u32::to_string).collect::<Vec<_>>();
        let mut text = if persists { DESTRUCTION.to_owned() } else { removal() };
        let _ = writeln!(text, "table inet {TABLE} {{");
        if persists {
            text += "\tflags persist\n";
        }
        text += &set("clients", "ifname", &names);
        text += &set(JUDGED, "iface_index", &numbers(&self.judged));
        text += &set(DEVICES, "iface_index", &numbers(&self.devices));
        text += &set(HELD, "iface_index", &numbers(&self.held));
        let _ = write!(
            text,
            "\tchain forward {{\n\
             \t\ttype filter hook forward priority {PRIORITY}; policy accept;\n\
             \t\tiifname @clients iif != @judged counter drop comment \"nothing judges it\"\n\
             \t\toifname @clients oif != @judged counter drop comment \"nothing judges it\"\n\
             \t\tiif @{HELD} counter drop comment \"judged under another name\"\n\
             \t\toif @{HELD} counter drop comment \"judged under another name\"\n\
             \t}}\n}}\n"
        );
        text
    }
}

/// Command that removes the table, present or not, persistent or not.
pub(super) const DESTRUCTION: &str = "destroy table inet intune-filter\n";

/// Returns the command for nft before 1.0.7, which removes a table that is not persistent.
pub(super) fn removal() -> String {
    format!("table inet {TABLE}\ndelete table inet {TABLE}\n")
}

fn set(name: &str, kind: &str, elements: &[String]) -> String {
    let elements = match elements {
        [] => String::new(),
        elements => format!("\t\telements = {{ {} }}\n", elements.join(", ")),
    };
    format!("\tset {name} {{\n\t\ttype {kind}\n{elements}\t}}\n")
}

/// Returns the usual names of a VLAN's device that does not exist yet, as vconfig gives them.
fn usual_names(zone: &Zone) -> impl Iterator<Item = String> {
    let (interface, vlan) = (&zone.interface, zone.vlan);
    let names = [
        format!("{interface}.{vlan}"),
        format!("{interface}.{vlan:04}"),
        format!("vlan{vlan}"),
        format!("vlan{vlan:04}"),
    ];
    names.into_iter().filter(|name| name.len() <= NAME_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interface(name: &str, index: u32) -> Interface {
        Interface::bare(name, index)
    }

    fn zone(interface: &str, vlan: u16) -> Zone {
        Zone { number: 1, interface: interface.into(), vlan, source_check: Default::default() }
    }

    fn names(gate: &GuardRules) -> Vec<&str> {
        gate.names.iter().map(String::as_str).collect()
    }

    #[test]
    fn an_interface_passes_by_its_index_once_it_is_attached() {
        let snapshot = Snapshot {
            interfaces: vec![interface("eth0", 2), interface("eth1", 3)],
            ..Snapshot::default()
        };
        let zones = [zone("eth1", 0)];
        let shut = GuardRules::new(&zones, &snapshot, |_| false);
        assert_eq!((names(&shut), shut.judged.len()), (vec!["eth1"], 0));
        let open = GuardRules::new(&zones, &snapshot, |one| *one == interface("eth1", 3));
        assert_eq!((names(&open), &open.judged), (vec!["eth1"], &[3].into()));
        let gone = GuardRules::new(&zones, &Snapshot::default(), |_| true);
        assert_eq!((names(&gone), gone.judged.len()), (vec!["eth1"], 0));
    }

    #[test]
    fn a_vlans_devices_pass_with_their_parent_whatever_they_are_called() {
        let snapshot = Snapshot {
            interfaces: vec![
                interface("eth1", 3),
                interface("guests", 4),
                interface("others", 5),
                interface("vlan20", 6),
                interface("eth2", 7),
            ],
            vlan_devices: [(4, (3, 20)), (5, (3, 30)), (6, (7, 20))].into(),
            ..Snapshot::default()
        };
        let gate = GuardRules::new(&[zone("eth1", 20)], &snapshot, |_| true);
        // One of the usual names belongs to another interface.
        assert_eq!(names(&gate), ["eth1.0020", "eth1.20", "guests", "vlan0020"]);
        assert_eq!(gate.judged, [4].into());
        let gate = GuardRules::new(&[zone("a-long-one-here", 20)], &snapshot, |_| true);
        assert_eq!(names(&gate), ["vlan0020"]);
    }

    #[test]
    fn a_renamed_interface_is_known_by_both_names_and_a_member_by_its_whole() {
        let mut snapshot = Snapshot {
            interfaces: vec![
                interface("eth9", 3),
                interface("br0", 4),
                interface("eth2", 5),
                interface("br0.20", 6),
            ],
            wholes: [(3, 4), (5, 4)].into(),
            vlan_devices: [(6, (4, 20))].into(),
            ..Snapshot::default()
        };
        snapshot.keep_name("eth1", 3);
        let zones = [zone("eth1", 0), zone("eth2", 0)];
        let gate = GuardRules::new(&zones, &snapshot, |_| true);
        assert_eq!(names(&gate), ["br0", "eth1", "eth2", "eth9"]);
        assert_eq!((&gate.judged, &gate.devices), (&[3, 4, 5].into(), &[3, 5].into()));
        let gate = GuardRules::new(&zones, &snapshot, |one| one.name == "eth1");
        assert_eq!(gate.judged, [3].into(), "a member is not judged");
        // The bridge is filtered itself.
        let gate =
            GuardRules::new(&[zone("eth1", 0), zone("br0", 0)], &snapshot, |one| one.name == "br0");
        assert_eq!(gate.judged, [4].into());
        let gate = GuardRules::new(&[zone("eth2", 20)], &snapshot, |_| true);
        assert_eq!((names(&gate)[0], &gate.judged), ("br0.20", &[6].into()));
    }

    #[test]
    fn the_table_is_replaced_in_one_step() {
        let gate = GuardRules {
            names: ["eth1".into(), "eth1.20".into()].into(),
            judged: [3].into(),
            held: [4, 7].into(),
            devices: [].into(),
        };
        let text = gate.ruleset(true);
        assert!(text.starts_with(DESTRUCTION) && text.contains("\tflags persist\n"), "{text}");
        assert!(DESTRUCTION.ends_with(&format!(" {TABLE}\n")));
        let text = gate.ruleset(false);
        assert!(!text.contains("persist"), "{text}");
        assert!(text.starts_with("table inet intune-filter\ndelete table inet intune-filter\n"));
        assert!(text.contains("elements = { \"eth1\", \"eth1.20\" }"), "{text}");
        assert!(text.contains("elements = { 3 }"), "{text}");
        assert!(text.contains("elements = { 4, 7 }"), "{text}");
        assert!(
            !GuardRules::default().ruleset(false).contains("elements"),
            "an empty list is no list"
        );
    }
}
