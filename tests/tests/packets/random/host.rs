//! The host's build alone, while time passes and two policies take turns: no frame makes it panic,
//! and what passes has a cause that somebody else sees too.

use std::collections::BTreeMap;

use intune_filter::{
    config::Config,
    policy::{Policy, compile},
};
use intune_filter_ebpf::{
    abi::{Active, Matched, Reason},
    verdict::Action,
};
use intune_filter_tests::prog_test_run::{
    filter::HookPoint,
    host::{clear, place, tables},
    site::{catalogue, changed_config, rule_bits},
};

use super::{
    cases,
    frames::{Frames, Numbers},
    oracle::{Moment, Oracle},
};

/// The site, where rules let in who reaches two of its groups: see `model::INBOUND`.
pub fn first_config() -> Config {
    changed_config("", "", |text| ruled(&text))
}

fn ruled(text: &str) -> String {
    let to = |text: &str, group: &str, rules: &str| {
        let name = format!("name: {group}\n");
        text.replacen(&name, &format!("{name}    inbound: {rules}\n"), 1)
    };
    let own = "{from: [20.0.0.0/24, '2a01:111::/64'], tcp: [22], udp: ['7000-7009']}";
    let text = to(text, "rejected", &format!("[{{services: [other]}}, {own}]"));
    to(&text, "tagged", "[{services: [core]}]")
}

/// The site with another policy, which takes rules from one group and audits no group, and lets in less
/// here and more there.
pub fn other_config() -> Config {
    changed_config("", "other_vlans: deny", |text| {
        ruled(&text)
            .replacen("[core, time]", "[time, other]", 1)
            .replacen("    mode: audit\n", "", 1)
            .replacen("{services: [other]}", "{services: [core, other]}", 1)
            .replacen(", udp: ['7000-7009']", "", 1)
            .replacen("    inbound: [{services: [core]}]\n", "", 1)
    })
}

fn index(interface: &str) -> u32 {
    if interface == "eth1" { 1 } else { 2 }
}

/// Whose reasons have to be among those of every run: what came before is remembered.
pub const DEEP: [&str; 8] = [
    "policy",
    "flow",
    "fragment_allowed",
    "icmp_error",
    "dns_query",
    "dns_answer",
    "unsolicited",
    "fragment",
];

/// Frames that follow each other on the same state.
const TOGETHER: u64 = 32;
/// Frames, on average, between two in which time passes.
const REST: usize = 8;
/// Frames, on average, between two changes of the policy in force.
const POLICY: usize = 16;
/// Frames, on average, between two with a tag beside them.
const BESIDE: usize = 2;

/// Seconds that pass: less and more than what is waited for.
const SECONDS: [u64; 8] = [0, 1, 20, 40, 90, 200, 400, 8000];

/// The tag of a frame, and the frame without it, as the hardware may hand them over.
fn apart(frame: &[u8]) -> Option<(u16, Vec<u8>)> {
    match frame.get(12..16)? {
        [0x81, 0, high, low] | [0x88, 0xa8, high, low] => {
            let without = [&frame[..12], &frame[16..]].concat();
            (without.len() >= 14).then_some((u16::from_be_bytes([*high, *low]), without))
        }
        _ => None,
    }
}

/// Judged frames.
#[derive(Debug, Default)]
struct Judged {
    reasons: BTreeMap<&'static str, u64>,
    by_name: u64,
    let_in_by_rules: u64,
}

/// Has frames judged by these policies in turn; fails at the first that passes without a cause, or
/// by a cause does not pass.
fn judge(cases: u64, policies: [&Policy; 2]) -> Result<Judged, String> {
    let frames = Frames::new();
    let start = Active { generation: 2, reserved: 0, seed: 7 };
    let tables = tables(policies, start, index);
    let mut judged = Judged::default();
    for begin in (0..cases).step_by(TOGETHER as usize) {
        let mut numbers = Numbers::new(begin.rotate_left(32));
        let mut oracle = Oracle::default();
        clear(&tables);
        tables.now.set(1 << 45);
        tables.active.set(start);
        for (at, frame) in frames.batch(begin, TOGETHER.min(cases - begin)) {
            if numbers.once_in(REST) {
                tables.now.set(tables.now.get() + numbers.one(&SECONDS) * 1_000_000_000);
            }
            if numbers.once_in(POLICY) {
                let active = tables.active.get();
                tables.active.set(Active { generation: active.generation + 1, ..active });
            }
            let generation = tables.active.get().generation;
            let moment = Moment { now: tables.now.get(), generation, second: generation & 1 == 1 };
            let mut place = place(at, index);
            let beside = apart(&frame).filter(|_| numbers.once_in(BESIDE));
            place.stripped_tag = beside.as_ref().map(|(tag, _)| *tag);
            let octets = beside.as_ref().map_or(&frame, |(_, without)| without);
            let verdict = match at {
                HookPoint::Ingress(_) => tables.ingress(octets, place),
                _ => tables.egress(octets, place),
            };
            *judged.reasons.entry(verdict.reason.as_str()).or_default() += 1;
            judged.by_name += u64::from(verdict.matched == Matched::Name);
            let by_rule = verdict.reason == Reason::Inbound && verdict.matched != Matched::Builtin;
            judged.let_in_by_rules += u64::from(by_rule);
            let passed = verdict.action == Action::Pass;
            let passes = !verdict.reason.denies() || verdict.audited != 0;
            if passed != passes || !oracle.agrees(moment, at, &frame, &verdict) {
                return Err(format!(
                    "from {begin}, {moment:?}, {at:?}, {place:?}: {verdict:?} of {frame:02x?}\n\
                     {oracle:?}"
                ));
            }
        }
    }
    Ok(judged)
}

