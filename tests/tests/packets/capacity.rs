//! Tables that are full: what makes room, what is told, and that nothing passes or stops passing
//! for it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use aya::maps::{Array, MapData};
use intune_filter::events::flow_reaper::{FlowReaper, has_expired};
use intune_filter_ebpf::abi::{
    Counted, Ending, FlowEvent, HOST_COUNTS,
    Occurrence::{HostsFull, HostsShare, Learned},
    Reason::{self, Policy, Unsolicited},
    RuleMask,
};
use intune_filter_tests::prog_test_run::{
    Addresses, Datagram, Fate, Flags, HookPoint, LoadedFilter, Message, check_in_order, check_on,
    expect, from_client, live::stay, message::QUESTION, run, state::now, to_client,
};

use crate::tables::{
    answers::{PORTAL, addresses, answer, answered, asked, kind, query},
    flows::{WEB, back, flows, handshake, known},
    fragments,
};

/// Room in each table.
const ROOM: u32 = 256;
const SECOND: u64 = 1_000_000_000;
/// Past the time for which an expired address makes no room.
const LONG_AGO: i64 = -61;

fn counted(filter: &LoadedFilter, what: impl Into<Counted>) -> u64 {
    let what = what.into();
    let counters = filter.pins().counters().unwrap();
    counters.iter().find(|(counted, _)| *counted == what).unwrap().1.packets
}

fn host(who: &Addresses, number: u32) -> IpAddr {
    match who.public {
        IpAddr::V4(_) => Ipv4Addr::from(0x1500_0000 + number).into(),
        IpAddr::V6(_) => Ipv6Addr::from(u128::from(number) | 0x2a02 << 112).into(),
    }
}

/// Enters addresses as the daemon does that restores them.
fn assert_hosts(
    filter: &LoadedFilter,
    who: &Addresses,
    numbers: std::ops::Range<u32>,
    seconds: i64,
) {
    let expires = now().unwrap().saturating_add_signed(seconds * SECOND as i64);
    for number in numbers {
        let rules = RuleMask::of(filter.rule(WEB));
        filter.kernel().ensure_host(host(who, number), rules, expires).unwrap();
    }
}

/// Lets a query and its answer pass; whether the answer's address was learned. If not, it was for
/// want of room.
fn learns(filter: &mut LoadedFilter, who: &Addresses) -> bool {
    let before = (counted(filter, Learned), counted(filter, HostsFull));
    filter.judge(HookPoint::Ingress("eth1"), &asked(who, &query(who)).frame).unwrap();
    filter.judge(HookPoint::Egress("eth1"), &answered(who, &answer(who)).frame()).unwrap();
    let after = (counted(filter, Learned), counted(filter, HostsFull));
    let learned = addresses(filter).contains(&who.public);
    let expected = if learned { (before.0 + 1, before.1) } else { (before.0, before.1 + 1) };
    assert_eq!(after, expected, "learned: {learned}");
    learned
}

#[test]
fn an_expired_address_that_userspace_has_entered_makes_room() {
    run("", "", |filter| {
        for who in Addresses::both() {
            filter.clear().unwrap();
            filter.kernel().reorder_hosts().unwrap();
            assert_hosts(filter, &who, 0..ROOM, LONG_AGO);
            assert_eq!(addresses(filter).len(), ROOM as usize);
            assert!(learns(filter, &who));
            assert_eq!(addresses(filter).len(), ROOM as usize, "one has gone for it");
        }
    });
}

#[test]
fn looking_for_an_expired_address_is_bounded_and_goes_on_with_the_next_answer() {
    run("", "", |filter| {
        for who in Addresses::both() {
            filter.clear().unwrap();
            filter.kernel().reorder_hosts().unwrap();
            assert_hosts(filter, &who, 0..ROOM - 8, 1000);
            assert_hosts(filter, &who, ROOM - 8..ROOM, LONG_AGO);
            let attempts = (1..100).find(|_| learns(filter, &who));
            assert_eq!(attempts, Some(ROOM / 8), "eight are looked at each time");
            let left = addresses(filter);
            assert!((0..ROOM - 8).all(|number| left.contains(&host(&who, number))));
        }
    });
}

#[test]
fn what_has_expired_longest_makes_room_once_the_daemon_has_looked() {
    run("", "", |filter| {
        for who in Addresses::both() {
            filter.clear().unwrap();
            filter.kernel().reorder_hosts().unwrap();
            assert_hosts(filter, &who, 0..ROOM - 2, 1000);
            assert_hosts(filter, &who, ROOM - 2..ROOM - 1, LONG_AGO);
            assert_hosts(filter, &who, ROOM - 1..ROOM, LONG_AGO - 1);
            filter.kernel().reorder_hosts().unwrap();
            assert!(learns(filter, &who));
            let left = addresses(filter);
            assert!((0..ROOM - 1).all(|number| left.contains(&host(&who, number))));
        }
    });
}

