//! Tests the trie against the slow matcher of the patterns.

use std::{collections::BTreeSet, sync::LazyLock};

use intune_filter_ebpf::abi::{EdgeKey, Glob, MATCH_STEPS, ROOT, RULES, RuleMask};
use proptest::prelude::*;

use super::{catalogue, config, errors};
use crate::{
    config::Config,
    pattern::Pattern,
    policy::{Policy, RuleBits, compile, names::Builder},
};

/// Vectors shared with the kernel's matcher.
pub(super) const VECTORS: &str =
    include_str!("../../../../intune-filter-ebpf/tests/vectors/patterns.txt");

const NONE: RuleMask = RuleMask::EMPTY;
const FIRST: RuleMask = RuleMask::of(0);

/// A trie with a rule for each list of patterns, and the lists.
pub(super) struct Names {
    pub policy: Policy,
    rules: Vec<Vec<Pattern>>,
}

impl Names {
    /// Returns `None` if a node has too many globs, or the kernel would need too many steps.
    pub fn new(rules: &[Vec<String>]) -> Option<Self> {
        static EMPTY: LazyLock<Policy> = LazyLock::new(|| super::policy(&config("[]", "")));
        let parse = |patterns: &Vec<String>| -> Vec<Pattern> {
            patterns.iter().map(|pattern| pattern.parse().unwrap()).collect()
        };
        let rules: Vec<Vec<Pattern>> = rules.iter().map(parse).collect();
        let mut builder = Builder::new();
        for (bit, patterns) in rules.iter().enumerate() {
            patterns
                .iter()
                .try_for_each(|pattern| builder.add(pattern, RuleMask::of(bit as u8)))
                .ok()?;
        }
        if builder.steps() > u64::from(MATCH_STEPS) {
            return None;
        }
        let trie = builder.finish();
        let mut policy = EMPTY.clone();
        policy.settings.root = trie.root;
        policy.edges = trie.edges;
        policy.globs = trie.globs;
        Some(Self { policy, rules })
    }

    /// What the trie says.
    fn found(&self, name: &str) -> RuleMask {
        self.policy.rules_of_name(name)
    }

    /// What the patterns themselves say.
    pub fn expected(&self, name: &str) -> RuleMask {
        let matches = |patterns: &&Vec<Pattern>| patterns.iter().any(|p| p.matches(name));
        let matching = self.rules.iter().enumerate().filter(|(_, patterns)| matches(patterns));
        matching.map(|(bit, _)| bit as u8).collect()
    }
}

/// Returns eight octets in the byte order of the maps.
fn word(octets: &[u8; 8]) -> u64 {
    u64::from_ne_bytes(*octets)
}

#[test]
fn edges_hold_a_chunk_each_and_the_labels_length() {
    let label = "abcdefghijklmnopqrstuvwxyz0123";
    let names = Names::new(&[vec![format!("{label}.Net")]]).unwrap();
    let edges = &names.policy.edges;
    assert_eq!(edges.len(), 3);
    let octets = [word(b"net\0\0\0\0\0"), 0, 0];
    let net = edges[&EdgeKey { parent: ROOT, length: 3, chunk: 0, octets }];
    assert_eq!((net.exact, net.below, net.globs), (NONE, NONE, 0));
    let octets = [word(b"abcdefgh"), word(b"ijklmnop"), word(b"qrstuvwx")];
    let half = edges[&EdgeKey { parent: net.id, length: 30, chunk: 0, octets }];
    assert_eq!((half.exact, half.below, half.globs), (NONE, NONE, 0));
    let octets = [word(b"yz0123\0\0"), 0, 0];
    let whole = edges[&EdgeKey { parent: half.id, length: 30, chunk: 1, octets }];
    assert_eq!((whole.exact, whole.below), (FIRST, NONE));
    let ids = BTreeSet::from([ROOT, net.id, half.id, whole.id]);
    assert_eq!(ids.len(), 4);
}

#[test]
fn globs_hold_prefix_left_and_suffix_right() {
    let names = Names::new(&[vec!["abcdefghij*yz.net".to_owned(), "*.net".to_owned()]]).unwrap();
    let octets = [word(b"net\0\0\0\0\0"), 0, 0];
    let net = names.policy.edges[&EdgeKey { parent: ROOT, length: 3, chunk: 0, octets }];
    assert_eq!(
        (net.exact, net.below, net.first_glob, net.globs, net.inner),
        (NONE, FIRST, 0, 1, 0)
    );
    let glob = names.policy.globs[0];
    assert_eq!((glob.node.exact, glob.prefix_length, glob.suffix_length), (FIRST, 10, 2));
    assert_eq!((glob.node.below, glob.node.edges, glob.node.globs), (NONE, 0, 0));
    assert_eq!(glob.prefix, [word(b"abcdefgh"), word(b"ij\0\0\0\0\0\0"), 0, 0, 0, 0, 0, 0]);
    assert_eq!(glob.suffix, [0, 0, 0, 0, 0, 0, 0, word(b"\0\0\0\0\0\0yz")]);
}

