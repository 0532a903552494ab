//! Counts and lengths that are not true (RFC 1035 sections 4.1.1 and 4.1.3), times to live, and
//! records in sections that no one asked for.

use std::net::IpAddr;

use intune_filter_tests::prog_test_run::{
    Addresses, Message,
    message::{A, AAAA, CNAME, QUESTION, Section, name},
};

use super::{
    Case, Cut, Deferred, Foreign, Malformed, Nothing, Teaches, begin, case, chains::numbered,
    check_tables,
};
use crate::tables::answers::{PORTAL, answer, kind, query};

const TXT: u16 = 16;

#[test]
fn counts_and_lengths_that_lie_teach_nothing() {
    check_tables(
        "",
        &[
            ("data that is not as long as it says", data_that_is_not_as_long_as_it_says),
            ("counts that are not true", counts_that_are_not_true),
            ("many records", many_records),
            ("an answer that ends anywhere", an_answer_that_ends_anywhere),
            ("other sections", other_sections),
            ("times to live", times_to_live),
            ("an alias may hold for any time", an_alias_may_hold_for_any_time),
        ],
    );
}

/// Octets of an address.
const fn octets(address: IpAddr) -> usize {
    if address.is_ipv4() { 4 } else { 16 }
}

fn data_that_is_not_as_long_as_it_says(who: &Addresses) -> Vec<Case> {
    let mut cases = Vec::new();
    let sound = answer(who);
    let length = octets(who.public);
    let at = sound.octets().len() - length - 2;
    for wrong in [0, 1, length - 1, length + 1, 255, 0x7fff, 0xfffe, 0xffff] {
        let message = sound.clone().with(at, &(wrong as u16).to_be_bytes());
        cases.push(case(who, format!("the only record says {wrong}"), message, Malformed));
    }
    // What the length leads to is a record as well, or the end.
    for (kind, lengths) in [(A, [0, 3, 5, 8, 16]), (AAAA, [0, 4, 15, 17, 32])] {
        for length in lengths {
            let data = vec![20; length];
            let wrong =
                |message: Message| message.record(Section::Answer, &QUESTION, kind, 300, &data);
            cases.push(case(
                who,
                format!("type {kind} of {length} octets"),
                wrong(sound.clone()),
                Malformed,
            ));
            let first = wrong(begin(who)).address(&QUESTION, 300, who.public);
            cases.push(case(who, format!("type {kind} of {length} octets, first"), first, {
                Malformed
            }));
            let other = name("other.example");
            let off = begin(who).record(Section::Answer, &other, kind, 300, &data);
            let off = off.address(&QUESTION, 300, who.public);
            cases.push(case(who, format!("type {kind} of {length} octets, another's"), off, {
                Malformed
            }));
        }
    }
    // A record that says less than it has makes the next one begin inside of it: with an octet
    // that no name begins with.
    let nested = name(PORTAL);
    let hidden = Message::header(0, 0).address(&nested, 300, who.public2).followed_by(&[0xbf]);
    let text = |length: usize| {
        let data = &hidden.octets()[12..];
        let message = begin(who).record(Section::Answer, &[0], TXT, 0, data);
        let at = message.octets().len() - data.len() - 2;
        message.with(at, &(length as u16).to_be_bytes())
    };
    let length = hidden.octets().len() - 12;
    cases.push(case(who, "a record inside of a record", text(length), Nothing));
    for wrong in [length - 1, length + 1] {
        let message = text(wrong).address(&nested, 300, who.public);
        cases.push(case(who, format!("{wrong} octets of {length}"), message, Malformed));
    }
    cases
}

fn counts_that_are_not_true(who: &Addresses) -> Vec<Case> {
    let two = || answer(who).address(&QUESTION, 300, who.public2);
    let row = |what: &str, message, outcome| case(who, what, message, outcome);
    let both = || Teaches(vec![who.public, who.public2]);
    vec![
        row("one record more", two().count(6, 1), Malformed),
        row("sixty-four for two", two().count(6, 62), Malformed),
        row("sixty-five for two", two().count(6, 63), Malformed),
        row("the most there can be", two().count(6, 0xfffd), Malformed),
        row("one record less", two().count(6, 0xffff), Teaches(vec![who.public])),
        row("no record", two().count(6, 0xfffe), Nothing),
        row("one record of nothing", begin(who).count(6, 1), Malformed),
        // Other sections are not read.
        row("authorities that are not there", two().count(8, 0xffff), both()),
        row("additional records that are not there", two().count(10, 0xffff), both()),
        row("octets behind the end", two().followed_by(&[0xff; 100]), both()),
        row(
            "a record behind the end",
            {
                let more = Message::header(0, 0).address(&QUESTION, 300, who.foreign);
                two().followed_by(&more.octets()[12..])
            },
            both(),
        ),
    ]
}

