//! The shared vectors, by queries that pass or are refused, and by what their answers teach.

use std::net::IpAddr;

use hickory_proto::op::{Message, ResponseCode};
use intune_filter::{config::Config, pattern::Pattern};
use intune_filter_ebpf::abi::{RULES, RuleMask};
use intune_filter_tests::prog_test_run::{
    Addresses, LoadedFilter,
    fate::{self, Fate},
    filter::HookPoint,
    run,
    site::LAN,
};

use super::message::{A, ANSWER, Compression, Data, IN, Name, QUERY, Record, Writer};
use super::{answered, asked, config, learned};

const VECTORS: &str = include_str!("../../../../intune-filter-ebpf/tests/vectors/patterns.txt");

/// Pattern, name, and whether the one matches the other.
fn vectors() -> impl Iterator<Item = (&'static str, &'static str, bool)> {
    let lines = VECTORS.lines().filter(|line| !line.is_empty() && !line.starts_with(';'));
    lines.map(|line| match line.split_whitespace().collect::<Vec<_>>()[..] {
        [pattern, name, "yes"] => (pattern, name, true),
        [pattern, name, "no"] => (pattern, name, false),
        _ => panic!("{line}"),
    })
}

/// Those that match every name, or almost.
const EVERY: [&str; 2] = ["*", "*.*"];

/// The patterns, spread over rules; those that match every name only if `every`.
fn rules(every: bool) -> Vec<Vec<&'static str>> {
    let mut patterns: Vec<&str> = vectors().map(|(pattern, ..)| pattern).collect();
    patterns.sort_unstable();
    patterns.dedup();
    patterns.retain(|pattern| every || !EVERY.contains(pattern));
    let mut rules = vec![Vec::new(); RULES.min(patterns.len())];
    for (index, pattern) in patterns.into_iter().enumerate() {
        rules[index % RULES].push(pattern);
    }
    rules
}

/// Rules by the patterns' own matcher, by the bits that they have in the policy.
fn expected(filter: &LoadedFilter, rules: &[Vec<&str>], name: &str) -> RuleMask {
    let matches = |pattern: &&str| pattern.parse::<Pattern>().unwrap().matches(name);
    let ids = rules.iter().enumerate().filter(|(_, patterns)| patterns.iter().any(matches));
    let service = |index| {
        let of =
            filter.policy().rules.iter().find(|(_, rule)| rule.id.service == format!("s{index}"));
        *of.expect("every service is in force").0
    };
    ids.map(|(index, _)| service(index)).collect()
}

/// A name as a message holds it; `None` if none can.
fn wire(name: &str) -> Option<Name> {
    let text = name.strip_suffix('.').unwrap_or(name);
    let legal = text.split('.').all(|label| (1..=63).contains(&label.len()));
    let name = Name::from(text);
    (legal && name.wire().len() <= 255).then_some(name)
}

#[test]
fn the_shared_vectors_in_the_kernel() {
    for every in [true, false] {
        let rules = rules(every);
        let config: Config = config(&rules);
        run("", "", |filter| {
            filter.install(&config).expect("the policy goes into the maps");
            let (mut passed, mut refused) = (0, 0);
            for who in Addresses::both() {
                for (pattern, text, matches) in vectors() {
                    let Some(name) = wire(text) else {
                        assert!(!matches, "{text} matches {pattern}, and no query carries it");
                        continue;
                    };
                    let found = found(filter, &who, &name);
                    assert_eq!(found, expected(filter, &rules, text), "{text}");
                    if matches && (every || !EVERY.contains(&pattern)) {
                        assert!(!found.is_empty(), "{text} {pattern}");
                    }
                    *(if found.is_empty() { &mut refused } else { &mut passed }) += 1;
                }
            }
            assert!(passed >= 150 && (every || refused >= 100), "{passed} {refused}");
        });
    }
}

/// The rules that the answer to a query gives to its address; none if the query is refused.
fn found(filter: &mut LoadedFilter, who: &Addresses, name: &Name) -> RuleMask {
    let query = Writer::new(7, QUERY, name, A, IN).octets;
    match filter.judge(HookPoint::Ingress(LAN), &asked(who, &query)).expect("the program runs") {
        Fate::Passed => {}
        Fate::Answered(frame) => {
            let refusal = fate::message(&frame).expect("the refusal is a message");
            let refusal = Message::from_vec(refusal).expect("the refusal is sound");
            let code = refusal.metadata.response_code;
            // A name above a listed one exists.
            assert!([ResponseCode::NXDomain, ResponseCode::NoError].contains(&code), "{code}");
            assert!(refusal.answers.is_empty() && refusal.authorities.len() == 1);
            return RuleMask::EMPTY;
        }
        Fate::Dropped => panic!("{name:?} was dropped"),
    }
    let address = std::net::Ipv4Addr::new(20, 0, 0, 9);
    let record =
        Record { owner: name.clone(), kind: A, class: IN, ttl: 300, data: Data::A(address) };
    let mut answer = Writer::new(7, ANSWER, name, A, IN);
    answer.record(1, &record, Compression::Suffix);
    let fate = filter.judge(HookPoint::Egress(LAN), &answered(who, &answer.octets));
    assert_eq!(fate.expect("the program runs"), Fate::Passed);
    let rules = learned(filter).expect("the maps are read")[&IpAddr::from(address)].0;
    filter.clear().expect("the maps are writable");
    rules
}
