//! Classes of ports: those of a class have the same rules, so that the kernel keeps one octet a port.
#![expect(clippy::indexing_slicing, reason = "the table has a place for each port")]

use std::collections::{BTreeMap, HashMap};

use intune_filter_ebpf::abi::{PORT_CLASSES, PORTS, RuleMask, port_index};

use super::Rule;
use crate::{config::Config, yaml::FileError};

/// The class of each port, and the rules of each class; class 0 has none.
pub(super) type PortClasses = (Box<[u8]>, Vec<RuleMask>);

/// Gives ports with the same rules one class. Too many classes are an error, of whichever rules have
/// most ranges.
pub(super) fn of(
    config: &Config,
    rules: &BTreeMap<u8, Rule>,
    errors: &mut Vec<FileError>,
) -> PortClasses {
    let masks = masks(rules);
    let mut classes = vec![RuleMask::EMPTY];
    let mut numbers: HashMap<RuleMask, usize> = HashMap::from([(RuleMask::EMPTY, 0)]);
    let mut class = |mask: RuleMask| {
        *numbers.entry(mask).or_insert_with(|| {
            classes.push(mask);
            classes.len() - 1
        })
    };
    let of_ports: Vec<usize> = masks.into_iter().map(&mut class).collect();
    if classes.len() > PORT_CLASSES as usize {
        errors.push(too_many(config, rules, classes.len() - 1));
        return (vec![0; PORTS as usize].into(), vec![RuleMask::EMPTY]);
    }
    // Each number is below 256.
    (of_ports.into_iter().map(|class| class as u8).collect(), classes)
}

/// The rules of each port.
fn masks(rules: &BTreeMap<u8, Rule>) -> Vec<RuleMask> {
    let mut masks = vec![RuleMask::EMPTY; PORTS as usize];
    for (bit, rule) in rules {
        for (protocol, ranges) in rule.ports.iter() {
            for port in ranges.iter().flat_map(|range| range.ports()) {
                masks[port_index(protocol.number(), port) as usize].set(*bit);
            }
        }
    }
    masks
}

fn too_many(config: &Config, rules: &BTreeMap<u8, Rule>, found: usize) -> FileError {
    /// Rules that are named.
    const FEW: usize = 5;
    let ranges = |rule: &Rule| rule.ports.iter().map(|(_, ranges)| ranges.len()).sum();
    let mut by_ranges: Vec<(usize, &Rule)> =
        rules.values().map(|rule| (ranges(rule), rule)).collect();
    by_ranges.sort_by(|(a, one), (b, other)| b.cmp(a).then_with(|| one.id.cmp(&other.id)));
    let named = by_ranges.iter().take(FEW);
    let named: Vec<String> =
        named.map(|(ranges, rule)| format!("{} ({ranges} ranges)", rule.id)).collect();
    let own = by_ranges
        .iter()
        .find_map(|(_, rule)| config.services.iter().position(|site| site.id == rule.id.service));
    let key = own.map_or("clients".to_owned(), |index| format!("services[{index}]"));
    let most = PORT_CLASSES - 1;
    let message = format!(
        "the ports fall into {found} classes, each of other rules, expected at most {most}: merge the \
         port ranges of rules, or give several rules the same ones; those with most ranges are {}",
        named.join(", ")
    );
    config.error(key, message)
}
