//! Finds flow tables of nftables that forward packets past the filter.
//!
//! A flow table in software takes packets where netfilter's ingress hook is: behind XDP and TC
//! ingress, which have judged them by then, and what it sends leaves through TC egress. Two kinds go
//! past the filter: one whose flows the network card forwards, and one with a device below the filtered
//! interface, which never receives what the flow table takes.

use std::collections::BTreeSet;

use crate::{config::FlowTable, system::netlink::Snapshot};

/// Returns the flow tables that go past the filter on an interface, from the text of `nft list
/// flowtables`.
pub(super) fn past_the_filter(tables: &str, snapshot: &Snapshot) -> Vec<FlowTable> {
    let mut found = Vec::new();
    for Listed { devices, in_hardware } in listed(tables) {
        for device in devices {
            let above = above(&device, snapshot);
            let own = in_hardware.then(|| device.clone());
            found.extend(own.into_iter().chain(above).map(|interface| FlowTable {
                interface,
                device: device.clone(),
                in_hardware,
            }));
        }
    }
    found
}

/// Flow table as nft lists it.
#[derive(Debug, Default, PartialEq, Eq)]
struct Listed {
    devices: Vec<String>,
    in_hardware: bool,
}

/// Nft's JSON does not have the flags.
fn listed(tables: &str) -> Vec<Listed> {
    let mut all: Vec<Listed> = Vec::new();
    for line in tables.lines().map(str::trim) {
        if line.starts_with("flowtable ") {
            all.push(Listed::default());
        }
        let Some(table) = all.last_mut() else { continue };
        let is_of_name = |one: &char| !matches!(one, '{' | '}' | '"');
        if let Some(devices) = line.strip_prefix("devices = ") {
            let names = devices.split(',').map(|name| name.chars().filter(is_of_name).collect());
            let names = names.map(|name: String| name.trim().to_owned());
            table.devices = names.filter(|name| !name.is_empty()).collect();
        }
        if let Some(flags) = line.strip_prefix("flags ") {
            table.in_hardware |= flags.split([',', ' ', '{', '}']).any(|flag| flag == "offload");
        }
    }
    all
}

/// Returns the names of the devices that receive packets through this one: its bridge, bond or team,
/// VLAN devices, and others on it.
fn above(device: &str, snapshot: &Snapshot) -> Vec<String> {
    let mut reached: BTreeSet<u32> = BTreeSet::new();
    let mut next: Vec<u32> =
        snapshot.interface(device).into_iter().map(|below| below.index).collect();
    while let Some(below) = next.pop() {
        let whole = snapshot.wholes.get(&below).copied();
        let vlans = snapshot.vlan_devices.iter().filter(|(_, (parent, _))| *parent == below);
        let upon = snapshot.upon.iter().filter(|(_, parent)| **parent == below);
        let all = vlans.map(|(index, _)| *index).chain(upon.map(|(index, _)| *index)).chain(whole);
        next.extend(all.filter(|index| reached.insert(*index)));
    }
    let interfaces = snapshot.interfaces.iter();
    interfaces.filter(|one| reached.contains(&one.index)).map(|one| one.name.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::Interface;

    fn snapshot() -> Snapshot {
        let names = ["eth0", "eth1", "br0", "br0.20", "eth0.30", "macvlan0"];
        let interface = |(index, name)| Interface::bare(name, index);
        Snapshot {
            interfaces: (1..).zip(names).map(interface).collect(),
            wholes: [(2, 3)].into(),
            vlan_devices: [(4, (3, 20)), (5, (1, 30))].into(),
            upon: [(6, 5)].into(),
            ..Snapshot::default()
        }
    }

    fn past(tables: &str) -> Vec<String> {
        let found = past_the_filter(tables, &snapshot());
        let kind = |one: &FlowTable| if one.in_hardware { "in hardware" } else { "in software" };
        found.iter().map(|one| format!("{} {} {}", one.interface, one.device, kind(one))).collect()
    }

    #[test]
    fn a_flow_table_in_software_is_past_what_is_above_its_devices() {
        let tables = "table inet f {\n\tflowtable a {\n\t\thook ingress priority filter\n\t\t\
                      devices = { eth1, \"lan\" }\n\t}\n}\n";
        assert_eq!(past(tables), ["br0 eth1 in software", "br0.20 eth1 in software"]);
    }

    #[test]
    fn a_flow_table_in_hardware_is_past_its_devices_too() {
        let tables = "table ip f {\n\tflowtable a {\n\t\tdevices = { eth1 }\n\t}\n\tflowtable b {\n\t\t\
                      devices = { \"eth0\" }\n\t\tflags offload\n\t\tcounter\n\t}\n}\n";
        let found = [
            "br0 eth1 in software",
            "br0.20 eth1 in software",
            "eth0 eth0 in hardware",
            "eth0.30 eth0 in hardware",
            "macvlan0 eth0 in hardware",
        ];
        assert_eq!(past(tables), found);
    }

    #[test]
    fn nothing_is_past_the_filter_without_flow_tables() {
        assert_eq!(past(""), [""; 0]);
        assert_eq!(past("table inet filter {\n\tchain forward {\n\t}\n}\n"), [""; 0]);
    }
}
