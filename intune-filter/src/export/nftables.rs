//! Writes sets of nftables: prefixes of the catalogue, and empty ones that dnsmasq fills by name.

use std::fmt::Write as _;

use ipnet::IpNet;

use super::{
    file::File,
    header::{Loss, header, losses},
    name::Names,
    unit::Unit,
};

/// Table of the sets, of the family `inet`.
pub(super) const TABLE: &str = "intune";

/// Octets of a set's name that are left for its unit: the longest ending is `-names6`.
const ID_MAX: usize = 64;

/// Returns the name of the set that dnsmasq fills with a unit's addresses of a family.
pub(super) fn filled(unit: &Unit, family: u8) -> String {
    format!("{}-names{family}", unit.id_within(ID_MAX))
}

/// Writes a unit's sets.
pub(super) fn export(unit: &Unit, edition: &str) -> File {
    let names = Names::of(&unit.names);
    let losses = losses([Loss::Ports(unit.ports()), Loss::Patterns(names.others)]);
    let use_it = [
        "Load by `nft -f`, and accept by rules such as: ip daddr @SET tcp dport { 443 } accept.",
        "The sets of names are filled by dnsmasq: export as dnsmasq too.",
    ];
    let mut text = header("#", unit, edition, &use_it, &losses);
    let _ = writeln!(text, "table inet {TABLE} {{");
    for (family, kind) in [(4_u8, "ipv4_addr"), (6, "ipv6_addr")] {
        let id = unit.id_within(ID_MAX);
        let _ = writeln!(
            text,
            "\tset {id}-networks{family} {{\n\t\ttype {kind}\n\t\tflags interval\n\t\tauto-merge"
        );
        let of_family = |network: &&IpNet| network.addr().is_ipv4() == (family == 4);
        let networks: Vec<String> =
            unit.networks.iter().filter(of_family).map(ToString::to_string).collect();
        if !networks.is_empty() {
            let _ =
                writeln!(text, "\t\telements = {{\n\t\t\t{}\n\t\t}}", networks.join(",\n\t\t\t"));
        }
        let _ = writeln!(text, "\t}}\n\tset {} {{\n\t\ttype {kind}\n\t}}", filled(unit, family));
    }
    text.push_str("}\n");
    File { name: format!("{}.nft", unit.id()), text, losses }
}