fn many_records(who: &Addresses) -> Vec<Case> {
    let message = |count| {
        (0..count).fold(begin(who), |message, n| message.address(&QUESTION, 300, numbered(who, n)))
    };
    let all = |count| (0..count).map(|n| numbered(who, n)).collect();
    let mut texts = begin(who);
    for n in 0..63_u8 {
        texts = texts.record(Section::Answer, &QUESTION, TXT, 300, &[1, n]);
    }
    vec![
        case(who, "14 records", message(14), Teaches(all(14))),
        case(who, "63 records", message(63), Deferred(all(2))),
        case(who, "64 records", message(64), Deferred(all(2))),
        case(who, "65 records", message(65), Cut(all(2))),
        case(who, "100 records", message(100), Cut(all(2))),
        case(
            who,
            "63 texts and an address",
            texts.clone().address(&QUESTION, 300, who.public),
            Teaches(vec![who.public]),
        ),
        case(
            who,
            "64 texts and an address",
            {
                let texts = texts.record(Section::Answer, &QUESTION, TXT, 300, &[0]);
                texts.address(&QUESTION, 300, who.public)
            },
            Cut(Vec::new()),
        ),
        case(
            who,
            "one address many times",
            (0..64).fold(begin(who), |message, _| message.address(&QUESTION, 300, who.public)),
            Deferred(vec![who.public]),
        ),
    ]
}

/// After every octet, with the datagram's and the connection's own lengths.
fn an_answer_that_ends_anywhere(who: &Addresses) -> Vec<Case> {
    let edge = name("edge.example");
    let whole = begin(who)
        .record(Section::Answer, &QUESTION, TXT, 300, &[3, b'a', b'b', b'c'])
        .alias(&QUESTION, &edge)
        .address(&edge, 300, who.public)
        .address(&edge, 300, who.public2);
    let (first, last) = (query(who).octets().len(), whole.octets().len());
    let mut cases: Vec<Case> = (12..first)
        .map(|end| case(who, format!("{end} octets"), whole.clone().cut(end), Foreign))
        .collect();
    cases.extend(
        (first..last)
            .map(|end| case(who, format!("{end} octets"), whole.clone().cut(end), Malformed)),
    );
    cases.push(case(who, "all", whole, Teaches(vec![who.public, who.public2])));
    let header = |end| case(who, format!("{end} octets"), answer(who).cut(end), Foreign);
    cases.extend((0..12).map(|end| header(end).over_udp()));
    cases
}

fn other_sections(who: &Addresses) -> Vec<Case> {
    let data = match who.public2 {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    };
    let kind = kind(who.public2);
    let into =
        |message: Message, section, owner: &[u8]| message.record(section, owner, kind, 300, &data);
    let (server, edge) = (name("ns.core.example"), name("edge.example"));
    let sections = [Section::Authority, Section::Additional];
    let mut cases = Vec::new();
    for section in sections {
        cases.push(case(
            who,
            format!("alone in {section:?}"),
            into(begin(who), section, &QUESTION),
            Nothing,
        ));
        cases.push(case(
            who,
            format!("beside an answer, in {section:?}"),
            into(answer(who), section, &QUESTION),
            Teaches(vec![who.public]),
        ));
        cases.push(case(
            who,
            format!("behind an alias, in {section:?}"),
            into(begin(who).alias(&QUESTION, &edge), section, &edge),
            Nothing,
        ));
        cases.push(case(
            who,
            format!("a name server's, in {section:?}"),
            into(answer(who), section, &server),
            Teaches(vec![who.public]),
        ));
    }
    cases.push(case(
        who,
        "in both",
        {
            sections
                .into_iter()
                .fold(begin(who), |message, section| into(message, section, &QUESTION))
        },
        Nothing,
    ));
    cases
}

/// The least is a minute here, whatever a record says (RFC 2181 section 8 takes the rest as zero).
fn times_to_live(who: &Addresses) -> Vec<Case> {
    [0, 1, 0x7fff_ffff, 0x8000_0000, 0x8000_0001, 0xffff_ffff]
        .map(|ttl| {
            let message = begin(who).address(&QUESTION, ttl, who.public);
            case(who, format!("{ttl:#x} seconds"), message, Teaches(vec![who.public]))
        })
        .into()
}

/// An alias counts by its owner and class, and by nothing else of it.
fn an_alias_may_hold_for_any_time(who: &Addresses) -> Vec<Case> {
    let edge = name("edge.example");
    [0, 0xffff_ffff]
        .map(|ttl| {
            let message = begin(who).record(Section::Answer, &QUESTION, CNAME, ttl, &edge);
            let message = message.address(&edge, 300, who.public);
            case(who, format!("{ttl:#x} seconds"), message, Teaches(vec![who.public]))
        })
        .into()
}
