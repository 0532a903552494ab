//! Tests the kernel's matcher, built for the host, against the slow matcher of the patterns.

use intune_filter_ebpf::{
    abi::{Glob, RULES, RuleMask},
    dns,
    host::{self, Tables},
    scratch::Scratch,
};
use proptest::prelude::*;

use super::names::{Names, VECTORS};
use crate::pattern::Pattern;

/// Maps of some rules, and working memory.
struct Matcher {
    tables: Tables,
    scratch: Box<Scratch>,
}

impl Matcher {
    fn new(names: &Names) -> Self {
        let mut tables = Tables::default();
        tables.policies[0] = host::PolicyMaps::from(&names.policy);
        Self { tables, scratch: Box::default() }
    }

    /// The rules of the name in a query; `None` if no query can carry it.
    fn found(&self, name: &str) -> Option<RuleMask> {
        let (scratch, tables) = (&*self.scratch, &self.tables);
        let query = query(name)?;
        // Remains of an earlier message must not be taken for a part of this one.
        assert!(scratch.message.fill(&[b'a'; 600]));
        assert!(scratch.message.fill(&query));
        scratch.parser.length.set(query.len() as u64);
        let question = dns::read_question(scratch, tables).expect("the question is sound");
        assert_eq!(question.end, query.len() as u64);
        dns::match_name(scratch, tables, &tables.policies[0].settings);
        Some(scratch.matcher.rules.get())
    }
}

/// Returns a query for the address of a name.
fn query(name: &str) -> Option<Vec<u8>> {
    let name = name.strip_suffix('.').unwrap_or(name);
    let mut query = vec![0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        if label.is_empty() || label.len() > 63 {
            return None;
        }
        query.push(label.len() as u8);
        query.extend(label.bytes());
    }
    query.push(0);
    let whole = query.len() - 12 <= 255;
    query.extend([0, 1, 0, 1]);
    whole.then_some(query)
}

/// Returns the vectors: pattern, name, and whether the pattern matches the name.
fn vectors() -> impl Iterator<Item = (&'static str, &'static str, bool)> {
    let lines = VECTORS.lines().filter(|line| !line.is_empty() && !line.starts_with(';'));
    lines.map(|line| match line.split_whitespace().collect::<Vec<_>>()[..] {
        [pattern, name, "yes"] => (pattern, name, true),
        [pattern, name, "no"] => (pattern, name, false),
        _ => panic!("{line}"),
    })
}

#[test]
fn vectors_one_pattern_at_a_time() {
    let mut carried = 0;
    for (pattern, name, expected) in vectors() {
        let kernel = Matcher::new(&Names::new(&[vec![pattern.to_owned()]]).unwrap());
        match kernel.found(name) {
            Some(rules) => {
                assert_eq!(rules == RuleMask::of(0), expected, "{pattern} {name}");
                carried += 1;
            }
            None => assert!(!expected, "{name} matches {pattern}, and no query carries it"),
        }
    }
    assert!(carried >= 150);
}

#[test]
fn vectors_all_patterns_at_once() {
    let mut patterns: Vec<String> = vectors().map(|(pattern, ..)| pattern.to_owned()).collect();
    patterns.sort();
    patterns.dedup();
    let mut rules = vec![Vec::new(); RULES];
    for (index, pattern) in patterns.into_iter().enumerate() {
        rules[index % RULES].push(pattern);
    }
    let names = Names::new(&rules).unwrap();
    let kernel = Matcher::new(&names);
    for (_, name, _) in vectors() {
        if let Some(found) = kernel.found(name) {
            assert_eq!(found, names.expected(name), "{name}");
        }
    }
}

#[test]
fn the_root_is_no_name_of_any_pattern() {
    let kernel = Matcher::new(&Names::new(&[vec!["*".to_owned()]]).unwrap());
    let root = [0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1];
    let (scratch, tables) = (&*kernel.scratch, &kernel.tables);
    assert!(scratch.message.fill(&root));
    scratch.parser.length.set(root.len() as u64);
    assert!(dns::read_question(scratch, tables).is_some());
    dns::match_name(scratch, tables, &tables.policies[0].settings);
    assert!(scratch.matcher.rules.is_empty());
}

/// Generates labels around the ends of chunks and words, of few distinct octets so that patterns
/// and names meet.
fn label() -> impl Strategy<Value = String> {
    let lengths = prop::sample::select(vec![1, 2, 7, 8, 9, 16, 23, 24, 25, 47, 48, 49, 62, 63]);
    (lengths, 0..3_usize, prop::bool::weighted(0.2)).prop_map(|(length, other, at_end)| {
        let mut label = vec![b'a'; length];
        let at = if at_end { length - 1 } else { other * 24 % length };
        label[at] = b"abA"[other];
        String::from_utf8(label).unwrap()
    })
}

/// Generates a label with a `*` in it.
fn glob() -> impl Strategy<Value = String> {
    (label(), label(), 0..64_usize, 0..64_usize).prop_map(|(prefix, suffix, left, right)| {
        let left = left.min(prefix.len());
        let right = right.min(suffix.len()).min(63 - left);
        format!("{}*{}", &prefix[..left], &suffix[suffix.len() - right..])
    })
}

