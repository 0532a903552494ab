//! Address hints of HTTPS and SVCB records (RFC 9460): sections 2.2 (form), 2.4.2 (aliases), 7.3
//! (hints).

use std::net::IpAddr;

use intune_filter_tests::prog_test_run::{
    Addresses, Message,
    message::{QUESTION, Section, name},
};

use super::{
    AnswerEffect, Case, Cut, Deferred, Leads, Malformed, Nothing, Refused, Teaches, begin, case,
    chains::numbered, check_tables,
};
use crate::tables::answers::answer;

const SVCB: u16 = 64;
const HTTPS: u16 = 65;
const MANDATORY: u16 = 0;
const ALPN: u16 = 1;
const PORT: u16 = 3;
const IPV4_HINT: u16 = 4;
const ECH: u16 = 5;
const IPV6_HINT: u16 = 6;
const INVALID: u16 = 0xffff;

#[test]
fn hints_that_lie_teach_nothing() {
    check_tables(
        "",
        &[
            ("hints are learned", hints_are_learned),
            ("records that are no services", records_that_are_no_services),
            ("aliases have no hints", aliases_have_no_hints),
            (
                "hints count like addresses of their owner",
                hints_count_like_addresses_of_their_owner,
            ),
            ("no more hints than addresses", no_more_hints_than_addresses),
        ],
    );
}

/// The family's public address, and the other family's.
const BOTH: [&str; 2] = ["20.0.0.9", "2a01:111::9"];

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

/// A parameter of a service: its key, the length that it says, and its value.
fn parameter(key: u16, length: usize, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(length).expect("a short value");
    [&key.to_be_bytes()[..], &length.to_be_bytes(), value].concat()
}

/// A parameter of a service.
fn of(key: u16, value: &[u8]) -> Vec<u8> {
    parameter(key, value.len(), value)
}

/// The data of a record: priority, target, parameters.
fn service(priority: u16, target: &[u8], parameters: &[Vec<u8>]) -> Vec<u8> {
    [&priority.to_be_bytes()[..], target, &parameters.concat()].concat()
}

fn hint4() -> Vec<u8> {
    of(IPV4_HINT, &octets(BOTH[0].parse().unwrap()))
}

fn hint6() -> Vec<u8> {
    of(IPV6_HINT, &octets(BOTH[1].parse().unwrap()))
}

fn both() -> AnswerEffect {
    Teaches(BOTH.map(|text| text.parse().unwrap()).into())
}

