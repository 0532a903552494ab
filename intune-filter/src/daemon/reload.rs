//! Puts a compiled policy into force: changes the maps in a safe order, and takes back what the
//! policy revokes.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::Path,
};

use anyhow::{Context as _, Result, bail};
use intune_filter_ebpf::abi::RuleMask;
use serde::{Deserialize, Serialize};

use crate::{
    catalogue::RuleId,
    kernel::{Kernel, Pins, ZoneMap},
    names::learning::Reports,
    pattern::Pattern,
    policy::{Policy, RuleBits},
    system::{atomic_file, clock, regular_file},
};

/// Name of the file with the patterns of the policy in force, by which the next process finds the
/// patterns that a new policy drops.
const FILE_NAME: &str = "patterns.json";

/// Rounds through the addresses that answers keep refreshing.
const ROUNDS: usize = 8;

/// Version of the file's format.
const VERSION: u32 = 2;

/// Patterns of each rule in force.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Patterns {
    version: u32,
    /// First and last generation of the policy that may have these patterns. For any other
    /// generation the patterns are unknown: the file could not be written, or the maps are new.
    generations: (u32, u32),
    rules: BTreeMap<String, BTreeSet<Pattern>>,
}

impl Patterns {
    /// Merges the patterns of two policies, while one replaces the other.
    fn with(&self, other: &Self) -> Self {
        let mut rules = self.rules.clone();
        for (id, patterns) in &other.rules {
            rules.entry(id.clone()).or_default().extend(patterns.iter().cloned());
        }
        // A policy may be put into force in two steps.
        let (first, _) = self.generations;
        Self { version: VERSION, generations: (first, first.saturating_add(2)), rules }
    }

    fn in_generation(self, generation: u32) -> Self {
        Self { generations: (generation, generation), ..self }
    }
}

/// Result of putting a policy into force.
#[derive(Debug)]
pub struct Applied {
    /// Generation of the policy.
    pub generation: u32,
    /// Number of names that were forgotten, since no rule has them any more.
    pub names_forgotten: usize,
    /// Error by which the state directory does not have the patterns in force. The next policy then
    /// counts every pattern as dropped, and revokes no less.
    pub unsaved: Option<anyhow::Error>,
}

/// Which bit each rule in force has, whoever put it there.
///
/// # Errors
/// The map of the rules' names cannot be read.
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
/// # Errors
/// A map cannot be read or written. What is in force then may be the old policy or the new one.
pub fn apply(
    kernel: &Kernel,
    policy: &Policy,
    zones: &ZoneMap,
    reports: &mut impl Reports,
    state_directory: &Path,
) -> Result<Applied> {
    let is_freed = |number: u32| u8::try_from(number).is_ok_and(|bit| policy.freed.contains(bit));
    let (before, now) =
        (load(state_directory, kernel.pins().active()?.generation), patterns(policy));
    // Once the policy is in force, addresses are learned by its patterns, and those of the old
    // patterns are still there: the file has both, for the next process if this one ends in
    // between. Unknown old patterns stay unknown until all is clean.
    let unsaved = match &before {
        Some(before) => save(state_directory, &before.with(&now)).err(),
        // The file belongs to other maps, or to an unknown policy.
        None => atomic_file::remove(&state_directory.join(FILE_NAME)).err().map(Into::into),
    };
    kernel.park_zones(zones)?;
    let rules = policy.rule_titles();
    kernel.set_infos("GROUP_TITLES", &policy.group_titles(), |_| true)?;
    // A rule that is gone keeps its name until its bit is clean: if this process ends before, the
    // next one sees it and clears it.
    kernel.set_infos("RULE_TITLES", &rules, |number| !is_freed(number))?;
    let generation = kernel.install(policy, policy.reused)?;
    kernel.clear_rules(policy.freed)?;
    kernel.set_infos("RULE_TITLES", &rules, is_freed)?;
    let generation = if policy.reused.is_empty() {
        generation
    } else {
        kernel.install(policy, RuleMask::EMPTY)?
    };

    reports.learner().tracker().forget_rules(policy.freed);
    reports.catch_up()?;
    let learner = reports.learner();
    let known = learner.names().len();
    learner.names_mut().retain_rules(|name, rule| {
        let bits = policy.rules_of_name(name);
        policy.rules_of(bits).any(|one| one.id.to_string() == rule)
    });
    let names_forgotten = known - learner.names().len();
    let narrowed = narrowed(policy, before.as_ref(), &now);
    learner.tracker().forget_rules(narrowed);
    narrow(kernel, narrowed, reports)?;
    kernel.set_zones(zones)?;
    let saved = save(state_directory, &now.in_generation(generation));
    Ok(Applied { generation, names_forgotten, unsaved: saved.err().or(unsaved) })
}

/// Takes rules of `mask` away from the learned addresses that no name backs any more, and
/// makes the others live no longer than their names.
fn narrow(kernel: &Kernel, mask: RuleMask, reports: &mut impl Reports) -> Result<()> {
    for round in 0..=ROUNDS {
        let mut hosts = kernel.pins().hosts()?;
        hosts.retain(|(_, host)| host.rules.intersects(&mask));
        if hosts.is_empty() {
            return Ok(());
        }
        // Afterwards every answer behind these addresses is known, unless its report was lost.
        kernel.wait_for_programs()?;
        reports.catch_up()?;
        let learner = reports.learner();
        // A name whose last answer has expired backs nothing.
        learner.expire(clock::boot_time());
        let mut missed = 0;
        for (address, host) in hosts {
            let (by_names, until) = learner.backed(address);
            let rules = !mask | by_names;
            // Of rules that no known name has given, it is not known until when they were.
            let known = (host.rules & rules & !by_names).is_empty();
            let until = if known { until } else { u64::MAX };
            let narrower = !(host.rules & !rules).is_empty() || host.expires > until;
            // What is refreshed again and again is narrowed all the same in the end.
            let expected = if round == ROUNDS { 0 } else { host.version };
            if narrower && kernel.narrow_host(address, expected, rules, until)?.is_none() {
                missed += 1;
            }
        }
        // Addresses that were refreshed meanwhile need another round.
        if missed == 0 {
            // And what was not looked at again gets back what it was given since.
            return if round == ROUNDS { reports.catch_up() } else { Ok(()) };
        }
    }
    bail!("answers keep busy the learned addresses from which rules are to be taken away")
}

