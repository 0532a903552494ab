//! Finds the rules of each client group, and assigns each rule in use a bit.

use std::collections::BTreeMap;

use intune_filter_ebpf::abi::{NO_RULE, RULES, RuleMask};

use super::{Rule, RuleBits, services::Services};
use crate::{catalogue::RuleId, config::Config, nearest::nearest, yaml::FileError};

/// Rules in force with their bits.
#[derive(Debug, Default)]
pub(super) struct Assigned {
    /// Rules that some group uses, by bit.
    pub rules: BTreeMap<u8, Rule>,
    /// Each group's rules, in the configuration's order.
    pub masks: Vec<RuleMask>,
    /// Each group's rules for packets to its clients.
    pub inbound: Vec<RuleMask>,
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
    let mut user = User { config, services, errors, warnings, used: BTreeMap::new(), full: false };
    let mut own = Vec::new();
    let (mut groups, mut inward) = (Vec::new(), Vec::new());
    for (index, group) in config.clients.iter().enumerate() {
        groups.push(user.rules(&format!("clients[{index}].services"), &group.services));
        let mut inbound = Vec::new();
        for (at, rule) in group.inbound.rules().iter().enumerate() {
            let key = format!("clients[{index}].inbound[{at}]");
            inbound.extend(user.rules(&format!("{key}.services"), &rule.services));
            if !rule.from.is_empty() {
                let rule = Rule::inbound(&group.name, at + 1, &rule.from, &rule.ports);
                user.take(&key, &rule.id);
                inbound.push(rule.id.clone());
                own.push(rule);
            }
        }
        inward.push(inbound);
    }
    let User { used, full, .. } = user;
    if full {
        let none = vec![RuleMask::EMPTY; groups.len()];
        return Assigned { masks: none.clone(), inbound: none, ..Assigned::default() };
    }

    let all = || services.all().iter().flat_map(|service| &service.rules).chain(&own);
    let (bits, freed, reused) = bits(all(), &used, previous);
    let mask = |rules: &Vec<RuleId>| rules.iter().filter_map(|id| bits.get(id).copied()).collect();
    let masks = groups.iter().map(mask).collect();
    let inbound = inward.iter().map(mask).collect();
    let rules = all().filter_map(|rule| Some((*bits.get(&rule.id)?, rule.clone()))).collect();
    Assigned { rules, masks, inbound, freed, reused }
}

/// Finds the rules that groups use.
struct User<'a, 'e> {
    config: &'a Config,
    services: &'a Services<'a>,
    errors: &'e mut Vec<FileError>,
    warnings: &'e mut Vec<FileError>,
    used: BTreeMap<RuleId, ()>,
    full: bool,
}

impl User<'_, '_> {
    /// Returns the rules of services and sets, which stand in the list with this key.
    fn rules(&mut self, list: &str, names: &[String]) -> Vec<RuleId> {
        let mut rules = Vec::new();
        for (at, name) in names.iter().enumerate() {
            let key = format!("{list}[{at}]");
            let Some((named, by_id)) = self.services.resolve(name) else {
                let (message, near) = unknown(name, self.services);
                self.errors.push(self.config.error(key, message).meaning(near));
                continue;
            };
            for rule in named.iter().flat_map(|service| &service.rules) {
                // What is for other sites, or off by default, is simply absent.
                let absent = |id: &str| {
                    let service = named.iter().find(|service| service.id == id);
                    service.is_some_and(|service| {
                        service.rules.iter().all(|rule| !rule.has_destinations())
                    })
                };
                if rule.has_destinations() {
                    self.used.insert(rule.id.clone(), ());
                    rules.push(rule.id.clone());
                } else if rule.site_networks || by_id && absent(&rule.id.service) {
                    let fatal = by_id && rule.site_networks;
                    let kind = if fatal { &mut *self.errors } else { &mut *self.warnings };
                    let error = self.config.error(&key, without_destinations(rule));
                    // A service of several rules is reported once.
                    if !kind.contains(&error) {
                        kind.push(error);
                    }
                }
            }
            self.check_room(&key, &format!("{name:?}"));
        }
        rules
    }

    /// Uses a rule of a group's own.
    fn take(&mut self, key: &str, rule: &RuleId) {
        self.used.insert(rule.clone(), ());
        self.check_room(key, &rule.to_string());
    }

    fn check_room(&mut self, key: &str, what: &str) {
        if self.used.len() > RULES && !self.full {
            self.full = true;
            self.errors.push(self.config.error(
                key,
                format!(
                    "with {what} there are {} rules in force, expected at most {RULES}; a \
                     service that no group names takes none",
                    self.used.len()
                ),
            ));
        }
    }
}

/// Returns a bit for each rule in use: its previous bit, else a bit without a previous rule, else
/// one that has just become free; with the masks of freed and of reused bits.
fn bits<'r>(
    all: impl Iterator<Item = &'r Rule>,
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
    for rule in all {
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

/// Returns the fault of an unknown service, and the known one that may be meant.
fn unknown<'s>(name: &str, services: &'s Services<'_>) -> (String, Option<&'s str>) {
    let names = services.names();
    let near = nearest(name, names.iter().copied());
    let all = if near.is_some() { String::new() } else { format!(": {}", names.join(", ")) };
    (format!("unknown service {name:?}, expected an id or set{all}"), near)
}

fn without_destinations(rule: &Rule) -> String {
    if rule.site_networks {
        format!(
            "{} needs the site's own networks, expected its cidrs under services",
            rule.id.service
        )
    } else {
        format!(
            "{} has nothing for this site: it is for other tenants or clouds, or off by default (key \
             catalogue)",
            rule.id.service
        )
    }
}