/// Answers with one record of the question's name, for either type of record.
fn rows(who: &Addresses, records: Vec<(&'static str, Vec<u8>, AnswerEffect)>) -> Vec<Case> {
    let mut cases = Vec::new();
    for (what, data, outcome) in records {
        for kind in [SVCB, HTTPS] {
            let message = begin(who).record(Section::Answer, &QUESTION, kind, 300, &data);
            cases.push(case(who, format!("{what}, type {kind}"), message, outcome.clone()));
        }
    }
    cases
}

fn hints_are_learned(who: &Addresses) -> Vec<Case> {
    let own = [0];
    let first = || Teaches(vec![BOTH[0].parse().unwrap()]);
    let two: Vec<u8> = [0, 1].iter().flat_map(|n| octets(numbered(who, *n))).collect();
    let key = if who.public.is_ipv4() { IPV4_HINT } else { IPV6_HINT };
    rows(
        who,
        vec![
            ("a hint", service(1, &own, &[hint4()]), first()),
            ("both", service(1, &own, &[hint4(), hint6()]), both()),
            ("two in one", service(1, &own, &[of(key, &two)]), {
                Teaches(vec![numbered(who, 0), numbered(who, 1)])
            }),
            (
                "among others",
                {
                    service(
                        1,
                        &own,
                        &[
                            of(MANDATORY, &[0, 1, 0, 4]),
                            of(ALPN, b"\x02h2"),
                            of(PORT, &[1, 187]),
                            hint4(),
                            of(ECH, b"octets"),
                            hint6(),
                            of(7, b"/dns-query{?dns}"),
                            of(0x1234, &[]),
                            of(INVALID, &[1]),
                        ],
                    )
                },
                both(),
            ),
            // They are a service's addresses, under whatever name it is.
            ("of another target", service(1, &name("edge.example"), &[hint4()]), {
                Leads(vec![BOTH[0].parse().unwrap()])
            }),
            ("of the last priority", service(0xffff, &own, &[hint4()]), first()),
            ("without any", service(1, &own, &[of(ALPN, b"\x02h2")]), Nothing),
            ("without parameters", service(1, &own, &[]), Nothing),
        ],
    )
}

fn records_that_are_no_services(who: &Addresses) -> Vec<Case> {
    let own = [0];
    let short = |key, length: usize| of(key, &vec![20; length]);
    let with = |parameters: &[Vec<u8>]| service(1, &own, parameters);
    let cut = |mut data: Vec<u8>, less: usize| {
        data.truncate(data.len() - less);
        data
    };
    rows(
        who,
        vec![
            ("no octet", vec![], Malformed),
            ("half a priority", vec![0], Malformed),
            ("a priority alone", vec![0, 1], Malformed),
            ("a target without end", vec![0, 1, 5, b'a'], Malformed),
            ("a target of another label type", vec![0, 1, 0x80, 0], Malformed),
            ("a target that ends behind the data", [&[0, 1][..], &[1, b'a']].concat(), Malformed),
            ("half a key", cut(with(&[hint4()]), 7), Malformed),
            ("a key alone", cut(with(&[hint4()]), 6), Malformed),
            ("half a length", cut(with(&[hint4()]), 5), Malformed),
            ("a length alone", cut(with(&[hint4()]), 4), Malformed),
            ("half a hint", cut(with(&[hint4()]), 2), Malformed),
            ("all but an octet", cut(with(&[hint4()]), 1), Malformed),
            (
                "a hint longer than the data",
                { with(&[parameter(IPV4_HINT, 8, &octets(BOTH[0].parse().unwrap()))]) },
                Malformed,
            ),
            ("a parameter longer than the data", with(&[hint4(), parameter(ECH, 9, b"octets")]), {
                Malformed
            }),
            ("a parameter longer than any data", with(&[hint4(), parameter(ECH, 0xffff, &[])]), {
                Malformed
            }),
            ("an octet behind the parameters", [with(&[hint4()]), vec![0]].concat(), Malformed),
            ("three octets behind the parameters", [with(&[hint4()]), vec![0, 9, 0]].concat(), {
                Malformed
            }),
            ("an empty IPv4 hint", with(&[short(IPV4_HINT, 0)]), Malformed),
            ("an empty IPv6 hint", with(&[hint4(), short(IPV6_HINT, 0)]), Malformed),
            ("an IPv4 hint of 3 octets", with(&[short(IPV4_HINT, 3)]), Malformed),
            ("an IPv4 hint of 5 octets", with(&[short(IPV4_HINT, 5)]), Malformed),
            ("an IPv6 hint of 4 octets", with(&[short(IPV6_HINT, 4)]), Malformed),
            ("an IPv6 hint of 15 octets", with(&[short(IPV6_HINT, 15)]), Malformed),
            ("an IPv6 hint of 17 octets", with(&[short(IPV6_HINT, 17)]), Malformed),
            ("keys that descend", with(&[hint6(), hint4()]), Malformed),
            ("a key twice", with(&[hint4(), hint4()]), Malformed),
            ("a key of no meaning twice", with(&[hint4(), of(9, &[]), of(9, &[])]), Malformed),
            ("the last key twice", with(&[hint4(), of(INVALID, &[]), of(INVALID, &[])]), {
                Malformed
            }),
            ("the first key last", with(&[hint4(), of(MANDATORY, &[0, 4])]), Malformed),
        ],
    )
}

/// An alias has no hints, whatever it says behind its target.
fn aliases_have_no_hints(who: &Addresses) -> Vec<Case> {
    let other = name("edge.example");
    rows(
        who,
        vec![
            ("of another name", service(0, &other, &[hint4()]), Leads(vec![])),
            ("of itself", service(0, &[0], &[hint4()]), Nothing),
            ("in no order", service(0, &other, &[hint6(), hint4()]), Leads(vec![])),
            ("half of one", service(0, &other, &[hint4()[..5].to_vec()]), Leads(vec![])),
            ("without a target", vec![0, 0], Malformed),
        ],
    )
}

fn hints_count_like_addresses_of_their_owner(who: &Addresses) -> Vec<Case> {
    let (edge, other) = (name("edge.example"), name("other.example"));
    let data = service(1, &[0], &[hint4(), hint6()]);
    let put =
        |message: Message, section, owner: &[u8]| message.record(section, owner, HTTPS, 300, &data);
    let first = |owner: &[u8]| put(begin(who), Section::Answer, owner);
    let targeted = service(1, &edge, &[]);
    let row = |what: &str, message, outcome| case(who, what, message, outcome);
    vec![
        row("at the end of a chain", first(&edge).alias(&QUESTION, &edge), both()),
        row("of the name, which is an alias", first(&QUESTION).alias(&QUESTION, &edge), Nothing),
        row("of another name", first(&other), Nothing),
        row("of a listed name that was not asked for", first(&name("push.core.example")), {
            Nothing
        }),
        row(
            "of class CH",
            begin(who).record_of(Section::Answer, &QUESTION, HTTPS, 3, 300, &data),
            Nothing,
        ),
        row("in the authority section", put(begin(who), Section::Authority, &QUESTION), Nothing),
        row("in the additional section", put(begin(who), Section::Additional, &QUESTION), {
            Nothing
        }),
        // Its address belongs to a question of its own.
        row(
            "the target's address",
            {
                begin(who)
                    .record(Section::Answer, &QUESTION, HTTPS, 300, &targeted)
                    .address(&edge, 300, who.public)
            },
            Leads(vec![]),
        ),
        row("beside an address", put(answer(who), Section::Answer, &QUESTION), {
            let mut all = vec![who.public];
            all.extend(BOTH.map(|text| text.parse::<IpAddr>().unwrap()));
            Teaches(all)
        }),
        // Nothing is learned of an answer that does not parse, not even off the chain.
        row(
            "a malformed one of another name",
            {
                let broken = service(1, &[0], &[hint6(), hint4()]);
                answer(who).record(Section::Answer, &other, HTTPS, 300, &broken)
            },
            Malformed,
        ),
        row(
            "an impossible one",
            {
                let loopback = service(1, &[0], &[of(IPV4_HINT, &[127, 0, 0, 1])]);
                begin(who).record(Section::Answer, &QUESTION, HTTPS, 300, &loopback)
            },
            Refused(vec![]),
        ),
        row(
            "an impossible one among others",
            {
                let loopback = service(1, &[0], &[of(IPV4_HINT, &[127, 0, 0, 1, 20, 0, 0, 9])]);
                begin(who).record(Section::Answer, &QUESTION, HTTPS, 300, &loopback)
            },
            Refused(vec![BOTH[0].parse().unwrap()]),
        ),
    ]
}

fn no_more_hints_than_addresses(who: &Addresses) -> Vec<Case> {
    let key = if who.public.is_ipv4() { IPV4_HINT } else { IPV6_HINT };
    let many = |count: usize| {
        let value: Vec<u8> = (0..count).flat_map(|n| octets(numbered(who, n))).collect();
        let data = service(1, &[0], &[of(key, &value)]);
        begin(who).record(Section::Answer, &QUESTION, HTTPS, 300, &data)
    };
    let first: Vec<IpAddr> = (0..2).map(|n| numbered(who, n)).collect();
    vec![
        case(who, "64 hints", many(64), Deferred(first.clone())),
        case(who, "65 hints", many(65), Cut(first)),
        case(who, "64 hints and an address", many(64).address(&QUESTION, 300, who.public), {
            Cut(vec![who.public, numbered(who, 0)])
        }),
    ]
}
