//! Queries: each recorded once, and answered only by a response to the question asked.

use intune_filter_ebpf::{
    abi::{Asked, Pending, PendingKey, Reason, V6},
    verdict::Action,
};
use proptest::{array::uniform32, prelude::any, prop_assert_eq};

use crate::{
    choices::Choices,
    message::{A, AAAA, ANSWER, Compression, IN, Name, OPT, QUERY, Record, Writer},
    runner,
    site::{Ends, SECOND, START, Site, V4_ENDS, V6_ENDS, VLAN, surplus},
};

const PATIENCE: u64 = 30 * SECOND;

fn query(id: u16, name: &str) -> Vec<u8> {
    Writer::new(id, QUERY, &name.into(), A, IN).octets
}

fn answer(id: u16, name: &str) -> Vec<u8> {
    let record = Record::a("a.one", "93.184.216.34");
    Writer::new(id, ANSWER, &name.into(), A, IN).with(&[record]).octets
}

/// Returns the verdict over an answer, and whether it taught an address.
fn heard(site: &Site, ends: Ends, message: &[u8]) -> (Reason, bool) {
    let reason = site.answer(ends, message).reason;
    (reason, !site.addresses().is_empty())
}

const TAUGHT: (Reason, bool) = (Reason::DnsAnswer, true);
const DENIED: (Reason, bool) = (Reason::Unsolicited, false);

#[test]
fn a_query_is_recorded_once_for_its_zone_client_port_and_id() {
    for ends in [V4_ENDS, V6_ENDS] {
        let site = Site::new();
        for _ in 0..3 {
            let verdict = site.query(ends, &query(7, "a.one"));
            assert_eq!((verdict.reason, verdict.action), (Reason::DnsQuery, Action::Pass));
        }
        let pending = site.tables.pending.borrow().clone();
        let key = PendingKey {
            zone: 1,
            port: ends.port.to_be(),
            id: 7_u16.to_be(),
            protocol: 17,
            client: V6::from(ends.client),
            resolver: V6::from(ends.resolver),
        };
        assert_eq!(pending.keys().collect::<Vec<_>>(), [&key]);
        let Pending { asked, questions: [question, other] } = pending[&key];
        assert_eq!((asked, question.times, question.answers), (START, Asked::PROVEN | 3, 0));
        assert_eq!(other, Asked::default());

        for other in [
            (Ends { port: ends.port + 1, ..ends }, 7),
            (Ends { vlan: Some(VLAN), ..ends }, 7),
            (ends, 8),
        ] {
            site.query(other.0, &query(other.1, "a.one"));
        }
        assert_eq!(site.tables.pending.borrow().len(), 4);
    }
}

#[test]
fn an_answer_teaches_once() {
    let site = Site::new();
    site.query(V4_ENDS, &query(7, "a.one"));
    assert_eq!(heard(&site, V4_ENDS, &answer(7, "a.one")), TAUGHT);
    site.tables.hosts4.borrow_mut().clear();
    assert_eq!(heard(&site, V4_ENDS, &answer(7, "a.one")), (Reason::DnsAnswer, false));

    // The query once more, as glibc sends it after a timeout, may be answered again.
    site.query(V4_ENDS, &query(7, "a.one"));
    assert_eq!(heard(&site, V4_ENDS, &answer(7, "a.one")), TAUGHT);
}

#[test]
fn answers_to_something_else_are_denied() {
    let ends = V4_ENDS;
    let other = |text: &str| text.parse().unwrap();
    let strangers: [(&str, Ends, Vec<u8>); 8] = [
        ("id", ends, answer(8, "a.one")),
        ("letters' case", ends, answer(7, "A.one")),
        ("name", ends, answer(7, "b.one")),
        ("port", Ends { port: 40_001, ..ends }, answer(7, "a.one")),
        ("client", Ends { client: other("192.0.2.11"), ..ends }, answer(7, "a.one")),
        ("resolver", Ends { resolver: other("192.0.2.54"), ..ends }, answer(7, "a.one")),
        ("zone", Ends { vlan: Some(VLAN), ..ends }, answer(7, "a.one")),
        ("type", ends, Writer::new(7, ANSWER, &"a.one".into(), AAAA, IN).octets),
    ];
    let site = Site::new();
    site.query(ends, &query(7, "a.one"));
    for (what, ends, message) in strangers {
        assert_eq!(heard(&site, ends, &message), DENIED, "another {what}");
    }
    // None of them has used the query up.
    assert_eq!(heard(&site, ends, &answer(7, "a.one")), TAUGHT);
}

#[test]
fn answers_are_waited_for_as_long_as_stubs_do() {
    let site = Site::new();
    assert_eq!(heard(&site, V4_ENDS, &answer(7, "a.one")), DENIED, "before the query");
    site.query(V4_ENDS, &query(7, "a.one"));
    site.wait(PATIENCE + 1);
    assert_eq!(heard(&site, V4_ENDS, &answer(7, "a.one")), DENIED, "too late");
    site.query(V4_ENDS, &query(7, "a.one"));
    site.wait(PATIENCE);
    assert_eq!(heard(&site, V4_ENDS, &answer(7, "a.one")), TAUGHT, "just in time");
}

