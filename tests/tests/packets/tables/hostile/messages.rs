//! Headers and questions (RFC 1035 sections 4.1.1 and 4.1.2, RFC 2181 section 9, RFC 9619).

use intune_filter_tests::prog_test_run::{
    Addresses, Message,
    message::{A, AAAA, CNAME, QUESTION, Section, name},
};

use super::{
    Case, Foreign, Malformed, Nothing, Teaches, Unread, begin, case, case_of, check_tables,
};
use crate::tables::answers::{PORTAL, answer, kind, query};

const CHAOS: u16 = 3;
const ANY: u16 = 255;

#[test]
fn headers_and_questions_that_lie_teach_nothing() {
    check_tables(
        "",
        &[
            ("flags and codes", flags_and_codes),
            ("questions that were not asked", questions_that_were_not_asked),
            ("bare errors", bare_errors),
            ("questions of other types and classes", questions_of_other_types_and_classes),
        ],
    );
}

/// Another type of address than the family's.
fn other_kind(who: &Addresses) -> u16 {
    if kind(who.public) == A { AAAA } else { A }
}

/// The query for the portal with another class.
fn of_class(who: &Addresses, class: u16) -> Message {
    let query = query(who);
    let at = query.octets().len() - 2;
    query.with(at, &class.to_be_bytes())
}

fn flags_and_codes(who: &Addresses) -> Vec<Case> {
    let with = |what: &str, flags, outcome| case(who, what, answer(who).flags(flags), outcome);
    let good = || Teaches(vec![who.public]);
    let mut cases = vec![
        with("a plain answer", 0x8180, good()),
        with("authoritative", 0x8580, good()),
        with("recursion neither asked for nor available", 0x8000, good()),
        with("authenticated, checking disabled", 0x81b0, good()),
        with("the reserved bit", 0x81c0, good()),
        // What came whole of a cut answer is as true as the rest (RFC 2181 section 9); some
        // stub resolvers use it.
        with("truncated, but its records are whole", 0x8380, good()),
        with("a query", 0x0100, Foreign),
        with("no such name, yet an address", 0x8183, Unread),
    ];
    for code in 1..16 {
        cases.push(with(&format!("response code {code}"), 0x8180 | code, Unread));
    }
    for opcode in 1..16 {
        cases.push(with(&format!("opcode {opcode}"), 0x8180 | opcode << 11, Foreign));
    }
    cases.push(case(who, "truncated before its only record", begin(who).flags(0x8380), Nothing));
    let cut = answer(who).flags(0x8380);
    let cut = cut.clone().cut(cut.octets().len() - 1);
    cases.push(case(who, "truncated inside of its record", cut, Malformed));
    let counted = begin(who).flags(0x8380).count(6, 1);
    cases.push(case(who, "truncated, and its record is counted", counted, Malformed));
    cases
}

