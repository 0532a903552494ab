//! The loaded programs and the host's build, over the same frames in the same order, while two
//! policies take turns: verdicts and reasons are the same, and so is what is counted and remembered.

use std::collections::BTreeMap;

use anyhow::Result;
use aya::maps::{Array, MapData, PerCpuHashMap};
use intune_filter::policy::compile;
use intune_filter_ebpf::{
    abi::{Active, Counted, Counter, DENIALS, GroupCounter, Occurrence, RuleCounter, V4, V6},
    host::Tables,
    verdict::{Action, Verdict},
};
use intune_filter_tests::prog_test_run::{
    Addresses, LoadedFilter,
    fate::Fate,
    filter::HookPoint,
    host as bed, run,
    site::{catalogue, changed_config},
    state,
};
use nix::net::if_::if_nametoindex;

use super::{
    cases,
    frames::{Frames, Numbers},
    host,
    memory::Memory,
    model,
    seeds::Seed,
};

/// Frames that follow each other on the same state. Fewer than the maps have room for: the kernel
/// evicts, the host does not.
const TOGETHER: u64 = 24;
/// Frames, on average, between two changes of the policy in force.
const POLICY: usize = 32;

fn index(interface: &str) -> u32 {
    if_nametoindex(interface).expect("an interface of the test's")
}

/// Result of a comparison.
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

/// Both policies in both sets of maps, and the switch between them.
struct BothPolicies {
    tables: Tables,
    active: Array<MapData, Active>,
}

impl BothPolicies {
    fn new(
        filter: &mut LoadedFilter,
        warm_up_until: u64,
        index: impl Fn(&str) -> u32,
    ) -> Result<Self> {
        filter.install_warming(&host::first_config(), warm_up_until)?;
        let first = filter.policy().clone();
        filter.install_warming(&host::other_config(), warm_up_until)?;
        let active = filter.pins().active()?;
        let mut policies = [&first, filter.policy()];
        policies.rotate_left(usize::from(active.generation & 1 == 0));
        let tables = bed::tables(policies, active, index);
        Ok(Self { tables, active: filter.pins().map("ACTIVE")? })
    }

    fn switch(&mut self) -> Result<()> {
        let mut active = self.active.get(&0, 0)?;
        active.generation += 1;
        self.active.set(0, active, 0)?;
        self.tables.active.set(active);
        Ok(())
    }

    /// Forgets all, and then both know addresses of names, some of which have expired.
    fn begin(&self, filter: &mut LoadedFilter, numbers: &mut Numbers) -> Result<()> {
        filter.clear()?;
        bed::clear(&self.tables);
        self.tables.counters.borrow_mut().clear();
        self.tables.rule_counters.borrow_mut().clear();
        self.tables.group_counters.borrow_mut().clear();
        for who in Addresses::both() {
            if !numbers.once_in(4) {
                continue;
            }
            let rule = numbers.one(&["core/web", "core/push", "other/web"]);
            filter.learn(who.public, rule, numbers.one(&[600, -600]))?;
            for (address, host) in filter.pins().elements::<V4, _>("HOSTS4")? {
                self.tables.hosts4.borrow_mut().insert(address, host);
            }
            for (address, host) in filter.pins().elements::<V6, _>("HOSTS6")? {
                self.tables.hosts6.borrow_mut().insert(address, host);
            }
        }
        Ok(())
    }
}

