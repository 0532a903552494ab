//! The records of DNS answers: which are read, which count, which are refused.

use std::net::IpAddr;

use intune_filter_ebpf::abi::{
    Occurrence::{AnswerMalformed, AnswerRefused, Learned, NothingLearned},
    Reason::DnsAnswer,
};
use intune_filter_tests::prog_test_run::{
    Addresses, Datagram, HookPoint, Message, expect,
    message::{A, QUESTION, Section, name},
};

use crate::{
    run,
    tables::answers::{NONE, addresses, answer, answered, asked, kind, query, teaches, try_answer},
};

#[test]
fn impossible_addresses_are_refused() {
    run("", "", |filter| {
        for who in Addresses::both() {
            let impossible = [
                "0.0.0.0",
                "10.20.0.50",
                "100.64.0.1",
                "127.0.0.1",
                "169.254.169.254",
                "172.16.0.1",
                "192.0.2.1",
                "192.168.1.1",
                "198.18.0.1",
                "198.51.100.9",
                "203.0.113.9",
                "224.0.0.1",
                "240.0.0.1",
                "255.255.255.255",
                "::",
                "::1",
                "::ffff:20.0.0.7",
                "::20.0.0.7",
                "64:ff9b::10.0.0.1",
                "64:ff9b::127.0.0.1",
                "2001:db8::1",
                "2002:a00:1::1",
                "fc00::1",
                "fd00:20::1",
                "fe80::1",
                "fec0::1",
                "ff02::1",
                "ff0e::1",
            ];
            for text in impossible {
                let address: IpAddr = text.parse().unwrap();
                let message = query(&who).answered().address(&QUESTION, 300, address);
                let length = message.octets().len();
                let nothing =
                    expect(DnsAnswer).and(AnswerRefused, length).and(NothingLearned, length);
                try_answer(filter, &who, text, &message, nothing);
                assert_eq!(addresses(filter), NONE, "{text}");

                let mixed = message.address(&QUESTION, 300, who.public);
                let refused = teaches(&mixed).and(AnswerRefused, mixed.octets().len());
                try_answer(filter, &who, text, &mixed, refused);
                assert_eq!(addresses(filter), [who.public], "{text}");
            }
            for text in ["64:ff9b::20.0.0.7", "2002:1400:7::1"] {
                let message = query(&who).answered().address(&QUESTION, 300, text.parse().unwrap());
                try_answer(filter, &who, text, &message, teaches(&message));
            }
        }
    });
}

#[test]
fn the_sites_private_prefixes_are_learned_but_not_the_gateway() {
    run(", allow_private: [10.20.0.0/16, 'fd00:20::/32']", "", |filter| {
        for who in Addresses::both() {
            let message = query(&who).answered().address(&QUESTION, 300, who.neighbour);
            try_answer(filter, &who, "a private address", &message, teaches(&message));
            assert_eq!(addresses(filter), [who.neighbour]);
            let message = query(&who).answered().address(&QUESTION, 300, who.gateway);
            let length = message.octets().len();
            let nothing = expect(DnsAnswer).and(AnswerRefused, length).and(NothingLearned, length);
            try_answer(filter, &who, "the gateway", &message, nothing);
            assert_eq!(addresses(filter), NONE);
        }
    });
}

