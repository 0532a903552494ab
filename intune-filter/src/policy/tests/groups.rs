//! Tests names of services, and bits of rules.

use intune_filter_ebpf::abi::{RULES, RuleMask};

use super::{CATALOGUE, catalogue, config, errors, ids, in_force, policy};
use crate::{
    catalogue::RuleId,
    config::Config,
    policy::{RuleBits, compile},
};

#[test]
fn ids_aliases_and_sets() {
    let own =
        "services: [{id: own, cidrs: [10.30.0.0/16], tcp: [1]}, {id: peers, cidrs: [10.7.0.0/16]}]";
    for (services, expected) in [
        ("[core]", vec!["core/core"]),
        ("[connector]", vec!["core/core"]),
        ("[core, connector]", vec!["core/core"]),
        ("[default]", vec!["core/core", "regional/attest", "regional/everywhere"]),
        ("[apple]", vec!["asia/only", "core/core"]),
        ("[own]", vec!["own/site"]),
        ("[]", vec![]),
        (
            "[all]",
            vec![
                "asia/only",
                "core/core",
                "own/site",
                "peers/content",
                "peers/teredo",
                "protection/wip",
                "regional/attest",
                "regional/everywhere",
            ],
        ),
    ] {
        let policy = policy(&config(services, own));
        assert_eq!(in_force(&policy), expected, "{services}");
        assert_eq!(ids(&policy, policy.groups[0].rules), expected, "{services}");
    }
}

#[test]
fn an_unknown_service_is_named_with_its_line_and_what_is_near() {
    let errors = errors(&config("[core, regionl, nothing-like-it]", ""));
    assert_eq!(errors.len(), 2, "{errors:?}");
    assert_eq!((errors[0].line, errors[0].key.as_str()), (Some(2), "clients[0].services[1]"));
    assert!(errors[0].message.contains("unknown service \"regionl\""), "{}", errors[0]);
    assert!(errors[0].message.contains("did you mean regional?"), "{}", errors[0]);
    assert!(errors[1].message.contains("all, apple, default, windows, core"), "{}", errors[1]);
}

#[test]
fn a_group_has_only_its_own_services() {
    let text = "\
interfaces: [{name: eth1}]
clients:
  - {name: a, networks: [192.168.0.0/24], services: [core]}
  - {name: b, networks: [192.168.1.0/24], services: [protection, core]}
dns: {resolvers: [192.168.0.1]}
";
    let policy = policy(&Config::parse("config.yaml", text).unwrap());
    assert_eq!(ids(&policy, policy.groups[0].rules), ["core/core"]);
    assert_eq!(ids(&policy, policy.groups[1].rules), ["core/core", "protection/wip"]);
    assert_eq!(in_force(&policy).len(), 2);
}

/// Returns a configuration with `count` services of one rule each, all of them used.
fn many(count: usize) -> Config {
    let service = |index| format!("{{id: s{index}, cidrs: [10.0.0.0/8], tcp: [80]}}");
    let services: Vec<_> = (0..count).map(service).collect();
    let names: Vec<_> = (0..count).map(|index| format!("s{index}")).collect();
    config(&format!("[{}]", names.join(", ")), &format!("services: [{}]", services.join(", ")))
}

#[test]
fn as_many_rules_as_a_mask_has_and_no_more() {
    let full = policy(&many(RULES));
    assert_eq!(full.rules.len(), 192);
    assert_eq!(full.groups[0].rules, RuleMask::ALL);
    let errors = errors(&many(200));
    let [error] = &errors[..] else { panic!("{errors:?}") };
    assert_eq!((error.line, error.key.as_str()), (Some(2), "clients[0].services[192]"));
    assert!(error.message.contains("193 rules in force, expected at most 192"), "{error}");
}

fn bits(pairs: &[(&str, u8)]) -> RuleBits {
    pairs.iter().map(|(id, bit)| (id.parse::<RuleId>().unwrap(), *bit)).collect()
}

#[test]
fn a_rule_keeps_its_bit_and_a_new_one_takes_one_that_was_never_used() {
    let previous = bits(&[("core/core", 7), ("gone/rule", 0), ("regional/attest", 1)]);
    let config = config("[core, regional, protection]", "");
    let policy = compile(&config, &catalogue(), &previous).unwrap();
    assert_eq!(
        policy.rule_bits(),
        bits(&[
            ("core/core", 7),
            ("protection/wip", 3),
            ("regional/attest", 1),
            ("regional/everywhere", 2),
        ])
    );
    assert_eq!((policy.freed, policy.reused), (RuleMask::of(0), RuleMask::EMPTY));
}

#[test]
fn a_freed_bit_is_reused_only_if_no_other_is_left() {
    let mut previous: RuleBits = policy(&many(RULES)).rule_bits();
    let freed = previous.remove(&"s150/site".parse().unwrap()).unwrap();
    previous.insert("gone/rule".parse().unwrap(), freed);
    let policy = compile(&many(RULES), &catalogue(), &previous).unwrap();
    assert_eq!(policy.rule_bits()[&"s150/site".parse().unwrap()], freed);
    assert_eq!((policy.freed, policy.reused), (RuleMask::of(freed), RuleMask::of(freed)));
}

#[test]
fn compiling_again_changes_no_bit() {
    let first = policy(&config("[default]", ""));
    let second = compile(&config("[all]", ""), &catalogue(), &first.rule_bits()).unwrap();
    for (id, bit) in first.rule_bits() {
        assert_eq!(second.rule_bits()[&id], bit, "{id}");
    }
    assert_eq!(second.freed, RuleMask::EMPTY);
}

#[test]
fn previous_bits_that_cannot_be_are_not_believed() {
    let previous = bits(&[("core/core", 192), ("regional/attest", 5), ("regional/everywhere", 5)]);
    let policy = compile(&config("[core, regional]", ""), &catalogue(), &previous).unwrap();
    let bits = policy.rule_bits();
    assert_eq!(bits[&"regional/attest".parse().unwrap()], 5);
    let mut distinct: Vec<u8> = bits.values().copied().collect();
    distinct.sort_unstable();
    distinct.dedup();
    assert_eq!(distinct.len(), 3, "{bits:?}");
    assert!(distinct.iter().all(|bit| usize::from(*bit) < RULES));
}

#[test]
fn the_built_in_catalogue_fits() {
    let policy =
        compile(&config("[all]", ""), crate::catalogue::Catalogue::builtin(), &RuleBits::new())
            .unwrap();
    assert!(policy.rules.len() > 30, "{}", policy.rules.len());
    assert!(CATALOGUE.contains("services:"));
}
