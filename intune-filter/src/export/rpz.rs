//! Writes a response policy zone that passes names; it tells a name from what is below it.

use std::fmt::Write as _;

use super::{
    file::File,
    header::{Loss, header, losses},
    name::Names,
    unit::Unit,
};

/// Longest name that has room before a zone's own, in octets.
const NAME_MAX: usize = 200;

/// Writes a unit's zone; none without names that a zone can hold.
pub(super) fn export(unit: &Unit, edition: &str) -> Option<File> {
    let names = Names::of(&unit.names);
    let (short, long): (Vec<String>, Vec<String>) = names
        .exact
        .iter()
        .cloned()
        .chain(names.below.iter().map(|name| format!("*.{name}")))
        .partition(|name| name.len() <= NAME_MAX);
    if short.is_empty() {
        return None;
    }
    let left_out = names.others.into_iter().chain(long).collect();
    let losses = losses([
        Loss::Ports(unit.ports()),
        Loss::Patterns(left_out),
        Loss::Networks(unit.networks.len()),
    ]);
    let use_it =
        ["List it before a zone whose only record is `* CNAME .`, which stops all others."];
    let mut text = header(";", unit, edition, &use_it, &losses);
    text.push_str(
        "$TTL 300\n@ SOA localhost. root.localhost. 1 3600 600 86400 300\n@ NS localhost.\n",
    );
    for name in short {
        let _ = writeln!(text, "{name} CNAME rpz-passthru.");
    }
    Some(File { name: format!("{}.rpz", unit.id()), text, losses })
}
