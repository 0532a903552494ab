//! The loaded programs and the host's build, over the same frames in the same order: verdicts and
//! reasons are the same, and so is what is counted.

use std::collections::{BTreeMap, BTreeSet};

use intune_filter::policy::compile;
use intune_filter_ebpf::{
    abi::{Counter, REASONS, Reason, RuleCounter},
    host::Tables,
    verdict::{Action, Verdict},
};
use intune_filter_tests::testrun::{
    Filter,
    filter::{Fate, Place},
    run,
    site::{catalogue, changed_config, config},
    state,
};
use nix::net::if_::if_nametoindex;

use super::{
    cases,
    frames::{Frames, Numbers},
    host, model,
    seeds::Seed,
};

/// Frames that follow each other on the same state. Fewer than the maps have room for: the kernel
/// evicts, the host does not.
const TOGETHER: u64 = 24;

fn index(interface: &str) -> u32 {
    if_nametoindex(interface).expect("an interface of the test's")
}

/// What a comparison came to.
enum Found {
    /// Both agree.
    Same,
    /// The kernel runs no program over such a frame.
    Untested,
    /// The kernel's routes have a say that the host's tables know nothing of.
    Routed,
}

#[test]
fn whatever_comes_the_kernel_judges_as_the_host_does() {
    judged_alike(cases(20_000), 0);
}

#[test]
fn whatever_comes_during_the_warm_up_the_kernel_judges_as_the_host_does() {
    judged_alike(cases(8_000), u64::MAX);
}

fn judged_alike(cases: u64, warm_up_until: u64) {
    let frames = Frames::new();
    run("", "", |filter| {
        filter.install_warming(&config("", ""), warm_up_until).expect("a policy");
        let indices = ["eth1", "eth2"].map(|name| (name, index(name)));
        let index = |name: &str| indices.iter().find(|one| one.0 == name).expect("known").1;
        let active = filter.pins().active().expect("a policy is in force");
        let tables = host::tables(filter.policy(), active, index);
        let (mut judged, mut untested, mut routed) = (0_u64, 0_u64, 0_u64);
        let mut reasons = BTreeSet::new();
        for first in (0..cases).step_by(TOGETHER as usize) {
            filter.clear().expect("the maps can be emptied");
            host::clear(&tables);
            tables.counters.borrow_mut().clear();
            tables.rule_counters.borrow_mut().clear();
            tables.now.set(state::now().expect("the clock runs"));
            let before = counters(filter);
            let mut whole = true;
            for (case, seed) in (first..).zip(frames.batch(first, TOGETHER.min(cases - first))) {
                match compare(filter, &tables, &seed, index, &mut reasons) {
                    Ok(Found::Same) => judged += 1,
                    Ok(Found::Untested) => untested += 1,
                    Ok(Found::Routed) => {
                        // From here on, both go different ways.
                        routed += 1;
                        whole = false;
                        break;
                    }
                    Err(difference) => panic!("case {case} of {first}: {difference}\n{seed:02x?}"),
                }
            }
            if whole {
                compare_counters(&tables, &before, &counters(filter))
                    .unwrap_or_else(|difference| panic!("cases from {first}: {difference}"));
            }
        }
        println!(
            "{cases} frames: {judged} judged alike, {untested} that the kernel does not test, \
             {routed} that its routes decide; {} reasons: {reasons:?}",
            reasons.len()
        );
        assert!(judged > cases * 8 / 10 && routed < cases / 50);
        for reason in ["policy", "flow", "fragment_allowed", "dns_answer", "port", "unsolicited"] {
            assert!(reasons.contains(reason), "{reason} is among them");
        }
    });
}

/// Shows that a difference does not go unnoticed: the host goes by another policy.
#[test]
fn another_policy_is_noticed() {
    let frames = Frames::new();
    run("", "", |filter| {
        let active = filter.pins().active().expect("a policy is in force");
        let other = changed_config("", "", |text| text.replacen("[core, time]", "[core]", 1));
        let other = compile(&other, &catalogue(), &filter.policy().rule_bits());
        let tables = host::tables(&other.expect("a policy"), active, index);
        let different = (0..2_000).find_map(|case| {
            filter.clear().expect("the maps can be emptied");
            host::clear(&tables);
            let seed = frames.frame(&mut Numbers::new(case));
            compare(filter, &tables, &seed, index, &mut BTreeSet::new()).err()
        });
        assert!(different.is_some_and(|text| text.contains("the host Verdict")));
    });
}

fn compare(
    filter: &Filter,
    tables: &Tables,
    (place, frame): &Seed,
    index: impl Fn(&str) -> u32 + Copy,
    reasons: &mut BTreeSet<&'static str>,
) -> Result<Found, String> {
    let explained = match place {
        Place::Ingress(interface) => match filter.explain(interface, frame) {
            Ok(explanation) => Some(explanation),
            Err(_) => return Ok(Found::Untested),
        },
        _ => None,
    };
    let Ok(fate) = filter.judge(*place, frame) else { return Ok(Found::Untested) };
    let at = host::place(*place, index);
    let verdict = match place {
        Place::Ingress(_) => tables.ingress(frame, at),
        _ => tables.egress(frame, at),
    };
    reasons.insert(verdict.reason.as_str());
    let same = explained.is_none_or(|explained| explained.pack() == verdict.explanation())
        && is_fate_of(&fate, &verdict);
    if same {
        return Ok(Found::Same);
    }
    if model::destination(frame).is_some_and(model::is_gateways) {
        return Ok(Found::Routed);
    }
    Err(format!("the kernel says {fate:?}, {explained:?}, the host {verdict:?}"))
}

fn is_fate_of(fate: &Fate, verdict: &Verdict) -> bool {
    match verdict.action {
        Action::Pass => *fate == Fate::Passed,
        Action::Drop => *fate == Fate::Dropped,
        Action::Refuse => matches!(fate, Fate::Answered(_)),
        // The kernel tells only so many senders in a second.
        Action::Reject => *fate != Fate::Passed,
    }
}

/// By a reason's number, and by rule.
type Counters = (BTreeMap<u8, Counter>, Vec<RuleCounter>);

fn counters(filter: &Filter) -> Counters {
    let reasons = filter.pins().counters().expect("the counters can be read").into_iter();
    let rules = filter.pins().rule_counters().expect("the counters can be read");
    (reasons.map(|(reason, counter)| (reason as u8, counter)).collect(), rules)
}

/// What the kernel has counted is what the host has.
fn compare_counters(tables: &Tables, before: &Counters, after: &Counters) -> Result<(), String> {
    for reason in REASONS {
        // What is reported depends on time.
        if matches!(reason, Reason::EventLost | Reason::EventSuppressed) {
            continue;
        }
        let number = *reason as u8;
        let (then, now) = (before.0[&number], after.0[&number]);
        let kernel = Counter { packets: now.packets - then.packets, bytes: now.bytes - then.bytes };
        let host = tables.counters.borrow().get(&number).copied().unwrap_or_default();
        if kernel != host {
            return Err(format!("{}: kernel {kernel:?}, host {host:?}", reason.as_str()));
        }
    }
    for (rule, (then, now)) in (0_u8..).zip(before.1.iter().zip(&after.1)) {
        let kernel = RuleCounter {
            packets: now.packets - then.packets,
            bytes: now.bytes - then.bytes,
            flows: now.flows - then.flows,
            denied: now.denied - then.denied,
        };
        let host = tables.rule_counters.borrow().get(&rule).copied().unwrap_or_default();
        if kernel != host {
            return Err(format!("rule {rule}: kernel {kernel:?}, host {host:?}"));
        }
    }
    Ok(())
}
