//! The trie against the patterns' own slow matcher.

use intune_filter_ebpf::abi::Glob;
use proptest::prelude::*;

use super::{catalogue, config, errors};
use crate::{
    config::Config,
    pattern::Pattern,
    policy::{Policy, RuleBits, compile},
};

/// Shared with the kernel's matcher.
const VECTORS: &str = include_str!("../../../../intune-filter-ebpf/tests/vectors/patterns.txt");

/// A policy with a rule for each list of patterns.
fn policy(rules: &[Vec<String>]) -> Option<Policy> {
    let rules = rules.iter().enumerate().map(|(index, patterns)| {
        let quoted: Vec<String> = patterns.iter().map(|pattern| format!("'{pattern}'")).collect();
        format!("{{id: r{index}, fqdns: [{}], tcp: [1]}}", quoted.join(", "))
    });
    let rules: Vec<String> = rules.collect();
    let config =
        config("[own]", &format!("services: [{{id: own, rules: [{}]}}]", rules.join(", ")));
    compile(&config, &catalogue(), &RuleBits::new()).ok()
}

/// What the patterns themselves say.
fn model(policy: &Policy, name: &str) -> u64 {
    let matching = policy
        .rules
        .iter()
        .filter(|(_, rule)| rule.fqdns.iter().any(|pattern| pattern.matches(name)));
    matching.fold(0, |mask, (bit, _)| mask | 1 << bit)
}

#[test]
fn vectors_one_pattern_at_a_time() {
    let mut seen = 0;
    let mut policy = policy(&[vec!["x.example".to_owned()]]).unwrap();
    for line in VECTORS.lines().filter(|line| !line.is_empty() && !line.starts_with(';')) {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [pattern, name, expected] = fields[..] else { panic!("{line}") };
        let mut builder = crate::policy::names::Builder::new();
        builder.add(&pattern.parse().unwrap(), 1).unwrap();
        let trie = builder.finish();
        policy.settings.root_below = trie.root_below;
        policy.settings.root_globs = trie.root_globs;
        policy.edges = trie.edges;
        policy.globs = trie.globs;
        assert_eq!(policy.rules_of_name(name) == 1, expected == "yes", "{line}");
        seen += 1;
    }
    assert!(seen >= 150);
}

#[test]
fn vectors_all_patterns_at_once() {
    let lines = || VECTORS.lines().filter(|line| !line.is_empty() && !line.starts_with(';'));
    let mut patterns: Vec<String> =
        lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect();
    patterns.sort();
    patterns.dedup();
    let mut rules = vec![Vec::new(); 60];
    for (index, pattern) in patterns.into_iter().enumerate() {
        let rule: &mut Vec<String> = &mut rules[index % 60];
        // The file spells some patterns in several ways.
        let known: Vec<Pattern> = rule.iter().map(|text| text.parse().unwrap()).collect();
        if !known.contains(&pattern.parse().unwrap()) {
            rule.push(pattern);
        }
    }
    let policy = policy(&rules).unwrap();
    for line in lines() {
        let name = line.split_whitespace().nth(1).unwrap();
        assert_eq!(policy.rules_of_name(name), model(&policy, name), "{line}");
    }
}

#[test]
fn globs_stand_in_a_row_and_the_roots_first() {
    let rule = |patterns: &[&str]| patterns.iter().map(|text| (*text).to_owned()).collect();
    let policy = policy(&[
        rule(&["a*.x.example", "b*.x.example", "c*.y.example"]),
        rule(&["a*.x.example", "printer*"]),
    ])
    .unwrap();
    assert_eq!(policy.settings.root_globs, 1);
    assert_eq!(policy.globs.len(), 4, "the shared glob stands once");
    let mut covered: Vec<u32> = (0..policy.settings.root_globs).collect();
    for node in policy.edges.values() {
        covered.extend(node.first_glob..node.first_glob + node.globs);
    }
    covered.sort_unstable();
    assert_eq!(covered, [0, 1, 2, 3]);
}

#[test]
fn a_node_takes_so_many_globs() {
    let service = |count: usize| -> Config {
        let patterns: Vec<String> =
            (0..count).map(|index| format!("'p{index}-*.example'")).collect();
        config(
            "[own]",
            &format!("services: [{{id: own, fqdns: [{}], tcp: [1]}}]", patterns.join(", ")),
        )
    };
    assert!(compile(&service(Glob::PER_NODE), &catalogue(), &RuleBits::new()).is_ok());
    let errors = errors(&service(Glob::PER_NODE + 1));
    let [error] = &errors[..] else { panic!("{errors:?}") };
    assert_eq!((error.line, error.key.as_str()), (Some(4), "services[0]"));
    assert!(error.message.contains("before \"example\", expected at most 32"), "{error}");
}

fn patterns() -> impl Strategy<Value = String> {
    let label = "[ab]{1,2}|[ab]{23,26}|#|a#";
    let parent = proptest::collection::vec("[ab]{1,2}|[ab]{24}|#", 0..3);
    let first = prop_oneof![
        label.prop_map(String::from),
        Just("*".to_owned()),
        "[ab]{0,2}\\*[ab]{0,2}",
        "[ab]{8,9}\\*[ab]{8,9}",
    ];
    (first, parent).prop_map(|(first, parent)| {
        std::iter::once(first).chain(parent).collect::<Vec<_>>().join(".")
    })
}

fn names() -> impl Strategy<Value = String> {
    let label = "[abAB]{1,3}|[ab]{16,26}|[0-9]{1,2}|a[0-9]{1,2}|5[01]";
    (proptest::collection::vec(label, 1..5), "\\.?")
        .prop_map(|(labels, dot)| labels.join(".") + &dot)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn random_patterns_and_names(
        rules in proptest::collection::vec(proptest::collection::vec(patterns(), 1..6), 1..6),
        names in proptest::collection::vec(names(), 40),
    ) {
        let legal = |pattern: &String| pattern.parse::<Pattern>().is_ok();
        let rules: Vec<Vec<String>> = rules
            .into_iter()
            .map(|mut patterns| {
                patterns.retain(legal);
                patterns.sort();
                patterns.dedup();
                patterns
            })
            .filter(|patterns| !patterns.is_empty())
            .collect();
        prop_assume!(!rules.is_empty());
        // A glob that expands to all numbers may need more room than a node has.
        let Some(policy) = policy(&rules) else { return Ok(()) };
        for name in names {
            prop_assert_eq!(policy.rules_of_name(&name), model(&policy, &name), "{} {:?}", name, rules);
        }
        // Names made from the patterns themselves hit, where random ones seldom do.
        for pattern in rules.iter().flatten() {
            for (star, number) in [("", "0"), ("b", "50"), ("a.b", "51"), ("aa", "7")] {
                let name = pattern.replace('*', star).replace('#', number);
                for name in [name.clone(), format!("a.{name}"), name.to_uppercase()] {
                    prop_assert_eq!(policy.rules_of_name(&name), model(&policy, &name), "{}", name);
                }
            }
        }
    }
}
