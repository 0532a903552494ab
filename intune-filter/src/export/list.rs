//! Writes plain lists, as FortiGate, OPNsense and external dynamic lists read them.

use std::fmt::Write as _;

use super::{
    file::File,
    header::{Loss, header, losses},
    name::Names,
    unit::Unit,
};

/// Writes a unit's names and its prefixes, each to a file of their own if there are any.
pub(super) fn export(unit: &Unit, edition: &str) -> Vec<File> {
    let names = Names::of(&unit.names);
    let mut files = Vec::new();
    if !names.exact.is_empty() || !names.below.is_empty() {
        let losses = losses([
            Loss::Ports(unit.ports()),
            Loss::Patterns(names.others.clone()),
            Loss::Networks(unit.networks.len()),
        ]);
        let use_it = [
            "A name is that name alone, *.NAME is everything below it: some devices take both for",
            "everything at and below.",
        ];
        let mut text = header("#", unit, edition, &use_it, &losses);
        for name in &names.exact {
            let _ = writeln!(text, "{name}");
        }
        for name in &names.below {
            let _ = writeln!(text, "*.{name}");
        }
        files.push(File { name: format!("{}.names.txt", unit.id()), text, losses });
    }
    if !unit.networks.is_empty() {
        let losses = losses([Loss::Ports(unit.ports()), Loss::Names(unit.names.len())]);
        let mut text = header("#", unit, edition, &[], &losses);
        for network in &unit.networks {
            let _ = writeln!(text, "{network}");
        }
        files.push(File { name: format!("{}.networks.txt", unit.id()), text, losses });
    }
    files
}
