//! Keeps the destinations of each rule in force in the state directory, by which the next process
//! finds what a new policy takes away.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::Path,
};

use anyhow::{Context as _, Result};
use intune_filter_ebpf::abi::RuleMask;
use ipnet::{IpNet, Ipv6Net};
use serde::{Deserialize, Serialize};

use crate::{
    pattern::Pattern,
    policy::Policy,
    system::{atomic_file, regular_file},
};

/// Name of the file.
const FILE_NAME: &str = "patterns.json";

/// Version of the file's format.
const VERSION: u32 = 3;

/// Destinations of each rule in force.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Destinations {
    version: u32,
    /// First and last generation of the policy that may have these destinations. For any other
    /// generation they are unknown: the file could not be written, or the maps are new.
    generations: (u32, u32),
    rules: BTreeMap<String, OfRule>,
    /// NAT64 prefixes, below which the addresses of names have another form. Earlier versions do not
    /// have the key, and had no such form.
    #[serde(default)]
    nat64: BTreeSet<Ipv6Net>,
}

/// Destinations of one rule.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct OfRule {
    patterns: BTreeSet<Pattern>,
    networks: BTreeSet<IpNet>,
}

impl Destinations {
    /// The destinations of a policy.
    pub(super) fn of(policy: &Policy) -> Self {
        let mut rules: BTreeMap<u8, OfRule> = BTreeMap::new();
        for (bit, rule) in &policy.rules {
            let patterns = rule.fqdns.iter().cloned().collect();
            rules.insert(*bit, OfRule { patterns, networks: BTreeSet::new() });
        }
        // As the kernel has them, those that `nat64` adds included.
        for (network, mask) in policy.networks() {
            for bit in mask.iter() {
                if let Some(rule) = rules.get_mut(&bit) {
                    rule.networks.insert(network);
                }
            }
        }
        let by_id = policy.rules.iter().filter_map(|(bit, rule)| {
            rules.remove(bit).map(|of_rule| (rule.id.to_string(), of_rule))
        });
        let nat64 = policy.nat64.prefixes().iter().copied().collect();
        Self { version: VERSION, generations: (0, 0), rules: by_id.collect(), nat64 }
    }

    /// Merges the destinations of two policies, while one replaces the other.
    pub(super) fn with(&self, other: &Self) -> Self {
        let mut rules = self.rules.clone();
        for (id, of_rule) in &other.rules {
            let known = rules.entry(id.clone()).or_default();
            known.patterns.extend(of_rule.patterns.iter().cloned());
            known.networks.extend(&of_rule.networks);
        }
        // A policy may be put into force in two steps.
        let (first, _) = self.generations;
        let nat64 = self.nat64.union(&other.nat64).copied().collect();
        Self { version: VERSION, generations: (first, first.saturating_add(2)), rules, nat64 }
    }

    pub(super) fn in_generation(self, generation: u32) -> Self {
        Self { generations: (generation, generation), ..self }
    }

    /// Loads the destinations of the policy of a generation, if they are known.
    pub(super) fn load(directory: &Path, generation: u32) -> Option<Self> {
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
            let kept =
                kept.map_or_else(|error| error.to_string(), |kept| kept.display().to_string());
            log::warn!("cannot use {}: {why}; set aside: {kept}", path.display());
        };
        match serde_json::from_slice::<Self>(&text) {
            Ok(known) if known.version == VERSION => {
                let (first, last) = known.generations;
                (first..=last).contains(&generation).then_some(known)
            }
            Ok(known) => {
                set_aside(format!("of version {}, expected {VERSION}", known.version));
                None
            }
            Err(error) => {
                set_aside(error.to_string());
                None
            }
        }
    }

    pub(super) fn save(&self, directory: &Path) -> Result<()> {
        let path = directory.join(FILE_NAME);
        let text = serde_json::to_vec(self)?;
        atomic_file::write(&path, &text).with_context(|| format!("cannot write {}", path.display()))
    }

    /// Removes the file, which belongs to other maps or to an unknown policy.
    pub(super) fn remove(directory: &Path) -> Result<()> {
        Ok(atomic_file::remove(&directory.join(FILE_NAME))?)
    }
}

/// Rules in force that have lost destinations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Lost {
    /// Rules that have lost a pattern.
    pub patterns: RuleMask,
    /// Rules that have lost a pattern, a network, or a form of the addresses of their names.
    pub any: RuleMask,
}

impl Lost {
    /// Compares a policy with the destinations before it. All rules have lost some if these are not
    /// known.
    pub(super) fn of(policy: &Policy, before: Option<&Destinations>, now: &Destinations) -> Self {
        let mut lost = Self::default();
        let forms = before.is_some_and(|before| !before.nat64.is_subset(&now.nat64));
        for (bit, rule) in &policy.rules {
            let id = rule.id.to_string();
            let (patterns, networks) = match before {
                None => (true, true),
                Some(before) => match (before.rules.get(&id), now.rules.get(&id)) {
                    (Some(before), Some(now)) => (
                        !before.patterns.is_subset(&now.patterns),
                        !before.networks.iter().all(|network| now.has(network)),
                    ),
                    _ => (false, false),
                },
            };
            if patterns {
                lost.patterns.set(*bit);
            }
            if patterns || networks || forms && !rule.fqdns.is_empty() {
                lost.any.set(*bit);
            }
        }
        lost
    }
}

