//! Finds the rules of each client group, and assigns each rule in use a bit.

use std::collections::BTreeMap;

use intune_filter_ebpf::abi::{NO_RULE, RULES, RuleMask};

use super::{Rule, RuleBits, services::Services};
use crate::{catalogue::RuleId, config::Config, yaml::FileError};

/// Rules in force with their bits.
#[derive(Debug, Default)]
pub(super) struct Assigned {
    /// Rules that some group uses, by bit.
    pub rules: BTreeMap<u8, Rule>,
    /// Each group's rules, in the configuration's order.
    pub masks: Vec<RuleMask>,
    /// Bits of earlier rules that are no longer in force.
    pub freed: RuleMask,
    /// Those of them that had to be given to another rule at once.
    pub reused: RuleMask,
}

/// Resolves each group's services, and assigns a bit to each rule in use.
pub(super) fn assign(
    config: &Config,
    services: &Services<'_>,
    previous: &RuleBits,
    errors: &mut Vec<FileError>,
    warnings: &mut Vec<FileError>,
) -> Assigned {
    let mut used: BTreeMap<RuleId, ()> = BTreeMap::new();
    let mut groups: Vec<Vec<RuleId>> = Vec::new();
    let mut full = false;
    for (index, group) in config.clients.iter().enumerate() {
        let mut rules = Vec::new();
        for (at, name) in group.services.iter().enumerate() {
            let key = format!("clients[{index}].services[{at}]");
            let Some((named, by_id)) = services.resolve(name) else {
                errors.push(config.error(key, unknown(name, services)));
                continue;
            };
            for rule in named.iter().flat_map(|service| &service.rules) {
                if rule.has_destinations() {
                    used.insert(rule.id.clone(), ());
                    rules.push(rule.id.clone());
                } else {
                    let fatal = by_id && rule.site_networks;
                    let kind = if fatal { &mut *errors } else { &mut *warnings };
                    let error = config.error(&key, without_destinations(rule));
                    // A service of several rules is reported once.
                    if !kind.contains(&error) {
                        kind.push(error);
                    }
                }
            }
            if used.len() > RULES && !full {
                full = true;
                errors.push(config.error(
                    key,
                    format!(
                        "with {name:?} there are {} rules in force, expected at most {RULES}; a \
                         service that no group names takes none",
                        used.len()
                    ),
                ));
            }
        }
        groups.push(rules);
    }
    if full {
        return Assigned { masks: vec![RuleMask::EMPTY; groups.len()], ..Assigned::default() };
    }

    let (bits, freed, reused) = bits(services, &used, previous);
    let mask = |rules: &Vec<RuleId>| rules.iter().filter_map(|id| bits.get(id).copied()).collect();
    let masks = groups.iter().map(mask).collect();
    let all = services.all().iter().flat_map(|service| &service.rules);
    let rules = all.filter_map(|rule| Some((*bits.get(&rule.id)?, rule.clone()))).collect();
    Assigned { rules, masks, freed, reused }
}

/// Returns a bit for each rule in use: its previous bit, else a bit without a previous rule, else
/// one that has just become free; with the masks of freed and of reused bits.
fn bits(
    services: &Services<'_>,
    used: &BTreeMap<RuleId, ()>,
    previous: &RuleBits,
) -> (RuleBits, RuleMask, RuleMask) {
    let legal = previous.iter().filter(|(_, bit)| usize::from(**bit) < RULES);
    let previous: RuleBits = legal.map(|(id, bit)| (id.clone(), *bit)).collect();
    let mut bits: RuleBits = BTreeMap::new();
    let mut taken = RuleMask::EMPTY;
    for (id, bit) in &previous {
        // Of two rules that claim one bit the second gets another.
        if used.contains_key(id) && !taken.contains(*bit) {
            bits.insert(id.clone(), *bit);
            taken.set(*bit);
        }
    }
    let freed = previous.values().copied().collect::<RuleMask>() & !taken;
    let mut reused = RuleMask::EMPTY;
    for rule in services.all().iter().flat_map(|service| &service.rules) {
        if !used.contains_key(&rule.id) || bits.contains_key(&rule.id) {
            continue;
        }
        let fresh = (!(taken | freed)).lowest();
        let bit = if fresh == NO_RULE { (!taken).lowest() } else { fresh };
        taken.set(bit);
        reused |= freed & RuleMask::of(bit);
        bits.insert(rule.id.clone(), bit);
    }
    (bits, freed, reused)
}

fn unknown(name: &str, services: &Services<'_>) -> String {
    let names = services.names();
    let nearest = names.iter().min_by_key(|known| distance(name, known));
    match nearest.filter(|known| distance(name, known) <= 2 + name.len() / 4) {
        Some(known) => format!("unknown service {name:?}, expected an id or set; {known} is near"),
        None => format!("unknown service {name:?}, expected an id or set: {}", names.join(", ")),
    }
}

fn without_destinations(rule: &Rule) -> String {
    if rule.site_networks {
        format!(
            "{} needs the site's own networks, expected its cidrs under services",
            rule.id.service
        )
    } else {
        format!("{} has no destinations for this tenant or region", rule.id)
    }
}

/// Returns the Levenshtein distance.
fn distance(a: &str, b: &str) -> usize {
    // Of the beginnings of `b` from those of `a`, a row after the other; without the empty one.
    let mut row: Vec<(char, usize)> = b.chars().zip(1..).collect();
    for (from, empty) in a.chars().zip(0..) {
        let (mut diagonal, mut left) = (empty, empty + 1);
        for (to, cell) in &mut row {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = *cell;
            left = replaced.min(left + 1).min(diagonal + 1);
            *cell = left;
        }
    }
    row.last().map_or(a.chars().count(), |(_, distance)| *distance)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        for (a, b, expected) in
            [("", "", 0), ("a", "", 1), ("", "ab", 2), ("kitten", "sitting", 3), ("ntp", "npt", 2)]
        {
            assert_eq!(distance(a, b), expected, "{a} {b}");
        }
    }
}