#[test]
fn whatever_comes_the_host_passes_only_what_has_a_cause() {
    let cases = cases(200_000);
    let first = compile(&first_config(), &catalogue(), &rule_bits()).expect("a policy");
    let second = compile(&other_config(), &catalogue(), &first.rule_bits()).expect("a policy");
    let judged = judge(cases, [&first, &second]).unwrap_or_else(|frame| panic!("{frame}"));
    let Judged { reasons, by_name, let_in_by_rules } = judged;
    println!(
        "{cases} frames, {by_name} by a learned name, {let_in_by_rules} let in by rules: {reasons:?}"
    );
    for reason in DEEP.into_iter().chain(["port", "malformed", "exempt", "inbound"]) {
        assert!(reasons.get(reason) > Some(&(cases / 2_000)), "{reason} is among them");
    }
    assert!(by_name > cases / 2_000, "names are learned");
    assert!(let_in_by_rules > cases / 2_000, "rules let in");
}

/// Shows that what a rule lets in and does not arrive is noticed: the site lets in a little less.
#[test]
fn a_policy_that_lets_in_less_is_noticed() {
    let first = compile(&first_config(), &catalogue(), &rule_bits()).expect("a policy");
    let second = compile(&other_config(), &catalogue(), &first.rule_bits()).expect("a policy");
    for (old, new) in [
        ("tcp: [22]", "tcp: [21]"),
        ("from: [20.0.0.0/24", "from: [20.0.1.0/24"),
        ("{services: [other]}", "{services: [time]}"),
        ("    inbound: [{services: [core]}]\n", ""),
    ] {
        let less = changed_config("", "", |text| ruled(&text).replacen(old, new, 1));
        let less = compile(&less, &catalogue(), &first.rule_bits()).expect("a policy");
        let noticed = judge(200_000, [&less, &second]).expect_err(new);
        assert!(noticed.contains("action: Drop"), "{new}: {noticed}");
    }
}

/// Shows that what passes without a cause does not go unnoticed: the site allows a little more.
#[test]
fn a_policy_that_lets_more_pass_is_noticed() {
    let first = compile(&first_config(), &catalogue(), &rule_bits()).expect("a policy");
    let second = compile(&other_config(), &catalogue(), &first.rule_bits()).expect("a policy");
    for (old, new) in [
        // Another service, more clients, one that is let alone, audited, or reached from outside.
        ("[core, time]", "[core, time, other]"),
        ("10.20.4.0/24", "10.20.0.0/16"),
        ("name: servers\n", "name: servers\n    mode: exempt\n"),
        ("name: tagged\n", "name: tagged\n    mode: audit\n"),
        ("name: lan\n", "name: lan\n    inbound: allow\n"),
        // A port of the clients, a sender, a service, a group that others have rules for.
        ("tcp: [22]", "tcp: [22, 23]"),
        ("from: [20.0.0.0/24", "from: [203.0.113.0/24, 20.0.0.0/24"),
        ("{services: [other]}", "{services: [core, other]}"),
        ("name: lan\n", "name: lan\n    inbound: [{services: [core]}]\n"),
    ] {
        let wider = changed_config("", "", |text| ruled(&text).replacen(old, new, 1));
        let wider = compile(&wider, &catalogue(), &first.rule_bits()).expect("a policy");
        let noticed = judge(200_000, [&wider, &second]).expect_err(new);
        assert!(noticed.contains("action: Pass"), "{new}: {noticed}");
    }
}
