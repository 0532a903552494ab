//! Writes `nftset` lines of dnsmasq, which fill the sets of nftables with the addresses of names.

use std::fmt::Write as _;

use super::{
    file::File,
    header::header,
    name::Names,
    nftables::{TABLE, filled},
    unit::Unit,
};

/// Writes a unit's lines; none without names that dnsmasq can tell.
pub(super) fn export(unit: &Unit, edition: &str) -> Option<File> {
    let names = Names::of(&unit.names);
    let trees = names.trees();
    if trees.is_empty() {
        return None;
    }
    let losses = names.losses_of_trees(unit);
    let use_it = ["Include by conf-file= or conf-dir=; the sets come from the export as nftables."];
    let mut text = header("#", unit, edition, &use_it, &losses);
    let sets = [4_u8, 6].map(|family| format!("{family}#inet#{TABLE}#{}", filled(unit, family)));
    for name in trees {
        let _ = writeln!(text, "nftset=/{name}/{}", sets.join(","));
    }
    Some(File { name: format!("{}.dnsmasq.conf", unit.id()), text, losses })
}