impl OfRule {
    fn has(&self, network: &IpNet) -> bool {
        self.networks.contains(network) || self.networks.iter().any(|outer| outer.contains(network))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::{
        catalogue::Catalogue,
        config::Config,
        policy::{Nat64, RuleBits, compile},
    };

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

    /// The rules that have lost patterns, and those that have lost anything.
    fn rules_lost(before: Option<&Destinations>, policy: &Policy) -> [Vec<String>; 2] {
        let lost = Lost::of(policy, before, &Destinations::of(policy));
        let ids = |mask| policy.rules_of(mask).map(|rule| rule.id.to_string()).collect();
        [ids(lost.patterns), ids(lost.any)]
    }

    /// The policy without names, with these networks.
    fn of_networks(cidrs: &str) -> Policy {
        let config = format!(
            "interfaces: [{{name: lan}}]\n\
             clients: [{{name: all, networks: [10.0.0.0/24], services: [web]}}]\n\
             dns: {{resolvers: [10.0.0.1]}}\n\
             nat64: ['64:ff9b::/96']\n\
             services: [{{id: web, tcp: [443], cidrs: [{cidrs}]}}]\n"
        );
        let config = Config::parse("test", &config).unwrap();
        compile(&config, Catalogue::builtin(), &RuleBits::new()).unwrap()
    }

    #[test]
    fn a_rule_with_names_loses_the_forms_of_their_addresses() {
        let with = |prefixes: &[&str]| {
            let prefixes = prefixes.iter().map(|prefix| prefix.parse().unwrap()).collect();
            Policy { nat64: Nat64::new(prefixes), ..policy("a.test") }
        };
        let both = Destinations::of(&with(&["64:ff9b::/96", "fd64::/64"]));
        let all = ["web/site", "mail/site"].map(str::to_owned).to_vec();
        assert_eq!(rules_lost(Some(&both), &with(&["fd64::/64"])), [vec![], all]);
        let one = Destinations::of(&with(&["fd64::/64"]));
        assert_eq!(rules_lost(Some(&one), &with(&["fd64::/64", "64:ff9b::/96"])), [[""; 0]; 2]);
        let networks =
            Destinations { nat64: both.nat64, ..Destinations::of(&of_networks("20.0.0.0/8")) };
        assert_eq!(rules_lost(Some(&networks), &of_networks("20.0.0.0/8")), [[""; 0]; 2]);
    }

    #[test]
    fn a_rule_loses_networks_unless_wider_ones_have_them() {
        let wide = of_networks("20.0.0.0/8, '2001:db8::/32'");
        for (cidrs, lost) in [
            ("20.0.0.0/8, '2001:db8::/32', 30.0.0.0/8", false),
            ("16.0.0.0/4, '2001:db8::/32'", false),
            ("20.0.0.0/9, '2001:db8::/32'", true),
            ("20.0.0.0/8", true),
        ] {
            let [patterns, any] = rules_lost(Some(&Destinations::of(&wide)), &of_networks(cidrs));
            assert!(patterns.is_empty());
            assert_eq!(!any.is_empty(), lost, "{cidrs}");
        }
        let networks: Vec<_> = wide.networks().map(|(network, _)| network.to_string()).collect();
        assert_eq!(networks, ["20.0.0.0/8", "64:ff9b::1400:0/104", "2001:db8::/32"]);
    }

    #[test]
    fn a_rule_is_narrowed_by_losing_a_pattern_and_not_by_gaining_one() {
        let (one, two) = (policy("a.test"), policy("a.test, b.test"));
        assert_eq!(rules_lost(Some(&Destinations::of(&one)), &two), [[""; 0]; 2]);
        assert_eq!(rules_lost(Some(&Destinations::of(&two)), &one), [["web/site"]; 2]);
        assert_eq!(rules_lost(None, &one), [["web/site", "mail/site"]; 2]);
    }

    #[test]
    fn a_change_that_was_cut_short_is_remembered_with_both_sides() {
        let (one, two) = (Destinations::of(&policy("a.test")), Destinations::of(&policy("b.test")));
        for policy in [policy("a.test"), policy("b.test")] {
            assert_eq!(rules_lost(Some(&one.with(&two)), &policy), [["web/site"]; 2]);
        }
    }

    #[test]
    fn destinations_are_read_back_and_foreign_ones_are_not() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(Destinations::load(directory.path(), 7), None);
        let saved = Destinations::of(&policy("'*.test'")).in_generation(7);
        saved.save(directory.path()).unwrap();
        assert_eq!(Destinations::load(directory.path(), 7), Some(saved));
        for text in ["", r#"{"version": 2, "generations": [1, 1], "rules": {}}"#] {
            fs::write(directory.path().join(FILE_NAME), text).unwrap();
            assert_eq!(Destinations::load(directory.path(), 7), None, "{text}");
        }
    }

    #[test]
    fn destinations_of_another_generation_say_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let (one, two) = (Destinations::of(&policy("a.test")), Destinations::of(&policy("b.test")));
        one.in_generation(7).with(&two).save(directory.path()).unwrap();
        let known = |generation| Destinations::load(directory.path(), generation).is_some();
        assert_eq!([6, 7, 8, 9, 10].map(known), [false, true, true, true, false]);
        two.in_generation(8).save(directory.path()).unwrap();
        assert_eq!([7, 8, 9].map(known), [false, true, false]);
    }
}