fn questions_that_were_not_asked(who: &Addresses) -> Vec<Case> {
    let of = |message: Message| message.answered().address(&QUESTION, 300, who.public);
    let row = |what: &str, message, outcome| case(who, what, message, outcome);
    let letters = |at: usize| {
        let sound = answer(who);
        let letter = sound.octets()[at] ^ 0x20;
        sound.with(at, &[letter])
    };
    let mut cases = vec![
        row("another identification", answer(who).id(0x1235), Foreign),
        row("the identification turned around", answer(who).id(0x3412), Foreign),
        row(
            "another name",
            of(Message::query(0x1234, "push.core.example", kind(who.public))),
            Foreign,
        ),
        row("a name below", of(Message::query(0x1234, "x.portal.core.example", A)), Foreign),
        row("the name above", of(Message::query(0x1234, "core.example", A)), Foreign),
        row("the root", of(Message::query(0x1234, "", kind(who.public))), Foreign),
        row("the other type", of(Message::query(0x1234, PORTAL, other_kind(who))), Foreign),
        row("any type", of(Message::query(0x1234, PORTAL, ANY)), Foreign),
        row("class CH", of(of_class(who, CHAOS)), Foreign),
        row("any class", of(of_class(who, ANY)), Foreign),
        row(
            "a compressed question",
            {
                let compressed = Message::header(0x1234, 0x8180).question(&QUESTION, A);
                compressed.address(&QUESTION, 300, who.public)
            },
            Foreign,
        ),
        row("half a question", answer(who).cut(20), Foreign),
        row(
            "a question without its class",
            query(who).answered().cut(query(who).octets().len() - 2),
            Foreign,
        ),
        row("a header alone", answer(who).cut(12), Foreign),
        row(
            "no question",
            begin(who).cut(12).count(4, 0xffff).address(&name(PORTAL), 300, who.public),
            Foreign,
        ),
        row(
            "two questions",
            {
                let two = begin(who).question(&name(PORTAL), other_kind(who));
                two.address(&QUESTION, 300, who.public)
            },
            Foreign,
        ),
        row(
            "the same question twice",
            {
                begin(who)
                    .question(&name(PORTAL), kind(who.public))
                    .address(&QUESTION, 300, who.public)
            },
            Foreign,
        ),
        row("a count of two", answer(who).count(4, 1), Foreign),
        row("a count of none", answer(who).count(4, 0xffff), Foreign),
        row("a count of many", answer(who).count(4, 0xfffe), Foreign),
    ];
    // The header is followed by a length, and each label by another.
    for (at, octet) in query(who).octets().iter().enumerate().skip(13) {
        if octet.is_ascii_alphabetic() && at < query(who).octets().len() - 5 {
            cases.push(row(&format!("octet {at} in the other case"), letters(at), Foreign));
        }
    }
    cases
}

/// An error may come without its question (RFC 6891 section 7).
fn bare_errors(who: &Addresses) -> Vec<Case> {
    let bare = |what: &str, flags| case(who, what, Message::header(0x1234, flags), Unread);
    let own = || name(PORTAL);
    vec![
        bare("format error", 0x8181),
        bare("server failure", 0x8182),
        bare("refused", 0x8185),
        case(who, "none, and no question", Message::header(0x1234, 0x8180), Foreign),
        case(
            who,
            "with an answer",
            Message::header(0x1234, 0x8182).address(&own(), 300, who.public),
            Foreign,
        ),
        case(who, "to another query", Message::header(0x1235, 0x8182), Foreign),
    ]
}

/// The records are of the class and type that was asked for, or aliases (RFC 1034 section 4.3.2).
fn questions_of_other_types_and_classes(who: &Addresses) -> Vec<Case> {
    let any = Message::query(7, PORTAL, ANY);
    let alias = Message::query(7, PORTAL, CNAME);
    let chaos = of_class(who, CHAOS);
    let edge = name("edge.example");
    let answered = |query: &Message| query.answered().address(&QUESTION, 300, who.public);
    let own = |what: &str, query: &Message, answer, outcome| {
        case_of(what, query.clone(), answer, outcome)
    };
    let data = [&[20, 0, 0, 9][..], &[0x2a; 12]].concat();
    let length = if who.public.is_ipv4() { 4 } else { 16 };
    let of_chaos = |query: &Message| {
        let kind = kind(who.public);
        let data = &data[..length];
        query.answered().record_of(Section::Answer, &QUESTION, kind, CHAOS, 300, data)
    };
    vec![
        own("any type", &any, answered(&any), Teaches(vec![who.public])),
        own(
            "an alias was asked for, and comes with its address",
            &alias,
            alias.answered().alias(&QUESTION, &edge).address(&edge, 300, who.public),
            Teaches(vec![who.public]),
        ),
        own("class CH was asked for and comes", &chaos, of_chaos(&chaos), Unread),
        own("class CH was asked for, and IN comes", &chaos, answered(&chaos), Unread),
        case(who, "class IN was asked for, and CH comes", of_chaos(&query(who)), Nothing),
        case(who, "both come", of_chaos(&query(who)).address(&QUESTION, 300, who.public), {
            Teaches(vec![who.public])
        }),
    ]
}