#[test]
fn the_daemon_has_no_more_room_than_the_kernel() {
    run("", "", |filter| {
        for who in Addresses::both() {
            filter.clear().unwrap();
            assert_hosts(filter, &who, 0..ROOM + 1, 1000);
            assert!(!addresses(filter).contains(&host(&who, ROOM)), "and that is no error");
        }
    });
}

/// Lets a client ask for a name that leads to as many addresses as the kernel learns at once, until
/// nothing is learned any more.
fn fill(filter: &LoadedFilter, who: &Addresses, client: IpAddr, name: &str) -> usize {
    const AT_ONCE: u32 = 14;
    let kind = kind(who.public);
    for round in 0..ROOM {
        let query = Message::query(round as u16, name, kind);
        let hosts = (0..AT_ONCE).map(|number| host(who, round * AT_ONCE + number));
        let answer =
            hosts.fold(query.answered(), |message, host| message.address(&QUESTION, 86_400, host));
        ask(filter, who, client, &query, &answer);
    }
    addresses(filter).len()
}

fn ask(filter: &LoadedFilter, who: &Addresses, client: IpAddr, query: &Message, answer: &Message) {
    let query = Datagram::new(client, who.resolver).udp(40000, 53, query.octets()).frame();
    filter.judge(HookPoint::Ingress("eth1"), &query).unwrap();
    let answer = Datagram::new(who.resolver, client).udp(53, 40000, answer.octets()).frame();
    filter.judge(HookPoint::Egress("eth1"), &answer).unwrap();
}

/// Attack H: a client that asks for names with many addresses and a long time to live.
#[test]
fn a_client_that_fills_the_table_leaves_room_for_others_and_for_other_rules() {
    run("", "", |filter| {
        for who in Addresses::both() {
            filter.clear().unwrap();
            filter.kernel().reorder_hosts().unwrap();
            let last = |octet: u8| match who.client {
                IpAddr::V4(_) => IpAddr::from([10, 20, 0, octet]),
                IpAddr::V6(_) => format!("fd00:20::{octet:x}").parse().unwrap(),
            };
            let before = counted(filter, HostsShare);
            let filled = fill(filter, &who, last(66), "a.apps.core.example");
            assert!((192..=200).contains(&filled), "{filled} of {ROOM}");
            assert!(counted(filter, HostsShare) - before > 100);
            assert_eq!(counted(filter, HostsFull), 0);
            // Another name of the same rule, asked for by another client; and one of another rule.
            let learns = |client, name: &str, number: u32| {
                let query = Message::query(7, name, kind(who.public));
                let address = host(&who, 100_000 + number);
                let answer = query.answered().address(&QUESTION, 300, address);
                ask(filter, &who, client, &query, &answer);
                addresses(filter).contains(&address)
            };
            assert!(!learns(last(66), "b.apps.core.example", 1), "it has its share");
            assert!(learns(last(66), "push.core.example", 2), "another rule has not");
            assert!(learns(who.client, PORTAL, 3), "nor has another client");
            // Five of them leave as much as each has.
            for octet in 100..105 {
                fill(filter, &who, last(octet), "c.apps.core.example");
            }
            let filled = addresses(filter).len() as u32;
            assert!(filled < ROOM - 16, "{filled} of {ROOM}");
            assert!(learns(last(201), "d.apps.core.example", 4), "whoever asks");
            // What is counted is what is there.
            let learned = |filter: &LoadedFilter| {
                let map: Array<MapData, u64> = filter.pins().map("HOST_COUNTS").unwrap();
                (0..HOST_COUNTS).map(|index| map.get(&index, 0).unwrap()).collect::<Vec<_>>()
            };
            let by_programs = learned(filter);
            filter.kernel().count_hosts().unwrap();
            assert!(by_programs == learned(filter));
        }
    });
}

#[test]
fn addresses_that_are_in_no_queue_are_put_there() {
    run("", "", |filter| {
        for who in Addresses::both() {
            filter.clear().unwrap();
            filter.kernel().reorder_hosts().unwrap();
            for number in 0..ROOM {
                filter.learn(host(&who, number), WEB, LONG_AGO).unwrap();
            }
            assert!(!learns(filter, &who), "nothing leads to the expired ones");
            filter.kernel().reorder_hosts().unwrap();
            assert!(learns(filter, &who));
            // Again and again changes nothing: each stands there once.
            for _ in 0..3 {
                filter.kernel().reorder_hosts().unwrap();
            }
            filter.clear().unwrap();
            assert_hosts(filter, &who, 0..ROOM, LONG_AGO);
            filter.kernel().reorder_hosts().unwrap();
            assert!(learns(filter, &who));
        }
    });
}

