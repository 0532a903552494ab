//! Writes input of `ipset restore`.

use std::fmt::Write as _;

use super::{
    file::File,
    header::{Loss, header, losses},
    unit::Unit,
};

/// Longest name of a set without its ending: the kernel takes 31 octets (`IPSET_MAXNAMELEN`).
const ID_MAX: usize = 29;

/// Writes a unit's prefixes; none without any.
pub(super) fn export(unit: &Unit, edition: &str) -> Option<File> {
    if unit.networks.is_empty() {
        return None;
    }
    let losses = losses([Loss::Ports(unit.ports()), Loss::Names(unit.names.len())]);
    let use_it = ["Load by `ipset -exist restore`, and match by -m set --match-set SET dst."];
    let mut text = header("#", unit, edition, &use_it, &losses);
    for (family, word) in [(4, "inet"), (6, "inet6")] {
        let networks = || unit.networks.iter().filter(|one| one.addr().is_ipv4() == (family == 4));
        let count = networks().count();
        if count == 0 {
            continue;
        }
        let set = format!("{}-{family}", unit.id_within(ID_MAX));
        let _ = writeln!(text, "create {set} hash:net family {word} maxelem {}", count.max(1024));
        let _ = writeln!(text, "flush {set}");
        for network in networks() {
            // This type has no prefix of length 0: two halves are the same.
            if network.prefix_len() == 0 {
                for half in network.subnets(1).into_iter().flatten() {
                    let _ = writeln!(text, "add {set} {half}");
                }
            } else {
                let _ = writeln!(text, "add {set} {network}");
            }
        }
    }
    Some(File { name: format!("{}.ipset", unit.id()), text, losses })
}