/// getaddrinfo sends A and AAAA from one socket, and the answers may come in either order.
#[test]
fn two_queries_from_one_socket_are_both_answered() {
    for ends in [V4_ENDS, V6_ENDS] {
        for order in [[0, 1], [1, 0]] {
            let site = Site::new();
            let name = Name::from("a.one");
            let kinds = [(7, A), (8, AAAA)];
            for (id, kind) in kinds {
                site.query(ends, &Writer::new(id, QUERY, &name, kind, IN).octets);
            }
            let records = [Record::a("a.one", "93.184.216.34"), Record::aaaa("a.one", "2a00::34")];
            for index in order {
                let (id, kind) = kinds[index];
                let answer = Writer::new(id, ANSWER, &name, kind, IN).with(&records[index..=index]);
                assert_eq!(site.answer(ends, &answer.octets).reason, Reason::DnsAnswer);
            }
            assert_eq!(site.addresses(), ["93.184.216.34", "2a00::34"]);
        }
    }
}

#[test]
fn queries_that_are_none_are_denied() {
    let base = Writer::new(7, QUERY, &"a.one".into(), A, IN);
    let mut malformed = vec![
        ("a header alone", base.octets[..12].to_vec()),
        ("a question cut short", base.octets[..base.octets.len() - 1].to_vec()),
        ("a compressed question", {
            let mut octets = base.octets[..12].to_vec();
            octets.extend([1, b'a', 0xc0, 12, 0, 1, 0, 1, 0, 0, 0]);
            octets
        }),
        ("a label of 64 octets", {
            let mut octets = base.octets[..12].to_vec();
            octets.push(64);
            octets.extend([b'a'; 64]);
            octets.extend([0, 0, 1, 0, 1]);
            octets
        }),
    ];
    for (what, section, count) in [
        ("no question", 0, 0),
        ("two questions", 0, 2),
        ("an answer in a query", 1, 1),
        ("an authority in a query", 2, 1),
    ] {
        let mut writer = base.clone();
        writer.set_count(section, count);
        malformed.push((what, writer.octets));
    }
    for (what, flags) in [("an answer", ANSWER), ("an update", 0x2800), ("a notification", 0x2000)]
    {
        malformed.push((what, Writer::new(7, flags, &"a.one".into(), A, IN).octets));
    }
    let site = Site::new();
    for (what, message) in malformed {
        assert_eq!(site.query(V4_ENDS, &message).reason, Reason::DnsMalformed, "{what}");
        assert!(site.tables.pending.borrow().is_empty(), "{what}");
    }
}

/// A message ends where the UDP header says: neither resolver nor client reads anything behind it.
#[test]
fn octets_behind_the_datagram_are_no_part_of_the_message() {
    let (query, answer) = (query(7, "a.one"), answer(7, "a.one"));
    for ends in [V4_ENDS, V6_ENDS] {
        let site = Site::new();
        for covered in 0..query.len() {
            let verdict = surplus(ends, &query, covered, false, &site);
            assert_eq!(verdict.reason, Reason::DnsMalformed, "{covered} octets");
        }
        for covered in 0..answer.len() {
            site.query(ends, &query);
            surplus(ends, &answer, covered, true, &site);
            assert_eq!(site.addresses(), [""; 0], "{covered} octets");
        }
        site.query(ends, &query);
        let longer = [&answer[..], &[0; 20]].concat();
        surplus(ends, &longer, answer.len(), true, &site);
        assert_eq!(site.addresses(), ["93.184.216.34"]);
    }
}

/// A server that cannot read the query says so without repeating it.
#[test]
fn bare_errors_pass_and_leave_the_query_open() {
    let site = Site::new();
    let bare = |id: u16, rcode: u8| {
        let [high, low] = id.to_be_bytes();
        vec![high, low, 0x81, 0x80 | rcode, 0, 0, 0, 0, 0, 0, 0, 0]
    };
    assert_eq!(heard(&site, V4_ENDS, &bare(7, 1)), DENIED, "before the query");
    site.query(V4_ENDS, &query(7, "a.one"));
    for rcode in [1, 2, 4, 5] {
        assert_eq!(heard(&site, V4_ENDS, &bare(7, rcode)), (Reason::DnsAnswer, false));
    }
    assert_eq!(heard(&site, V4_ENDS, &bare(7, 0)), DENIED, "no error");
    assert_eq!(heard(&site, V4_ENDS, &bare(8, 1)), DENIED, "another id");
    let mut counted = bare(7, 1);
    counted[7] = 1;
    assert_eq!(heard(&site, V4_ENDS, &counted), DENIED, "with an answer");
    assert_eq!(heard(&site, V4_ENDS, &answer(7, "a.one")), TAUGHT);
}

#[test]
fn random_octets_are_no_reason_to_panic() {
    let site = Site::new();
    runner(20_000)
        .run(&uniform32(any::<u64>()), |words| {
            let mut choices = Choices::new(&words);
            let length = choices.below(700);
            let mut octets: Vec<u8> = (0..length).map(|_| choices.word() as u8).collect();
            if choices.once_in(2) && length > 12 {
                octets[..12].copy_from_slice(&[0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
            }
            site.forget();
            let verdict = site.query(V4_ENDS, &octets);
            let recorded = site.tables.pending.borrow().len();
            prop_assert_eq!(recorded, usize::from(verdict.reason == Reason::DnsQuery));
            site.answer(V4_ENDS, &octets);
            prop_assert_eq!(site.addresses(), [""; 0]);
            Ok(())
        })
        .unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn queries_with_edns_are_queries() {
    let site = Site::new();
    let mut writer = Writer::new(7, QUERY, &"a.one".into(), A, IN);
    writer.name(&Name(Vec::new()), Compression::None);
    writer.rest(
        OPT,
        1232,
        0x8000,
        &crate::message::Data::Opaque(vec![0, 12, 0, 1, 0]),
        Compression::None,
    );
    writer.set_count(3, 1);
    assert_eq!(site.query(V4_ENDS, &writer.octets).reason, Reason::DnsQuery);
}