#[test]
fn vectors_one_pattern_at_a_time() {
    let mut seen = 0;
    for line in VECTORS.lines().filter(|line| !line.is_empty() && !line.starts_with(';')) {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [pattern, name, expected] = fields[..] else { panic!("{line}") };
        let names = Names::new(&[vec![pattern.to_owned()]]).unwrap();
        assert_eq!(names.found(name) == FIRST, expected == "yes", "{line}");
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
    let mut rules = vec![Vec::new(); RULES];
    for (index, pattern) in patterns.into_iter().enumerate() {
        rules[index % RULES].push(pattern);
    }
    let names = Names::new(&rules).unwrap();
    for line in lines() {
        let name = line.split_whitespace().nth(1).unwrap();
        assert_eq!(names.found(name), names.expected(name), "{line}");
    }
}

#[test]
fn globs_stand_in_a_row_and_the_roots_first() {
    let rule = |patterns: &[&str]| patterns.iter().map(|text| (*text).to_owned()).collect();
    let names = Names::new(&[
        rule(&["a*.x.example", "b*.x.example", "c*.y.example"]),
        rule(&["a*.x.example", "printer*"]),
    ])
    .unwrap();
    let policy = names.policy;
    assert_eq!(policy.settings.root.globs, 1);
    assert_eq!(policy.globs.len(), 4, "the shared glob stands once");
    let mut covered: Vec<u32> = Vec::new();
    for node in policy.edges.values().chain([&policy.settings.root]) {
        covered.extend(node.first_glob..node.first_glob + u32::from(node.globs));
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

/// Tests that globs that lead on precede the others, and that their nodes hold what follows.
#[test]
fn globs_lead_on_to_nodes_of_their_own() {
    let patterns = ["a.b*c.net", "*.b*c.net", "x*.net", "*.net", "y*.b*c.net", "b*c.net"];
    let rules: Vec<Vec<String>> =
        patterns.iter().map(|pattern| vec![(*pattern).to_owned()]).collect();
    let policy = Names::new(&rules).unwrap().policy;
    let octets = [word(b"net\0\0\0\0\0"), 0, 0];
    let net = policy.edges[&EdgeKey { parent: ROOT, length: 3, chunk: 0, octets }];
    assert_eq!((net.globs, net.inner, net.edges, net.below), (2, 1, 0, RuleMask::of(3)));
    let [inner, leaf] = [0, 1].map(|at| policy.globs[(net.first_glob + at) as usize]);
    assert_eq!((leaf.node.exact, leaf.node.below), (RuleMask::of(2), NONE));
    assert_eq!((inner.node.exact, inner.node.below), (RuleMask::of(5), RuleMask::of(1)));
    assert_eq!((leaf.node.edges, inner.node.edges), (0, 1));
    assert_eq!((inner.node.globs, inner.node.inner), (1, 0));
    assert_eq!(policy.globs[inner.node.first_glob as usize].node.exact, RuleMask::of(4));
    let octets = [word(b"a\0\0\0\0\0\0\0"), 0, 0];
    let key = EdgeKey { parent: inner.node.id, length: 1, chunk: 0, octets };
    assert_eq!(policy.edges[&key].exact, FIRST);
}

/// Tests that labels which double the nodes of a name are refused beyond the kernel's limit.
#[test]
fn a_policy_whose_names_take_too_many_steps_is_refused() {
    let site = |labels: usize| -> Config {
        let globs = (0..1 << labels).map(|bits| {
            let pattern: Vec<&str> =
                (0..labels).map(|at| if bits >> at & 1 == 1 { "a*" } else { "*a" }).collect();
            format!("'x.{}.example'", pattern.join("."))
        });
        let patterns: Vec<String> = globs.collect();
        let text = format!("services: [{{id: own, fqdns: [{}], tcp: [1]}}]", patterns.join(", "));
        config("[own]", &text)
    };
    assert!(compile(&site(5), &catalogue(), &RuleBits::new()).is_ok());
    let errors = errors(&site(7));
    let [error] = &errors[..] else { panic!("{errors:?}") };
    assert_eq!((error.line, error.key.as_str()), (Some(4), "services[0]"));
    for part in
        ["own/site", "expected at most 256", "x.*a.*a.*a.*a.*a.*a.*a.example, ", "and 123 more"]
    {
        assert!(error.message.contains(part), "{error}");
    }
}

/// Tests that globs of which no label matches two cost as much as the most expensive of them.
#[test]
fn steps_of_globs_that_exclude_each_other_do_not_add_up() {
    let steps = |patterns: &[&str]| {
        let mut builder = Builder::new();
        for pattern in patterns {
            builder.add(&pattern.parse().unwrap(), FIRST).unwrap();
        }
        builder.steps()
    };
    // An edge to example, two globs, an edge to x below one of them, and the last step.
    assert_eq!(steps(&["x.a*.example", "x.b*.example"]), 5);
    // An edge to x below both.
    assert_eq!(steps(&["x.a*.example", "x.*b.example"]), 6);
    assert_eq!(steps(&["x.a*.example", "x.ab*.example"]), 6);
    assert_eq!(steps(&["x.example"]), 3);
}

fn patterns() -> impl Strategy<Value = String> {
    let label = "[ab]{1,2}|[ab]{23,26}|#|a#";
    let parent = "[ab]{1,2}|[ab]{24}|#|\\*|[ab]{0,2}\\*[ab]{0,2}";
    let parent = proptest::collection::vec(parent, 0..4);
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
        let Some(trie) = Names::new(&rules) else { return Ok(()) };
        for name in names {
            prop_assert_eq!(trie.found(&name), trie.expected(&name), "{} {:?}", name, rules);
        }
        // Names made from the patterns hit, while random ones seldom do.
        for pattern in rules.iter().flatten() {
            for (star, number) in [("", "0"), ("b", "50"), ("a.b", "51"), ("aa", "7")] {
                let name = pattern.replace('*', star).replace('#', number);
                for name in [name.clone(), format!("a.{name}"), name.to_uppercase()] {
                    prop_assert_eq!(trie.found(&name), trie.expected(&name), "{}", name);
                }
            }
        }
    }
}
