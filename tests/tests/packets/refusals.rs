//! Refused DNS queries: the answer that the kernel sends, octet by octet.

use intune_filter_tests::prog_test_run::{
    Addresses, Bed, Datagram, Fate, HookPoint, Message, check,
    datagram::TAG,
    from_client,
    message::{self, A, AAAA, QUESTION, Section},
};

use crate::{
    run,
    tables::queries::{ask, refused},
};

/// Checks every octet of the frame that answers a query.
#[test]
fn refusals_are_answers_to_their_queries() {
    run(", unlisted: refuse", "", |filter| {
        check_octets(filter, "ElseWhere.example", 0x8085, false);
    });
    run(", unlisted: nxdomain", "", |filter| {
        check_octets(filter, "ElseWhere.example", 0x8083, true);
        check_octets(filter, "CoRe.example", 0x8080, true);
        check_octets(filter, "", 0x8080, true);
    });
}

/// Checks the answers to queries for a name: their flags, and whether they say for how long.
fn check_octets(filter: &mut dyn Bed, name: &str, flags: u16, negative: bool) {
    // The primary server, `nobody.invalid`, and five numbers.
    let data = [
        &QUESTION[..],
        &message::name("nobody.invalid"),
        &[0, 0, 0, 1, 0, 0, 14, 16, 0, 0, 4, 176, 0, 9, 58, 128, 0, 0, 0, 10],
    ]
    .concat();
    // Blocked.
    let why: &[u8] = if negative { &[0, 15, 0, 2, 0, 15] } else { &[] };
    for who in Addresses::both() {
        let plain = |flags| Message::query(0x1234, name, AAAA).flags(flags);
        let refused = |more: u16| {
            let answer = plain(flags | more);
            if negative {
                answer.record(Section::Authority, &QUESTION, 6, 10, &data)
            } else {
                answer
            }
        };
        let cookie = [0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8];
        let key = |message: Message| message.record(Section::Additional, &[0], 250, 0, &[0; 30]);
        let cases = [
            ("plain", plain(0x0100), refused(0x0100)),
            ("no recursion", plain(0), refused(0)),
            ("checking disabled", plain(0x0110), refused(0x0110)),
            ("authentic data", plain(0x0120), refused(0x0100)),
            ("EDNS", plain(0x0100).edns(512, 0, &[]), refused(0x0100).edns(1232, 0, why)),
            (
                "DNSSEC",
                plain(0x0100).edns(4096, 0x8000, &[]),
                refused(0x0100).edns(1232, 0x8000, why),
            ),
            ("a cookie", plain(0x0100).edns(1232, 0, &cookie), refused(0x0100).edns(1232, 0, why)),
            ("a signature", key(plain(0x0100)), refused(0x0100)),
            (
                "EDNS and a signature",
                key(plain(0x0100).edns(9, 0, &[])),
                refused(0x0100).edns(1232, 0, why),
            ),
            ("something behind", plain(0x0100).followed_by(&[7; 50]), refused(0x0100)),
            ("much behind", plain(0x0100).followed_by(&[7; 1000]), refused(0x0100)),
            (
                "half an EDNS record",
                plain(0x0100).count(10, 1).followed_by(&[0, 0, 41]),
                refused(0x0100),
            ),
        ];
        for (what, query, refusal) in cases {
            for resolver in [who.gateway, who.resolver] {
                for tag in [false, true] {
                    let tagged =
                        |datagram: Datagram| if tag { datagram.tag(TAG, 0) } else { datagram };
                    let asked = Datagram::new(who.client, resolver).udp(40000, 53, query.octets());
                    let asked = tagged(asked).frame();
                    let answer =
                        Datagram::new(resolver, who.client).udp(53, 40000, refusal.octets());
                    let mut answer = tagged(answer).frame();
                    let (to, from) = answer[..12].split_at_mut(6);
                    to.swap_with_slice(from);
                    let Fate::Answered(got) =
                        filter.judge(HookPoint::Ingress("eth1"), &asked).unwrap()
                    else {
                        panic!("{what}: not answered");
                    };
                    assert_eq!(got, answer, "{} {name:?} {what}", who.family());
                }
            }
        }
    }
}

#[test]
fn a_query_whose_refusal_cannot_be_made_is_dropped() {
    run("", "", |filter| {
        let unlisted = Message::query(1, "elsewhere.example", A);
        for who in Addresses::both() {
            let query = || Datagram::new(who.client, who.resolver);
            let queries = if who.client.is_ipv4() {
                // Twenty octets make the header as long as that of IPv6.
                vec![query().options(&[1; 4]), query().options(&[1; 20])]
            } else {
                vec![query().extension(60, &[0, 1, 4, 0, 0, 0, 0])]
            };
            for query in queries {
                let frame = query.udp(40000, 53, unlisted.octets()).frame();
                assert_eq!(
                    filter.judge(HookPoint::Ingress("eth1"), &frame).unwrap(),
                    Fate::Dropped
                );
                // The working memory was given back.
                let frame = ask(who.client, who.resolver, &unlisted);
                check(filter, &[from_client("the next", frame, refused())]);
            }
        }
    });
}