/// Aliases, and what is learned through them.
#[test]
fn aliases_are_followed_by_their_owners() {
    run("", "", |filter| {
        for who in Addresses::both() {
            let begin = || query(&who).answered();
            let (one, two, other) = (name("One.Example"), name("two.example"), name("x.example"));
            let upper = name("ONE.EXAMPLE");
            let long: Vec<Vec<u8>> = (0..12).map(|n| name(&format!("alias{n}.example"))).collect();
            let chain = |message: Message, order: &[usize]| {
                order.iter().fold(message, |message, n| match n {
                    0 => message.alias(&QUESTION, &long[0]),
                    n => message.alias(&long[n - 1], &long[*n]),
                })
            };
            let ordered: Vec<usize> = (0..12).collect();
            let reversed: Vec<usize> = (0..12).rev().collect();
            let last = &long[11];
            let cases = [
                (
                    "an alias",
                    begin().alias(&QUESTION, &one).address(&one, 300, who.public),
                    Learned,
                ),
                (
                    "in other letters",
                    { begin().alias(&QUESTION, &one).address(&upper, 300, who.public) },
                    Learned,
                ),
                (
                    "the address first",
                    { begin().address(&one, 300, who.public).alias(&QUESTION, &one) },
                    Learned,
                ),
                (
                    "two aliases, turned around",
                    {
                        begin()
                            .alias(&one, &two)
                            .alias(&QUESTION, &one)
                            .address(&two, 300, who.public)
                    },
                    Learned,
                ),
                (
                    "twelve aliases",
                    chain(begin(), &ordered).address(last, 300, who.public),
                    Learned,
                ),
                (
                    "the other way",
                    { chain(begin().address(last, 300, who.public), &reversed) },
                    Learned,
                ),
                (
                    "the question's name written out",
                    { begin().address(&name("PORTAL.core.example"), 300, who.public) },
                    Learned,
                ),
                ("another owner", begin().address(&other, 300, who.public), NothingLearned),
                (
                    "an owner above",
                    begin().address(&name("core.example"), 300, who.public),
                    NothingLearned,
                ),
                (
                    "an owner below",
                    { begin().address(&name("x.portal.core.example"), 300, who.public) },
                    NothingLearned,
                ),
                (
                    "an alias of another",
                    { begin().alias(&other, &one).address(&one, 300, who.public) },
                    NothingLearned,
                ),
                (
                    "the middle of the chain",
                    {
                        begin()
                            .alias(&QUESTION, &one)
                            .alias(&one, &two)
                            .address(&one, 300, who.public)
                    },
                    NothingLearned,
                ),
                (
                    "the chain's beginning",
                    { begin().alias(&QUESTION, &one).address(&QUESTION, 300, who.public) },
                    NothingLearned,
                ),
                (
                    "an alias in a circle",
                    {
                        begin()
                            .alias(&QUESTION, &one)
                            .alias(&one, &QUESTION)
                            .address(&two, 300, who.public)
                    },
                    AnswerMalformed,
                ),
                (
                    "an alias of itself",
                    { begin().alias(&QUESTION, &QUESTION).address(&one, 300, who.public) },
                    AnswerMalformed,
                ),
                (
                    "in another section",
                    {
                        let data = match who.public {
                            IpAddr::V4(v4) => v4.octets().to_vec(),
                            IpAddr::V6(v6) => v6.octets().to_vec(),
                        };
                        let kind = kind(who.public);
                        begin().record(Section::Authority, &QUESTION, kind, 300, &data).record(
                            Section::Additional,
                            &QUESTION,
                            kind,
                            300,
                            &data,
                        )
                    },
                    NothingLearned,
                ),
                (
                    "of another class",
                    { begin().record_of(Section::Answer, &QUESTION, A, 3, 300, &[20, 0, 0, 7]) },
                    NothingLearned,
                ),
                (
                    "of another length",
                    { begin().record(Section::Answer, &QUESTION, A, 300, &[20, 0, 0, 7, 0]) },
                    AnswerMalformed,
                ),
                (
                    "a text",
                    begin().record(Section::Answer, &QUESTION, 16, 300, &[20, 0, 0, 7]),
                    NothingLearned,
                ),
                ("nothing", begin(), NothingLearned),
            ];
            for (what, message, outcome) in cases {
                let learns = outcome == Learned;
                let expected = if learns {
                    teaches(&message)
                } else {
                    expect(DnsAnswer).and(outcome, message.octets().len())
                };
                try_answer(filter, &who, what, &message, expected);
                let known: &[IpAddr] = if learns { &[who.public] } else { &[] };
                assert_eq!(addresses(filter), known, "{} {what}", who.family());
            }
        }
    });
}

