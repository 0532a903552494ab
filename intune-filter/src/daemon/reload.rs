//! Putting a compiled policy into force: in which order the maps change, and what is taken back.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::{self, Write as _},
    net::IpAddr,
    path::Path,
};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use super::learner::Learner;
use crate::{
    catalogue::RuleId,
    kernel::{Kernel, Pins, Segments},
    names::Names,
    pattern::Pattern,
    policy::{Policy, RuleBits},
};

/// Where the patterns of the policy in force are kept, so that the next process knows which of
/// them a new policy has no more.
const FILE_NAME: &str = "patterns.json";

/// Of the format.
const VERSION: u32 = 1;

/// The patterns of each rule in force.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Patterns {
    version: u32,
    rules: BTreeMap<String, BTreeSet<Pattern>>,
}

/// Which bit each rule in force has, whoever put it there.
pub fn previous_bits(pins: &Pins) -> Result<RuleBits> {
    let mut bits = RuleBits::new();
    for (bit, rule) in (0_u8..).zip(pins.rules()?) {
        if let Some(Ok(id)) = rule.map(|rule| rule.parse::<RuleId>()) {
            bits.insert(id, bit);
        }
    }
    Ok(bits)
}

/// Puts a policy and its zones into force. When this returns, no learned address and no flow has
/// anything left of rules that are gone or of patterns that were removed.
///
/// Returns the policy's generation.
pub fn apply(
    kernel: &Kernel,
    policy: &Policy,
    zones: &Segments,
    learner: &mut Learner,
    state_directory: &Path,
    mut catch_up: impl FnMut(&mut Learner) -> Result<()>,
) -> Result<u32> {
    let bit = |number: u32| 1_u64.checked_shl(number).unwrap_or(0);
    kernel.park_zones(zones)?;
    let rules = policy.rule_info();
    kernel.set_infos("GROUP_INFO", &policy.group_info(), |_| true)?;
    // A rule that is gone keeps its name until its bit is clean: if this process ends before, the
    // next one sees it and clears it.
    kernel.set_infos("RULE_INFO", &rules, |number| bit(number) & policy.freed == 0)?;
    let generation = kernel.install(policy, policy.reused)?;
    kernel.clear_rules(policy.freed)?;
    kernel.set_infos("RULE_INFO", &rules, |number| bit(number) & policy.freed != 0)?;
    let generation = if policy.reused == 0 { generation } else { kernel.install(policy, 0)? };

    let now = patterns(policy);
    let narrowed = narrowed(policy, &load(state_directory), &now);
    catch_up(learner)?;
    learner.names_mut().retain_rules(|name, rule| {
        let bits = policy.rules_of_name(name);
        policy.rules_of(bits).any(|one| one.id.to_string() == rule)
    });
    kernel.narrow_rules(narrowed, |address| vouched(policy, learner.names(), address))?;
    // What the kernel has learned while its table was changed.
    catch_up(learner)?;
    kernel.set_zones(zones)?;
    save(state_directory, &now)?;
    Ok(generation)
}

/// The rules of the names that led to an address.
fn vouched(policy: &Policy, names: &Names, address: IpAddr) -> u64 {
    names.of_address(address).fold(0, |rules, (name, _)| rules | policy.rules_of_name(name))
}

/// The rules in force that have lost a pattern; all of them if it is not known what they had.
fn narrowed(policy: &Policy, before: &Option<Patterns>, now: &Patterns) -> u64 {
    let lost = |id: &str| match before {
        None => true,
        Some(before) => match (before.rules.get(id), now.rules.get(id)) {
            (Some(before), Some(now)) => !before.is_subset(now),
            _ => false,
        },
    };
    let bits = policy.rules.iter().filter(|(_, rule)| lost(&rule.id.to_string()));
    bits.fold(0, |mask, (bit, _)| mask | 1_u64 << bit)
}

fn patterns(policy: &Policy) -> Patterns {
    let rules = policy.rules.values();
    let rules =
        rules.map(|rule| (rule.id.to_string(), rule.fqdns.iter().cloned().collect())).collect();
    Patterns { version: VERSION, rules }
}

fn load(directory: &Path) -> Option<Patterns> {
    let path = directory.join(FILE_NAME);
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) => {
            if error.kind() != io::ErrorKind::NotFound {
                log::warn!("cannot read {}: {error}", path.display());
            }
            return None;
        }
    };
    match serde_json::from_slice::<Patterns>(&text) {
        Ok(patterns) if patterns.version == VERSION => Some(patterns),
        Ok(_) => None,
        Err(error) => {
            log::warn!("cannot use {}: {error}", path.display());
            None
        }
    }
}

fn save(directory: &Path, patterns: &Patterns) -> Result<()> {
    let path = directory.join(FILE_NAME);
    let new = directory.join(format!("{FILE_NAME}.new"));
    let write = || -> io::Result<()> {
        let mut file = File::create(&new)?;
        file.write_all(&serde_json::to_vec(patterns)?)?;
        file.sync_all()?;
        fs::rename(&new, &path)
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}
