//! The ring buffer of records: what finds no room, what is suppressed, and when the daemon wakes.

use std::net::IpAddr;

use intune_filter_ebpf::abi::{
    Counted, Occurrence,
    Reason::{self, DnsAnswer},
};
use intune_filter_tests::prog_test_run::{
    Addresses, Datagram, Flags, HookPoint, LoadedFilter, Waiting, check_on, expect,
    message::QUESTION, run, state::Event, to_client,
};

use crate::tables::answers::{answered, asked, hosts, query};

const INGRESS: HookPoint = HookPoint::Ingress("eth1");

#[test]
fn records_that_find_no_room_are_counted() {
    run("", "", |filter| {
        let [who, _] = Addresses::both();
        let frame = Datagram::new(who.client, who.public).tcp(1, 2, Flags::SYN).frame();
        filter.clear().unwrap();
        // More than the ring holds, and fewer than are reported in a second.
        for _ in 0..950 {
            filter.judge(HookPoint::Ingress("eth1"), &frame).unwrap();
        }
        let counters = filter.pins().counters().unwrap();
        let counted = |what: Counted| {
            counters.iter().find(|(counted, _)| *counted == what).unwrap().1.packets
        };
        let lost = counted(Occurrence::EventLost.into());
        assert!(lost > 0);
        assert_eq!(counted(Reason::Destination.into()), 950);
        assert_eq!(filter.events().len() as u64 + lost, 950);
    });
}

#[test]
fn more_denials_at_once_than_are_told_of_are_counted() {
    const PACKETS: u32 = 20_000;

    run("", "", |filter| {
        let [who, _] = Addresses::both();
        let frame = Datagram::new(who.client, who.public).tcp(1, 2, Flags::SYN).frame();
        filter.clear().unwrap();
        let counted = |filter: &LoadedFilter, what: Counted| {
            let counters = filter.pins().counters().unwrap();
            counters.iter().find(|(counted, _)| *counted == what).unwrap().1.packets
        };
        let kinds = [
            Reason::Destination.into(),
            Occurrence::EventSuppressed.into(),
            Occurrence::EventRepeated.into(),
            Occurrence::EventLost.into(),
        ];
        let before = kinds.map(|what| counted(filter, what));
        filter.judge_often("eth1", &frame, PACKETS).unwrap();
        let after = kinds.map(|what| counted(filter, what));
        let [denied, suppressed, repeated, lost] = [0, 1, 2, 3].map(|at| after[at] - before[at]);
        assert_eq!(denied, u64::from(PACKETS));
        assert!(repeated > 0, "all are told of");
        let told = filter.events().len() as u64;
        assert!(told > 0, "nothing is told");
        assert_eq!(told + suppressed + repeated + lost, denied);
    });
}

#[test]
fn a_flood_of_openings_suppresses_no_record_of_a_denial() {
    run("", "", |filter| {
        let [who, _] = Addresses::both();
        filter.clear().unwrap();
        let counted = |filter: &LoadedFilter, what: Counted| {
            let counters = filter.pins().counters().unwrap();
            counters.iter().find(|(counted, _)| *counted == what).unwrap().1.packets
        };
        let (mut told, mut opened) = (0, 0);
        while counted(filter, Occurrence::EventSuppressed.into()) == 0 {
            assert!(opened < 100_000, "nothing was ever suppressed");
            for _ in 0..200 {
                let port = 1024 + opened % 60_000;
                let datagram = Datagram::new(who.client, who.web).echo_request(port as u16);
                filter.judge(INGRESS, &datagram.frame()).unwrap();
                opened += 1;
            }
            told += filter.events().len();
        }
        assert!(told >= 1000, "{told} records of {opened}");
        let suppressed = counted(filter, Occurrence::EventSuppressed.into()) as usize;
        assert_eq!(told + suppressed, opened, "each is told or counted");
        let denied = Datagram::new(who.client, who.public).tcp(1, 2, Flags::SYN).frame();
        filter.judge(INGRESS, &denied).unwrap();
        let events = filter.events();
        assert!(matches!(events[..], [Event::Denied(_)]), "{events:?}");
    });
}

#[test]
fn half_of_the_ring_is_left_for_answers_and_a_quarter_wakes_the_daemon() {
    run("", "", |filter| {
        let [who, _] = Addresses::both();
        filter.clear().unwrap();
        let frame = Datagram::new(who.client, who.public).tcp(1, 2, Flags::SYN).frame();
        let waiting = Waiting::on(&filter.events);
        for _ in 0..100 {
            filter.judge(INGRESS, &frame).unwrap();
        }
        assert!(!waiting.is_woken_within(0));
        for _ in 100..900 {
            filter.judge(INGRESS, &frame).unwrap();
        }
        assert!(waiting.is_woken_within(10_000));
        let events = filter.events();
        // A record is 88 octets behind a header of 8; the ring has 64 KiB.
        let half = (1 << 15) / 96;
        assert!(events.len() >= half && events.len() <= half + 1, "{}", events.len());
    });
}

/// A client may wait for any of the addresses that the kernel has no time for.
#[test]
fn userspace_is_woken_for_what_is_left_to_it_though_all_else_was_refused() {
    run("", "", |filter| {
        for who in Addresses::both() {
            filter.clear().unwrap();
            let query = query(&who);
            let mut message = query.answered();
            for number in 1..=60 {
                let refused: IpAddr = match who.public {
                    IpAddr::V4(_) => [127, 0, 0, number].into(),
                    IpAddr::V6(_) => [0xfe80, 0, 0, 0, 0, 0, 0, number.into()].into(),
                };
                message = message.address(&QUESTION, 300, refused);
            }
            message = message.address(&QUESTION, 300, who.public);
            check_on(filter, &[asked(&who, &query)]);
            filter.events();

            let waiting = Waiting::on(&filter.events);
            let answer =
                to_client("an answer", answered(&who, &message).frame(), expect(DnsAnswer));
            filter.judge(answer.point, &answer.frame).unwrap();
            assert!(waiting.is_woken_within(10_000));
            assert!(matches!(filter.events()[..], [Event::Answer]));
            assert!(hosts(filter).is_empty());
        }
    });
}