#[test]
fn both_families_are_learned_over_either() {
    run("", "", |filter| {
        let both: Vec<IpAddr> = Addresses::both().iter().map(|who| who.public).collect();
        for who in Addresses::both() {
            let message = both.iter().fold(query(&who).answered(), |message, address| {
                message.address(&QUESTION, 300, *address)
            });
            try_answer(filter, &who, "both", &message, teaches(&message));
            assert_eq!(addresses(filter), both);
        }
    });
}

#[test]
fn what_does_not_parse_teaches_nothing() {
    run("", "", |filter| {
        for who in Addresses::both() {
            let begin = || query(&who).answered();
            let good = || answer(&who);
            let past = (good().octets().len() as u16 | 0xc000).to_be_bytes();
            let cases = [
                ("a record too few", good().count(6, 1)),
                ("sixty-five records", good().count(6, 64)),
                ("the most records", good().count(6, 0xfffe)),
                ("data beyond the end", good().cut(good().octets().len() - 1)),
                ("an owner that points ahead", begin().address(&past, 300, who.public).count(6, 1)),
                ("an owner that does not end", good().followed_by(&[63; 40]).count(6, 1)),
                ("an owner of another label type", {
                    good().address(&[0x41, b'a', 0], 300, who.public)
                }),
            ];
            for (what, message) in cases {
                let broken = expect(DnsAnswer).and(AnswerMalformed, message.octets().len());
                try_answer(filter, &who, what, &message, broken);
                assert_eq!(addresses(filter), NONE, "{what}");
            }
            for (what, flags) in
                [("no such name", 0x8183), ("a failure", 0x8182), ("refused", 0x8185)]
            {
                try_answer(filter, &who, what, &good().flags(flags), expect(DnsAnswer));
                assert_eq!(addresses(filter), NONE, "{what}");
            }
        }
    });
}

/// The message ends after every octet in turn; the datagram's own lengths agree with it.
#[test]
fn an_answer_that_is_cut_anywhere_teaches_nothing() {
    run("", "", |filter| {
        for who in Addresses::both() {
            let alias = name("one.example");
            let message = query(&who).answered().alias(&QUESTION, &alias);
            let message =
                message.address(&alias, 300, who.public).address(&alias, 300, who.public2);
            let whole = message.octets().len();
            for length in 0..=whole {
                filter.clear().unwrap();
                let ask = asked(&who, &query(&who));
                filter.judge(ask.point, &ask.frame).unwrap();
                let cut = answered(&who, &message.clone().cut(length)).frame();
                filter.judge(HookPoint::Egress("eth1"), &cut).unwrap();
                let known = if length == whole { vec![who.public, who.public2] } else { vec![] };
                assert_eq!(addresses(filter), known, "{} of {whole} octets", length);
            }
        }
    });
}

/// Every octet of an answer, wrong in turn: whatever passes, nothing else is learned.
#[test]
fn an_answer_that_is_wrong_anywhere_teaches_no_other_address() {
    run("", "", |filter| {
        for who in Addresses::both() {
            let message = answer(&who);
            let length = message.octets().len();
            let data = length - if who.public.is_ipv4() { 4 } else { 16 };
            for at in 0..data {
                for wrong in [0x00, 0x01, 0x3f, 0x80, 0xc0, 0xff] {
                    let mut octets = message.octets().to_vec();
                    octets[at] ^= wrong;
                    filter.clear().unwrap();
                    let ask = asked(&who, &query(&who));
                    filter.judge(ask.point, &ask.frame).unwrap();
                    let frame = Datagram::new(who.resolver, who.client).udp(53, 40000, &octets);
                    filter.judge(HookPoint::Egress("eth1"), &frame.frame()).unwrap();
                    let known = addresses(filter);
                    assert!(known.is_empty() || known == [who.public], "octet {at}: {known:?}");
                }
            }
        }
    });
}
