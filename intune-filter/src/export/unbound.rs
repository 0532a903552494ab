//! Writes zones of unbound that are answered as ever, beside a root zone that is refused.

use std::fmt::Write as _;

use super::{file::File, header::header, name::Names, unit::Unit};

/// Writes a unit's zones; none without names that unbound can tell.
pub(super) fn export(unit: &Unit, edition: &str) -> Option<File> {
    let names = Names::of(&unit.names);
    let trees = names.trees();
    if trees.is_empty() {
        return None;
    }
    let losses = names.losses_of_trees(unit);
    let use_it = [
        "Include beside `local-zone: \".\" always_refuse` in a server of its own: then it answers for",
        "these zones alone.",
    ];
    let mut text = header("#", unit, edition, &use_it, &losses);
    text.push_str("server:\n");
    for name in trees {
        let _ = writeln!(text, "    local-zone: \"{name}.\" always_transparent");
    }
    Some(File { name: format!("{}.unbound.conf", unit.id()), text, losses })
}
