//! Whose bucket is whose: nobody resets another's, and what takes an entry is counted.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use intune_filter_ebpf::abi::{
    FragmentKey, FragmentVerdict,
    Reason::{self, FlowLimit, Policy},
};
use intune_filter_tests::testrun::{
    Addresses, Datagram, Filter, Place, check_in_order, check_on, expect,
    fate::Fate,
    filter::{IngressHook, run_sized},
    from_client, run,
    site::config,
};

use crate::{
    fragments::with_id,
    limits::{BURST, INTERVAL, burst, limit, pass, syn, too_many},
};

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
                    let fate = filter.judge(Place::Ingress("eth1"), &frame).unwrap();
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

/// What is full again says nothing, and makes room.
#[test]
fn who_comes_later_finds_a_bucket_again() {
    with_few_buckets(|filter| {
        limit(filter);
        let [who, _] = Addresses::both();
        for round in 0..4 {
            for number in 0..250 {
                let frame = syn(rotating(&who, number), who.web, round * 1000 + number as u16);
                filter.judge(Place::Ingress("eth1"), &frame).unwrap();
            }
            filter.events();
            pass(filter, BURST * INTERVAL);
            check_in_order(filter, &burst(who.client, &who, BURST, too_many()));
            filter.clear().unwrap();
        }
    });
}

/// Runs a test where 256 clients have room.
fn with_few_buckets(test: impl Fn(&mut Filter) + Sync) {
    for hook in IngressHook::TEST_RUNS {
        run_sized(hook, &[("CLIENT_LIMITS", 64)], "", "", |filter| {
            filter.install(&config("", "")).unwrap();
            test(filter);
        });
    }
}

#[test]
fn datagrams_in_fragments_have_a_limit_of_their_own() {
    run("", "", |filter| {
        limit(filter);
        for who in Addresses::both() {
            let first = |id: u16| {
                let datagram = Datagram::new(who.client, who.ntp).fragment(0, true);
                with_id(&datagram.udp(40000, 123, &[0x23; 16]), id)
            };
            let later = |id: u16| {
                let datagram = Datagram::new(who.client, who.ntp).fragment(3, false);
                with_id(&datagram.raw(17, b"8 octets"), id)
            };
            let ntp = "time/ntp";
            check_in_order(
                filter,
                &[
                    from_client("a first", first(1), expect(Policy).rule(ntp)),
                    from_client("its rest", later(1), expect(Reason::FragmentAllowed).rule(ntp)),
                    from_client("of a known flow", first(2), expect(Reason::Flow).rule(ntp)),
                    from_client("and another", first(3), expect(Reason::Flow).rule(ntp)),
                    from_client("one too many", first(4), expect(FlowLimit)),
                    from_client("its rest", later(4), expect(Reason::Fragment)),
                    from_client("the rest of another", later(3), {
                        expect(Reason::FragmentAllowed).rule(ntp)
                    }),
                ],
            );
            let denied = |id| {
                let datagram = Datagram::new(who.neighbour, who.web).fragment(0, true);
                with_id(&datagram.udp(40000, 22, &[0; 16]), id)
            };
            let entries = |filter: &Filter| {
                filter.pins().elements::<FragmentKey, FragmentVerdict>("FRAGMENTS").unwrap().len()
            };
            let before = entries(filter);
            for id in 0..100 {
                filter.judge(Place::Ingress("eth1"), &denied(id)).unwrap();
            }
            filter.events();
            assert_eq!(entries(filter), before, "what is denied takes no entry");
            pass(filter, INTERVAL);
            check_on(
                filter,
                &[from_client("in its time", first(4), expect(Reason::Flow).rule(ntp))],
            );
            filter.clear().unwrap();
        }
    });
}
