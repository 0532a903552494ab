//! What is cut off anywhere passes nowhere that the whole does.

use intune_filter_ebpf::abi::Reason::{self, Link, Unmanaged};
use intune_filter_tests::testrun::{
    Addresses, Datagram, Fate, Filter, Flags, Message, Place, Row, both,
    message::{A, Section, name},
    run,
};

use crate::{gateway, headers, links, policy, queries};

/// The shortest frame that a test run takes.
const SHORTEST: usize = 14;

/// Reasons to pass that the frame's tail has no part in: its EtherType or its tag alone decides.
const INDEPENDENT: [Reason; 1] = [Unmanaged];

/// Where the datagram ends: what follows is padding. Frames of other types are of the link, and
/// end with their EtherType.
fn end(frame: &[u8]) -> usize {
    let at = |offset: usize| usize::from(u16::from_be_bytes([frame[offset], frame[offset + 1]]));
    let mut network = SHORTEST;
    while matches!(at(network - 2), 0x8100 | 0x88a8) {
        network += 4;
    }
    match at(network - 2) {
        0x0800 => network + at(network + 2),
        0x86dd => network + 40 + at(network + 4),
        _ => network,
    }
}

fn accepted(rows: impl IntoIterator<Item = Row>) -> Vec<Row> {
    let is_meant = |row: &Row| row.expected.passes() && !INDEPENDENT.contains(&row.expected.reason);
    rows.into_iter().filter(is_meant).collect()
}

/// Cuts each frame at every length, and leaves its headers as they are.
fn sweep(filter: &mut Filter, rows: &[Row]) -> usize {
    let mut runs = 0;
    for row in rows {
        filter.clear().unwrap();
        for length in SHORTEST..end(&row.frame).min(row.frame.len()) {
            // Of some lengths the kernel makes no packet: then there is nothing to judge.
            let Ok(fate) = filter.judge(row.place, &row.frame[..length]) else { continue };
            assert_eq!(fate, Fate::Dropped, "{}: {length} octets", row.description);
            runs += 1;
        }
        let fate = filter.judge(row.place, &row.frame).unwrap();
        assert_eq!(fate, Fate::Passed, "{}", row.description);
    }
    runs
}

#[test]
fn what_is_cut_off_is_dropped() {
    let [four, six] = Addresses::both();
    let rows = [
        both(policy::allowed),
        both(gateway::to_every_address),
        both(headers::frames),
        headers::options(&four),
        headers::extensions(&six),
        links::link_scope4(&four),
        links::link_scope6(&six),
        both(queries::names),
        both(queries::whole),
    ];
    let rows = accepted(rows.into_iter().flatten());
    assert!(rows.iter().any(|row| row.expected.reason == Link), "link scope is among them");
    run("", "", |filter| {
        let runs = sweep(filter, &rows);
        assert!(runs > 10_000, "{runs} frames were judged");
    });
}

/// Judges a datagram on a clean state.
fn passes(filter: &mut Filter, datagram: &Datagram) -> bool {
    filter.clear().unwrap();
    match filter.judge(Place::Ingress("eth1"), &datagram.frame()).unwrap() {
        Fate::Passed => true,
        Fate::Dropped => false,
        Fate::Answered(_) => panic!("answered"),
    }
}

/// Payloads cut at every length in datagrams that say so themselves.
#[test]
fn headers_that_are_not_whole_do_not_pass() {
    run("", "", |filter| {
        for who in Addresses::both() {
            let headers = if who.client.is_ipv4() { 20 } else { 40 };
            let web = || Datagram::new(who.client, who.web);
            let ntp = || Datagram::new(who.client, who.ntp);
            let icmp = if who.client.is_ipv4() { 1 } else { 58 };
            let listed = Message::query(1, "portal.core.example", A);
            let query = Datagram::new(who.client, who.resolver).udp(1, 53, listed.octets());
            // From which length on a payload is enough.
            for (what, whole, protocol, enough) in [
                ("TCP", web().tcp(1, 443, Flags::SYN), 6, 20),
                ("UDP", ntp().udp(1, 123, b"eight..."), 17, 16),
                ("an echo request", web().echo_request(1), icmp, 8),
                ("a query", query, 17, 8 + listed.octets().len()),
            ] {
                let payload = whole.packet()[headers..].to_vec();
                for length in 0..=payload.len() {
                    let cut = whole.clone().raw(protocol, &payload[..length]);
                    let passed = passes(filter, &cut);
                    assert_eq!(passed, length >= enough, "{} {what}: {length}", who.family());
                }
            }
        }
    });
}

/// A message cut at every length in a UDP datagram that says so itself.
#[test]
fn queries_that_are_not_whole_do_not_pass() {
    run("", "", |filter| {
        for who in Addresses::both() {
            let message = Message::query(1, "a.part1.apps.core.example", A);
            let message = message.record(Section::Additional, &name("x.example"), A, 0, &[1; 4]);
            let enough = 12 + name("a.part1.apps.core.example").len() + 4;
            for length in 0..=message.octets().len() {
                let cut = message.clone().cut(length);
                let query = Datagram::new(who.client, who.resolver).udp(1, 53, cut.octets());
                assert_eq!(passes(filter, &query), length >= enough, "{length} octets");
            }
        }
    });
}

/// The return path, cut the same way.
#[test]
fn what_is_cut_off_does_not_come_back() {
    run("", "", |filter| {
        for who in Addresses::both() {
            let syn = Datagram::new(who.client, who.web).tcp(40000, 443, Flags::SYN).frame();
            let query = Message::query(1, "portal.core.example", A);
            let ask =
                Datagram::new(who.client, who.resolver).udp(40000, 53, query.octets()).frame();
            let answer = query.answered().address(&[0xc0, 12], 300, "20.0.0.7".parse().unwrap());
            let back = [
                Datagram::new(who.web, who.client).tcp(443, 40000, Flags::SYN_ACK).frame(),
                Datagram::new(who.resolver, who.client).udp(53, 40000, answer.octets()).frame(),
            ];
            for frame in back {
                filter.clear().unwrap();
                for begin in [&syn, &ask] {
                    filter.judge(Place::Ingress("eth1"), begin).unwrap();
                }
                let mut runs = 0;
                for length in SHORTEST..frame.len() {
                    let place = Place::Egress("eth1");
                    let Ok(fate) = filter.judge(place, &frame[..length]) else { continue };
                    assert_eq!(fate, Fate::Dropped, "{length} octets");
                    runs += 1;
                }
                assert!(runs > 10, "{runs} frames were judged");
                assert_eq!(filter.pins().hosts().unwrap().len(), 0);
                let whole = filter.judge(Place::Egress("eth1"), &frame).unwrap();
                assert_eq!(whole, Fate::Passed);
            }
            assert_eq!(filter.pins().hosts().unwrap().len(), 1);
        }
    });
}