fn pattern() -> impl Strategy<Value = String> {
    let parent = prop_oneof![3 => label(), 1 => glob(), 1 => Just("*".to_owned())];
    let parent = prop::collection::vec(parent, 0..4);
    let first = prop_oneof![
        2 => label(),
        1 => Just("*".to_owned()),
        3 => glob(),
        1 => Just("a#".to_owned()),
    ];
    (first, parent).prop_map(|(first, parent)| [vec![first], parent].concat().join("."))
}

/// Tests a name that takes exactly the compiler's number of steps, and has all its rules.
#[test]
fn as_many_steps_as_there_can_be() {
    let globs = |labels: usize, last: &str| -> Vec<Vec<String>> {
        let each = (0..1 << labels).map(|bits| {
            let pattern: Vec<&str> =
                (0..labels).map(|at| if bits >> at & 1 == 1 { "a*" } else { "*a" }).collect();
            vec![format!("{last}.{}.example", pattern.join("."))]
        });
        each.collect()
    };
    // 1 edge, 2 + 4 + 8 + 16 + 32 globs, 6 edges in each of 32 places, and the last step: 256.
    let names = Names::new(&globs(5, "u.v.w.x.y.z")).expect("as many as the kernel takes");
    assert!(Names::new(&globs(5, "t.u.v.w.x.y.z")).is_none(), "32 more");
    let kernel = Matcher::new(&names);
    for (name, count) in
        [("u.v.w.x.y.z.a.aa.a.a.a.example", 32), ("u.v.w.x.y.z.ab.ab.a.a.a.example", 8)]
    {
        let found = kernel.found(name).unwrap();
        assert_eq!((found, found.iter().count()), (names.expected(name), count), "{name}");
    }
}

/// Generates fewer than `most` letters, of two.
fn word(most: usize) -> impl Strategy<Value = String> {
    (0..most, any::<u16>()).prop_map(|(length, bits)| {
        (0..length).map(|at| if bits >> at & 1 == 1 { 'b' } else { 'a' }).collect()
    })
}

/// Lengthens `name` to the longest legal name, or as near to it as its labels allow.
fn lengthened(name: &str) -> String {
    let mut name = name.to_owned();
    while name.len() < 252 {
        let room = (253 - name.len() - 1).min(63);
        name = format!("{}.{name}", "a".repeat(room));
    }
    name
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(
        std::env::var("INTUNE_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(250)
    ))]

    #[test]
    fn random_patterns_and_names(
        patterns in prop::collection::vec((pattern(), 0..RULES), 1..40),
        labels in prop::collection::vec(prop::collection::vec(label(), 1..6), 10),
        stars in prop::collection::vec(label(), 4),
        letters in any::<u64>(),
    ) {
        let mut rules = vec![Vec::new(); RULES];
        for (pattern, rule) in &patterns {
            if pattern.parse::<Pattern>().is_ok() {
                rules[*rule].push(pattern.clone());
            }
        }
        // Random rules may need more steps than the kernel takes.
        let Some(names) = Names::new(&rules) else { return Ok(()) };
        let kernel = Matcher::new(&names);
        let mut tried: Vec<String> = labels.iter().map(|labels| labels.join(".")).collect();
        for (pattern, _) in &patterns {
            for star in ["", "b"].into_iter().chain(stars.iter().map(String::as_str)) {
                tried.push(pattern.replace('*', star).replace('#', "7"));
            }
        }
        for name in tried {
            let mixed: String = name
                .chars()
                .enumerate()
                .map(|(at, c)| if letters >> (at % 64) & 1 == 1 { c.to_ascii_uppercase() } else { c })
                .collect();
            for name in [lengthened(&name), format!("a.{name}"), mixed, name] {
                let expected = names.expected(&name);
                match kernel.found(&name) {
                    Some(found) => prop_assert_eq!(found, expected, "{} {:?}", name, rules),
                    None => prop_assert!(expected.is_empty(), "no query carries {}", name),
                }
            }
        }
    }

    /// Tests a node filled with globs, each tried against the leftmost label.
    #[test]
    fn many_globs_on_one_node(
        globs in prop::collection::vec((word(4), word(4)), Glob::PER_NODE),
        names in prop::collection::vec(word(9), 40),
        parent in prop_oneof![Just(""), Just(".a"), Just(".b.example")],
    ) {
        let rules: Vec<Vec<String>> = globs
            .iter()
            .map(|(prefix, suffix)| vec![format!("{prefix}*{suffix}{parent}")])
            .collect();
        let trie = Names::new(&rules).unwrap();
        let kernel = Matcher::new(&trie);
        for name in names {
            for name in [format!("{name}{parent}"), format!("a.{name}{parent}")] {
                let expected = query(&name).map(|_| trie.expected(&name));
                prop_assert_eq!(kernel.found(&name), expected, "{}", name);
            }
        }
    }
}
