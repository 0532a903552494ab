//! Truncated frames pass nowhere that the whole ones do.

use intune_filter_ebpf::abi::Reason::{self, Link, Unmanaged};
use intune_filter_tests::prog_test_run::{
    Addresses, Datagram, Fate, Flags, HookPoint, IngressHook, LoadedFilter, Message, Row, both,
    expect,
    message::{A, Section, name},
    run, run_at,
    site::config,
};

use crate::{
    random::seeds::Seed,
    tables::{answers, fragments, gateway, headers, links, policy, queries, rejected, streams},
};

/// The shortest frame that a test run takes.
const SHORTEST: usize = 14;

/// Reasons to pass that the frame's tail has no part in: its EtherType or its tag alone decides.
const INDEPENDENT: [Reason; 1] = [Unmanaged];

/// End of the datagram, which padding follows. Frames of other types are of the link, and end with
/// their EtherType.
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
fn sweep(filter: &mut LoadedFilter, rows: &[Row]) -> usize {
    let mut runs = 0;
    for row in rows {
        filter.clear().unwrap();
        for length in SHORTEST..end(&row.frame).min(row.frame.len()) {
            // Of some lengths the kernel makes no packet: then there is nothing to judge.
            let Ok(fate) = filter.judge(row.point, &row.frame[..length]) else { continue };
            assert_eq!(fate, Fate::Dropped, "{}: {length} octets", row.description);
            runs += 1;
        }
        let fate = filter.judge(row.point, &row.frame).unwrap();
        assert_eq!(fate, Fate::Passed, "{}", row.description);
    }
    runs
}

/// Runs a test at every hook, with the programs where frames meet them that no test run takes.
fn at_every_hook(test: impl Fn(&mut LoadedFilter) + Sync) {
    for hook in IngressHook::ALL {
        run_at(hook, "", "", |filter| {
            println!("ingress at {hook:?}");
            filter.install(&config("", "")).unwrap();
            filter.attach().unwrap();
            test(filter);
        });
    }
}

#[test]
fn what_is_cut_off_is_dropped() {
    let [four, six] = Addresses::both();
    let rows = [
        both(policy::allowed),
        both(policy::denied),
        both(gateway::to_every_address),
        both(headers::frames),
        headers::options(&four),
        headers::extensions(&six),
        links::link_scope4(&four),
        links::link_scope6(&six),
        both(queries::names),
        both(queries::whole),
        both(queries::others),
        both(rejected::denied),
    ];
    let rows = accepted(rows.into_iter().flatten());
    assert!(rows.iter().any(|row| row.expected.reason == Link), "link scope is among them");
    at_every_hook(|filter| {
        let runs = sweep(filter, &rows);
        println!("{} frames, cut into {runs}", rows.len());
        assert!(runs > 12_000, "{runs} frames were judged");
    });
}

/// A frame that passes after others.
struct Sequel {
    what: &'static str,
    begin: Vec<Seed>,
    frame: Seed,
}