/// The rules in force that have lost a pattern; all of them if it is not known what they had.
fn narrowed(policy: &Policy, before: Option<&Patterns>, now: &Patterns) -> RuleMask {
    let lost = |id: &str| match before {
        None => true,
        Some(before) => match (before.rules.get(id), now.rules.get(id)) {
            (Some(before), Some(now)) => !before.is_subset(now),
            _ => false,
        },
    };
    let bits = policy.rules.iter().filter(|(_, rule)| lost(&rule.id.to_string()));
    bits.map(|(bit, _)| *bit).collect()
}

fn patterns(policy: &Policy) -> Patterns {
    let rules = policy.rules.values();
    let rules =
        rules.map(|rule| (rule.id.to_string(), rule.fqdns.iter().cloned().collect())).collect();
    Patterns { version: VERSION, generations: (0, 0), rules }
}

/// Loads the patterns of the policy of a generation, if they are known.
fn load(directory: &Path, generation: u32) -> Option<Patterns> {
    let path = directory.join(FILE_NAME);
    let text = match regular_file::read(&path) {
        Ok(text) => text,
        Err(error) => {
            if error.kind() != io::ErrorKind::NotFound {
                log::warn!("cannot read {}: {error}", path.display());
            }
            return None;
        }
    };
    let set_aside = |why: String| {
        let kept = atomic_file::set_aside(&path);
        let kept = kept.map_or_else(|error| error.to_string(), |kept| kept.display().to_string());
        log::warn!("cannot use {}: {why}; set aside: {kept}", path.display());
    };
    match serde_json::from_slice::<Patterns>(&text) {
        Ok(patterns) if patterns.version == VERSION => {
            let (first, last) = patterns.generations;
            (first..=last).contains(&generation).then_some(patterns)
        }
        Ok(patterns) => {
            set_aside(format!("of version {}, expected {VERSION}", patterns.version));
            None
        }
        Err(error) => {
            set_aside(error.to_string());
            None
        }
    }
}

fn save(directory: &Path, patterns: &Patterns) -> Result<()> {
    let path = directory.join(FILE_NAME);
    let text = serde_json::to_vec(patterns)?;
    atomic_file::write(&path, &text).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::{catalogue::Catalogue, config::Config, policy::compile};

    fn policy(fqdns: &str) -> Policy {
        let config = format!(
            "interfaces: [{{name: lan}}]\n\
             clients: [{{name: all, networks: [10.0.0.0/24], services: [web, mail]}}]\n\
             dns: {{resolvers: [10.0.0.1]}}\n\
             services:\n\
             - {{id: web, tcp: [443], fqdns: [{fqdns}]}}\n\
             - {{id: mail, tcp: [993], fqdns: [mail.test]}}\n"
        );
        let config = Config::parse("test", &config).unwrap();
        compile(&config, Catalogue::builtin(), &RuleBits::new()).unwrap()
    }

    fn rules_narrowed(before: Option<&Patterns>, policy: &Policy) -> Vec<String> {
        let mask = narrowed(policy, before, &patterns(policy));
        policy.rules_of(mask).map(|rule| rule.id.to_string()).collect()
    }

    #[test]
    fn a_rule_is_narrowed_by_losing_a_pattern_and_not_by_gaining_one() {
        let (one, two) = (policy("a.test"), policy("a.test, b.test"));
        assert_eq!(rules_narrowed(Some(&patterns(&one)), &two), [""; 0]);
        assert_eq!(rules_narrowed(Some(&patterns(&two)), &one), ["web/site"]);
        assert_eq!(rules_narrowed(None, &one), ["web/site", "mail/site"]);
    }

    #[test]
    fn a_change_that_was_cut_short_is_remembered_with_both_sides() {
        let (one, two) = (patterns(&policy("a.test")), patterns(&policy("b.test")));
        for policy in [policy("a.test"), policy("b.test")] {
            assert_eq!(rules_narrowed(Some(&one.with(&two)), &policy), ["web/site"]);
        }
    }

    #[test]
    fn patterns_are_read_back_and_foreign_ones_are_not() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(load(directory.path(), 7), None);
        let saved = patterns(&policy("'*.test'")).in_generation(7);
        save(directory.path(), &saved).unwrap();
        assert_eq!(load(directory.path(), 7), Some(saved));
        for text in ["", r#"{"version": 1, "rules": {}}"#] {
            fs::write(directory.path().join(FILE_NAME), text).unwrap();
            assert_eq!(load(directory.path(), 7), None, "{text}");
        }
    }

    #[test]
    fn patterns_of_another_generation_say_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let (one, two) = (patterns(&policy("a.test")), patterns(&policy("b.test")));
        save(directory.path(), &one.in_generation(7).with(&two)).unwrap();
        let known = |generation| load(directory.path(), generation).is_some();
        assert_eq!([6, 7, 8, 9, 10].map(known), [false, true, true, true, false]);
        save(directory.path(), &two.in_generation(8)).unwrap();
        assert_eq!([7, 8, 9].map(known), [false, true, false]);
    }
}