fn judged_alike(cases: u64, warm_up_until: u64) {
    let frames = Frames::new();
    run("", "", |filter| {
        let indices = ["eth0", "eth1", "eth1.20", "eth2"].map(|name| (name, index(name)));
        let index = |name: &str| indices.iter().find(|one| one.0 == name).expect("known").1;
        let mut bed = BothPolicies::new(filter, warm_up_until, index).expect("two policies");
        let (mut judged, mut untested, mut routed) = (0_u64, 0_u64, 0_u64);
        let (mut reasons, mut remembered) = (BTreeMap::<_, u64>::new(), 0);
        for first in (0..cases).step_by(TOGETHER as usize) {
            let mut numbers = Numbers::new(first.rotate_left(32));
            bed.begin(filter, &mut numbers).expect("the maps can be emptied");
            let before = counters(filter);
            let mut whole = true;
            for (case, seed) in (first..).zip(frames.batch(first, TOGETHER.min(cases - first))) {
                if numbers.once_in(POLICY) {
                    bed.switch().expect("the other policy");
                }
                match compare(filter, &bed.tables, &seed, index, &mut reasons) {
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
                compare_counters(&bed.tables, &before, &counters(filter))
                    .unwrap_or_else(|difference| panic!("cases from {first}: {difference}"));
                let kernel = Memory::of_kernel(filter).expect("the maps can be read");
                let difference = kernel.difference(&Memory::of_host(&bed.tables));
                assert_eq!(difference, None, "cases from {first}: the kernel's and the host's");
                remembered += kernel.len();
            }
        }
        println!(
            "{cases} frames: {judged} judged alike, {untested} that the kernel does not test, \
             {routed} that its routes decide; {remembered} elements remembered alike; {} reasons: \
             {reasons:?}",
            reasons.len()
        );
        assert!(judged > cases * 8 / 10 && routed < cases / 50);
        let warm = ["port"].into_iter().filter(|_| warm_up_until == 0);
        for reason in host::DEEP.into_iter().chain(warm) {
            let often = reasons.get(reason).copied().unwrap_or_default();
            assert!(often >= cases / 2_000, "{reason} is {often} times among them");
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
        let other = other.expect("a policy");
        let tables = bed::tables([&other, &other], active, index);
        let different = (0..2_000).find_map(|case| {
            filter.clear().expect("the maps can be emptied");
            bed::clear(&tables);
            let seed = frames.frame(&mut Numbers::new(case));
            compare(filter, &tables, &seed, index, &mut BTreeMap::new()).err()
        });
        assert!(different.is_some_and(|text| text.contains("the host Verdict")));
    });
}

fn compare(
    filter: &LoadedFilter,
    tables: &Tables,
    (place, frame): &Seed,
    index: impl Fn(&str) -> u32 + Copy,
    reasons: &mut BTreeMap<&'static str, u64>,
) -> Result<Found, String> {
    let explained = match place {
        HookPoint::Ingress(interface) => match filter.explain(interface, frame) {
            Ok(explanation) => Some(explanation),
            Err(_) => return Ok(Found::Untested),
        },
        _ => None,
    };
    let Ok(fate) = filter.judge(*place, frame) else { return Ok(Found::Untested) };
    let at = bed::place(*place, index);
    tables.now.set(state::now().expect("the clock runs"));
    let verdict = match place {
        HookPoint::Ingress(_) => tables.ingress(frame, at),
        _ => tables.egress(frame, at),
    };
    *reasons.entry(verdict.reason.as_str()).or_default() += 1;
    let same = explained.is_none_or(|explained| explained.pack() == verdict.explanation())
        && is_fate_of(&fate, &verdict);
    if same {
        return Ok(Found::Same);
    }
    let ends = [model::destination(frame), model::source(frame)];
    if ends.into_iter().flatten().any(model::is_gateways) {
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

/// By index in `COUNTERS`, and by rule.
type Counters = (BTreeMap<u32, Counter>, Vec<RuleCounter>, Vec<GroupCounter>);

fn counters(filter: &LoadedFilter) -> Counters {
    let counted = filter.pins().counters().expect("the counters can be read").into_iter();
    let rules = filter.pins().rule_counters().expect("the counters can be read");
    // Of both policies together.
    let mut groups = vec![GroupCounter::default(); filter.policy().groups.len()];
    let map: PerCpuHashMap<MapData, u32, GroupCounter> =
        filter.pins().map("GROUP_COUNTERS").expect("it is pinned");
    for element in map.iter() {
        let (key, values) = element.expect("the counters can be read");
        values.iter().for_each(|one| add(&mut groups[usize::from(key as u8)], one));
    }
    (counted.map(|(what, counter)| (what.counter(), counter)).collect(), rules, groups)
}

/// Compares the counters of kernel and host.
fn compare_counters(tables: &Tables, before: &Counters, after: &Counters) -> Result<(), String> {
    for counted in Counted::all() {
        // What is reported depends on time.
        let timed = [
            Occurrence::EventLost,
            Occurrence::EventSuppressed,
            Occurrence::EventRepeated,
            Occurrence::NameLost,
            Occurrence::NameSuppressed,
        ]
        .map(Counted::from);
        if timed.contains(&counted) {
            continue;
        }
        let (then, now) = (before.0[&counted.counter()], after.0[&counted.counter()]);
        let kernel = Counter { packets: now.packets - then.packets, bytes: now.bytes - then.bytes };
        let host = tables.counters.borrow().get(&counted.counter()).copied().unwrap_or_default();
        if kernel != host {
            return Err(format!("{}: kernel {kernel:?}, host {host:?}", counted.as_str()));
        }
    }
    for (rule, (then, now)) in (0_u8..).zip(before.1.iter().zip(&after.1)) {
        let kernel = RuleCounter {
            packets: now.packets - then.packets,
            bytes: now.bytes - then.bytes,
            flows: now.flows - then.flows,
            denied: now.denied - then.denied,
            audited: now.audited - then.audited,
        };
        let host = tables.rule_counters.borrow().get(&rule).copied().unwrap_or_default();
        if kernel != host {
            return Err(format!("rule {rule}: kernel {kernel:?}, host {host:?}"));
        }
    }
    let mut host = vec![GroupCounter::default(); after.2.len()];
    for (key, counter) in tables.group_counters.borrow().iter() {
        add(&mut host[usize::from(*key as u8)], counter);
    }
    for (group, ((then, now), host)) in before.2.iter().zip(&after.2).zip(host).enumerate() {
        let kernel = GroupCounter {
            denied: std::array::from_fn(|at| now.denied[at] - then.denied[at]),
            audited: std::array::from_fn(|at| now.audited[at] - then.audited[at]),
        };
        if kernel != host {
            return Err(format!("group {group}: kernel {kernel:?}, host {host:?}"));
        }
    }
    Ok(())
}

fn add(sum: &mut GroupCounter, more: &GroupCounter) {
    for at in 0..DENIALS {
        sum.denied[at] += more.denied[at];
        sum.audited[at] += more.audited[at];
    }
}
