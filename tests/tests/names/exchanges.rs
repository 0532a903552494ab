//! Random queries and answers: the loaded programs do what the same code does on the host, which
//! is held against a model of its own.
//!
//! `INTUNE_CASES` sets how many.

use std::{collections::BTreeSet, net::IpAddr};

use intune_filter_ebpf::{
    abi::{Active, ZoneKey},
    host::{self, Tables},
    verdict::{self, Action},
};
use intune_filter_tests::testrun::{
    Addresses, Filter,
    filter::{Fate, Place},
    run,
    site::LAN,
};
use nix::time::{ClockId, clock_gettime};

use super::{answered, asked, config, learned};
use crate::{choices::Choices, random::exchange};

const IFINDEX: u32 = 1;
const SECOND: u64 = 1_000_000_000;
/// A test run takes frames that fit into a page, with room for the kernel's own data.
const FRAME: usize = 3_300;
/// What may pass between two readings of the clock.
const LATE: u64 = 20 * SECOND;

#[test]
fn random_exchanges_in_the_kernel_and_on_the_host() {
    let cases = std::env::var("INTUNE_CASES").ok().and_then(|text| text.parse().ok());
    let cases: u64 = cases.unwrap_or(2_000);
    run("", "", |filter| {
        let config = config(&[vec!["*.one"], vec!["*.two"]]);
        filter.install(&config).expect("the policy goes into the maps");
        let host = host(filter);
        let (mut taught, mut refused, mut denied) = (0, 0, 0);
        for case in 0..cases {
            let words: Vec<u64> = (0..32).map(|index| mixed(case << 8 | index)).collect();
            let Some(fates) = compare(filter, &host, case, &words) else { continue };
            taught +=
                u64::from(!host.hosts4.borrow().is_empty() || !host.hosts6.borrow().is_empty());
            refused += u64::from(fates.0 != Fate::Passed);
            denied += u64::from(fates.1 == Fate::Dropped);
        }
        println!("{cases} exchanges: {taught} taught, {refused} refused, {denied} answers denied");
        assert!(taught > cases / 10 && refused > cases / 10 && denied > cases / 10);
    });
}

/// The host's build of the logic, with the same policy.
fn host(filter: &Filter) -> Tables {
    let mut tables = Tables::default();
    tables.policies[1] = host::Policy::from(filter.policy());
    tables.active.set(Active { generation: 1, reserved: 0, seed: 7 });
    let own: BTreeSet<IpAddr> = Addresses::both().iter().map(|who| who.gateway).collect();
    tables.own_addresses = own.into_iter().map(Into::into).collect();
    let zone = filter.policy().zones[0].number;
    tables.zones.insert(ZoneKey { ifindex: IFINDEX, vlan: 0 }, zone);
    tables
}

/// Runs one exchange in both, and compares. What became of the query and the answer; `None` if
/// the kernel runs no program over as large a frame.
fn compare(filter: &mut Filter, host: &Tables, case: u64, words: &[u64]) -> Option<(Fate, Fate)> {
    let mut choices = Choices::new(words);
    let who = Addresses::both()[choices.below(2)];
    let exchange = exchange(&mut choices);
    let frames = (asked(&who, &exchange.query), answered(&who, &exchange.answer));
    if frames.1.len() > FRAME {
        return None;
    }
    filter.clear().expect("the maps are writable");
    host.hosts4.borrow_mut().clear();
    host.hosts6.borrow_mut().clear();
    host.pending.borrow_mut().clear();
    let now = clock_gettime(ClockId::CLOCK_BOOTTIME).expect("the clock runs");
    host.now.set(now.tv_sec() as u64 * SECOND + now.tv_nsec() as u64);

    let query = filter.judge(Place::Ingress(LAN), &frames.0).expect("the program runs");
    let answer = filter.judge(Place::Egress(LAN), &frames.1).expect("the program runs");
    let place = verdict::Place { ifindex: IFINDEX, stripped_tag: None, from_gateway: false };
    let said = |action| match action {
        Action::Pass => "pass",
        Action::Drop => "drop",
        _ => "answer",
    };
    let done = |fate: &Fate| match fate {
        Fate::Passed => "pass",
        Fate::Dropped => "drop",
        Fate::Answered(_) => "answer",
    };
    let what = || format!("case {case}: {exchange:02x?}");
    assert_eq!(done(&query), said(host.ingress(&frames.0, place).action), "query, {}", what());
    assert_eq!(done(&answer), said(host.egress(&frames.1, place).action), "answer, {}", what());

    let kernel = learned(filter).expect("the maps are read");
    let four = host.hosts4.borrow();
    let six = host.hosts6.borrow();
    let four = four.iter().map(|(at, host)| (std::net::Ipv4Addr::from(*at).into(), host));
    let six = six.iter().map(|(at, host)| (std::net::Ipv6Addr::from(*at).into(), host));
    let expected: Vec<(IpAddr, _)> = four.chain(six).collect();
    assert_eq!(kernel.len(), expected.len(), "{}: {kernel:?} {expected:?}", what());
    for (address, host) in expected {
        let (rules, expires) = *kernel.get(&address).unwrap_or_else(|| panic!("{}", what()));
        assert_eq!(rules, host.rules, "{address}, {}", what());
        let late = expires.checked_sub(host.expires);
        assert!(late.is_some_and(|late| late < LATE), "{address} expires at {expires}, {}", what());
    }
    Some((query, answer))
}

/// The finalizer of splitmix64, over multiples of its constant.
fn mixed(index: u64) -> u64 {
    let word = index.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}