/// The ends of flows that a look at the tables finds.
fn look(filter: &LoadedFilter, reaper: &mut FlowReaper) -> Vec<FlowEvent> {
    let now = now().unwrap();
    let ended = |protocol: u8, flow: &_| has_expired(protocol, flow, now);
    let swept = filter.kernel().sweep_flows(ended).unwrap();
    assert_eq!(swept.removed, [], "none has been silent for long");
    reaper.look(&swept, now)
}

#[test]
fn flows_that_had_to_make_room_are_judged_anew_counted_and_told_of() {
    run("", "", |filter| {
        for who in Addresses::both() {
            filter.clear().unwrap();
            // What another CPU has entered makes room last.
            stay().unwrap();
            let mut reaper = FlowReaper::default();
            let out =
                |port, flags| Datagram::new(who.client, who.web).tcp(port, 443, flags).frame();
            let back =
                |port, flags| Datagram::new(who.web, who.client).tcp(443, port, flags).frame();
            let open = |filter: &LoadedFilter, port| {
                filter.judge(HookPoint::Ingress("eth1"), &out(port, Flags::SYN)).unwrap();
                filter.judge(HookPoint::Egress("eth1"), &back(port, Flags::SYN_ACK)).unwrap();
            };
            for port in 1..=50 {
                open(filter, port);
            }
            assert_eq!(look(filter, &mut reaper), []);
            for port in 1000..2000 {
                open(filter, port);
            }
            assert!(flows(filter, "FLOWS").len() <= ROOM as usize);
            let told = look(filter, &mut reaper);
            assert!(!told.is_empty(), "1,050 flows in room for {ROOM}, and none was evicted");
            assert_eq!(reaper.evicted(), told.len() as u64);
            let evicted = told[0];
            assert_eq!(evicted.ending, Ending::Evicted as u8);
            assert_eq!((evicted.flow.client_packets, evicted.flow.remote_packets), (1, 1));
            let port = u16::from_be(evicted.client_port);
            // The ring is full of their beginnings.
            filter.events();
            assert!((1..=50).contains(&port), "the others were never seen");
            check_on(
                filter,
                &[
                    to_client("what comes back", back(port, Flags::ACK), expect(Unsolicited)),
                    from_client("its next", out(port, Flags::ACK), expect(Policy).rule(WEB)),
                    to_client("its answer", back(port, Flags::ACK), expect(Reason::Flow).rule(WEB)),
                ],
            );
        }
    });
}

/// A datagram that had to make room is as one whose first fragment was never seen.
#[test]
fn datagrams_that_had_to_make_room_end_and_denied_ones_stay_denied() {
    const DATAGRAMS: u16 = 2000;

    run("", "", |filter| {
        for who in Addresses::both() {
            filter.clear().unwrap();
            let begin = |port| {
                let datagram = Datagram::new(who.client, who.web).fragment(0, true);
                datagram.tcp(40000, port, Flags::SYN)
            };
            let place = HookPoint::Ingress("eth1");
            for id in 0..DATAGRAMS {
                let (port, fate) =
                    if id % 2 == 0 { (443, Fate::Passed) } else { (22, Fate::Dropped) };
                let first = fragments::with_id(&begin(port), id);
                assert_eq!(filter.judge(place, &first).unwrap(), fate, "{id}");
            }
            let before = counted(filter, Reason::Fragment);
            let later = fragments::later(&who, 3, false);
            let passed: Vec<u16> = (0..DATAGRAMS)
                .filter(|id| {
                    let frame = fragments::with_id(&later, *id);
                    filter.judge(place, &frame).unwrap() == Fate::Passed
                })
                .collect();
            assert!(!passed.is_empty() && passed.len() <= ROOM as usize, "{passed:?}");
            assert!(passed.iter().all(|id| id % 2 == 0), "denied ones: {passed:?}");
            let denied = u64::from(DATAGRAMS) - passed.len() as u64;
            assert_eq!(counted(filter, Reason::Fragment) - before, denied);
        }
    });
}

#[test]
fn a_flood_of_openings_evicts_no_answered_flow() {
    run("", "", |filter| {
        for who in Addresses::both() {
            check_in_order(filter, &handshake(&who));
            for port in 0..2000 {
                let frame = Datagram::new(who.client, who.web).tcp(port, 443, Flags::SYN).frame();
                filter.judge(HookPoint::Ingress("eth1"), &frame).unwrap();
            }
            assert!(flows(filter, "NEW_FLOWS").len() < 2000);
            check_on(filter, &[to_client("its answers", back(&who, Flags::ACK), known())]);
        }
    });
}