fn sequels(who: &Addresses) -> Vec<Sequel> {
    let sent = |datagram: Datagram| (HookPoint::Ingress("eth1"), datagram.frame());
    let came = |datagram: Datagram| (HookPoint::Egress("eth1"), datagram.frame());
    let seeds = |rows: &[Row]| -> Vec<Seed> {
        rows.iter().map(|row| (row.point, row.frame.clone())).collect()
    };
    let seed = |row: Row| (row.point, row.frame);
    let sequel = |what, begin, frame| Sequel { what, begin, frame };
    let out = || Datagram::new(who.client, who.web);
    let back = || Datagram::new(who.web, who.client);
    let syn = || out().tcp(40000, 443, Flags::SYN);
    let syn_ack = || back().tcp(443, 40000, Flags::SYN_ACK);
    let asked = answers::asked(who, &answers::query(who));
    let answer = answers::answered(who, &answers::answer(who));
    let ntp = || Datagram::new(who.client, who.ntp).udp(123, 123, b"time");
    let inside = || Datagram::new(who.public, who.server).udp(999, 7, b"asks");
    let answer_over_tcp = streams::framed(&[&answers::answer(who)]);
    let query_over_tcp = streams::framed(&[&answers::query(who)]);
    let any = || expect(Link);
    vec![
        sequel("a segment", vec![sent(syn())], sent(out().tcp(40000, 443, Flags::ACK))),
        sequel("SYN ACK", vec![sent(syn())], came(syn_ack())),
        sequel("an answer over UDP", vec![sent(ntp())], {
            came(Datagram::new(who.ntp, who.client).udp(123, 123, b"now"))
        }),
        sequel("an echo reply", vec![sent(out().echo_request(7))], came(back().echo_reply(7))),
        sequel("an error to the client", vec![sent(syn())], {
            came(Datagram::new(who.public2, who.client).icmp(
                if who.client.is_ipv4() { 3 } else { 1 },
                0,
                [0; 4],
                // No more than is needed: every octet of it counts.
                &syn().packet()[..if who.client.is_ipv4() { 28 } else { 48 }],
            ))
        }),
        sequel("an error from the client", vec![sent(syn()), came(syn_ack())], {
            sent(out().unreachable(&syn_ack()))
        }),
        sequel("a later fragment", vec![sent(fragments::first(who))], {
            sent(fragments::later(who, 3, false))
        }),
        sequel(
            "a later fragment to the client",
            vec![sent(syn()), came(back().fragment(0, true).tcp(443, 40000, Flags::ACK))],
            came(back().fragment(3, false).raw(6, &[0x55; 16])),
        ),
        sequel("a first fragment to the client", vec![sent(syn())], {
            came(back().fragment(0, true).tcp(443, 40000, Flags::ACK))
        }),
        sequel("a DNS answer", seeds(&[asked]), came(answer)),
        sequel("a query over TCP", seeds(&streams::connected(who)), {
            seed(streams::sent("", who, 0, &query_over_tcp, any()))
        }),
        sequel("an answer over TCP", seeds(&streams::asked(who)), {
            seed(streams::came("", who, 0, &answer_over_tcp, any()))
        }),
        sequel("what is let in", vec![], came(inside())),
        sequel("to an exempt client", vec![], {
            came(Datagram::new(who.public, who.exempt).udp(999, 7, b"asks"))
        }),
        sequel("to an audited client", vec![], {
            came(Datagram::new(who.public, who.audited).udp(999, 7, b"asks"))
        }),
    ]
}

/// Frames that pass only after others, in both directions; a truncated frame changes nothing, so
/// that the whole one passes afterwards.
#[test]
fn what_is_cut_off_follows_nothing() {
    at_every_hook(|filter| {
        for who in Addresses::both() {
            for Sequel { what, begin, frame: (place, frame) } in sequels(&who) {
                filter.clear().unwrap();
                for (place, frame) in &begin {
                    assert_eq!(filter.judge(*place, frame).unwrap(), Fate::Passed, "{what}");
                }
                let before = filter.pins().hosts().unwrap().len();
                let mut runs = 0;
                for length in SHORTEST..frame.len() {
                    // Of some lengths the kernel makes no packet: then there is nothing to judge.
                    let Ok(fate) = filter.judge(place, &frame[..length]) else { continue };
                    assert_eq!(fate, Fate::Dropped, "{} {what}: {length} octets", who.family());
                    runs += 1;
                }
                assert!(runs > 10, "{what}: {runs} frames were judged");
                assert_eq!(filter.pins().hosts().unwrap().len(), before, "{what} has taught");
                let whole = filter.judge(place, &frame).unwrap();
                assert_eq!(whole, Fate::Passed, "{} {what}", who.family());
            }
        }
    });
}

/// Judges a datagram on a clean state.
fn passes(filter: &mut LoadedFilter, datagram: &Datagram) -> bool {
    filter.clear().unwrap();
    match filter.judge(HookPoint::Ingress("eth1"), &datagram.frame()).unwrap() {
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
