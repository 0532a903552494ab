//! Writes every destination with its ports as CSV, which loses nothing.

use intune_filter_ebpf::abi::TransportProtocol;

use super::{file::File, unit::Unit};

/// Beginning of the first line of every file.
pub(super) const HEADER: &str = "service,address,kind,";

/// Writes a unit's rows.
pub(super) fn export(unit: &Unit) -> File {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let ports = TransportProtocol::ALL.map(|protocol| {
        let ranges: Vec<String> = unit.ports[protocol].iter().map(ToString::to_string).collect();
        ranges.join(",")
    });
    let columns = TransportProtocol::ALL.map(|protocol| format!("{}Ports", protocol.as_str()));
    // Writing to memory does not fail.
    let mut row = |address: &str, kind: &str| {
        let first = [unit.service.as_str(), address, kind];
        let ports = ports.iter().map(String::as_str);
        drop(writer.write_record(first.into_iter().chain(ports).chain([unit.source.as_str()])));
    };
    for name in &unit.names {
        let kind = if name.form().below {
            "below"
        } else if name.as_str().contains(['*', '#']) {
            "pattern"
        } else {
            "name"
        };
        row(name.as_str(), kind);
    }
    for network in &unit.networks {
        row(&network.to_string(), "prefix");
    }
    let octets = writer.into_inner().unwrap_or_default();
    let rows = String::from_utf8_lossy(&octets);
    let text = format!("{HEADER}{},source\n{rows}", columns.join(","));
    File { name: format!("{}.csv", unit.id()), text, losses: Vec::new() }
}
