//! Writes every destination with its ports as CSV, which loses nothing.

use intune_filter_ebpf::abi::TransportProtocol;

use super::{file::File, unit::Unit};

/// First line of every file.
pub(super) const HEADER: &str = "service,address,kind,tcpPorts,udpPorts,source\n";

/// Writes a unit's rows.
pub(super) fn export(unit: &Unit) -> File {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let ports = TransportProtocol::ALL.map(|protocol| {
        let ranges: Vec<String> = unit.ports[protocol].iter().map(ToString::to_string).collect();
        ranges.join(",")
    });
    let [tcp, udp] = &ports;
    // Writing to memory does not fail.
    let mut row = |cells: [&str; 6]| drop(writer.write_record(cells));
    for name in &unit.names {
        let kind = if name.form().below {
            "below"
        } else if name.as_str().contains(['*', '#']) {
            "pattern"
        } else {
            "name"
        };
        row([&unit.service, name.as_str(), kind, tcp, udp, &unit.source]);
    }
    for network in &unit.networks {
        row([&unit.service, &network.to_string(), "prefix", tcp, udp, &unit.source]);
    }
    let octets = writer.into_inner().unwrap_or_default();
    let text = format!("{HEADER}{}", String::from_utf8_lossy(&octets));
    File { name: format!("{}.csv", unit.id()), text, losses: Vec::new() }
}
