//! Buckets and their owners: no client resets another's, and evictions are counted.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    process::Command,
};

use intune_filter_tests::namespace;
use intune_filter_tests::prog_test_run::{
    Addresses, HookPoint, LoadedFilter, check_in_order, check_on, fate::Fate, from_client,
    ingress_hook::IngressHook, run_sized, site::config,
};

use crate::tables::limits::{BURST, INTERVAL, burst, limit, pass, syn, too_many};

/// Addresses of the group's network, by number.
fn rotating(who: &Addresses, number: u32) -> IpAddr {
    match who.client {
        IpAddr::V4(_) => Ipv4Addr::new(10, 20, 3, number as u8).into(),
        IpAddr::V6(_) => Ipv6Addr::new(0xfd00, 0x20, 0, 3, 0, 0, 0, number as u16).into(),
    }
}

/// Buckets that say something are their owners', however many others come.
#[test]
fn whoever_changes_his_address_resets_no_bucket() {
    with_few_buckets(|filter| {
        limit(filter);
        for who in Addresses::both() {
            check_in_order(filter, &burst(who.client, &who, BURST, too_many()));
            let mut opened_by_others = 0;
            // As many others as there are buckets, and again as many.
            for number in 0..2 * 256 {
                let source = rotating(&who, number);
                for port in 1..=2 * BURST as u16 {
                    let frame = syn(source, who.web, port + 1000 * (number / 256) as u16);
                    let fate = filter.judge(HookPoint::Ingress("eth1"), &frame).unwrap();
                    opened_by_others += u64::from(fate == Fate::Passed);
                }
            }
            filter.events();
            let again = syn(who.client, who.web, BURST as u16 + 1);
            check_on(filter, &[from_client("the client's bucket", again, too_many())]);
            // Each has a bucket's worth once, or else a share of the zone's.
            let most = 256 * BURST + BURST;
            println!("{}: others opened {opened_by_others} flows, {most} at most", who.family());
            assert!(opened_by_others <= most, "{opened_by_others} flows");
            assert!(opened_by_others >= 64 * BURST, "{opened_by_others} flows");
            filter.clear().unwrap();
        }
    });
}

/// A bucket that is full again holds no information, and makes room.
#[test]
fn who_comes_later_finds_a_bucket_again() {
    with_few_buckets(|filter| {
        limit(filter);
        let [who, _] = Addresses::both();
        for round in 0..4 {
            for number in 0..250 {
                let frame = syn(rotating(&who, number), who.web, round * 1000 + number as u16);
                filter.judge(HookPoint::Ingress("eth1"), &frame).unwrap();
            }
            filter.events();
            pass(filter, BURST * INTERVAL);
            check_in_order(filter, &burst(who.client, &who, BURST, too_many()));
            filter.clear().unwrap();
        }
    });
}

/// Runs a test where 256 clients have room.
fn with_few_buckets(test: impl Fn(&mut LoadedFilter) + Sync) {
    for hook in IngressHook::TEST_RUNS {
        run_sized(hook, &[("CLIENT_LIMITS", 64)], "", "", |filter| {
            filter.install(&config("", "")).unwrap();
            // Behind a router, each address has a bucket of its own.
            for line in [
                "route add 10.20.3.0/24 via 10.20.0.10 dev eth1",
                "route add fd00:20:0:3::/64 via fd00:20::10 dev eth1",
            ] {
                namespace::run(Command::new("ip").args(line.split(' '))).expect(line);
            }
            test(filter);
        });
    }
}
