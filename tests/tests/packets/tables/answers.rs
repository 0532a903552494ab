//! DNS answers: what they teach, and what they do not.

use std::{collections::BTreeMap, net::IpAddr};

use intune_filter_ebpf::abi::{
    Occurrence::{AnswerConflict, Learned},
    Reason::{self, Destination, DnsAnswer, DnsQuery, GatewaySent, Policy, Unsolicited},
    RuleMask, V6,
};
use intune_filter_tests::prog_test_run::{
    Addresses, Bed, Datagram, Expected, Flags, Message, Row, both, check, check_in_order, check_on,
    datagram::TAG,
    expect, from_client,
    message::{A, AAAA, QUESTION},
    site::VLAN,
    state::now,
    to_client,
};

use crate::run;

pub(crate) const WEB: &str = "core/web";
pub(crate) const PORTAL: &str = "portal.core.example";
const SECOND: u64 = 1_000_000_000;
pub(crate) const NONE: [IpAddr; 0] = [];

pub(crate) fn kind(address: IpAddr) -> u16 {
    if address.is_ipv4() { A } else { AAAA }
}

pub(crate) fn query(who: &Addresses) -> Message {
    Message::query(0x1234, PORTAL, kind(who.public))
}

/// An answer with the family's public address.
pub(crate) fn answer(who: &Addresses) -> Message {
    query(who).answered().address(&QUESTION, 300, who.public)
}

pub(crate) fn asked(who: &Addresses, message: &Message) -> Row {
    let frame = Datagram::new(who.client, who.resolver).udp(40000, 53, message.octets()).frame();
    from_client("the query", frame, expect(DnsQuery))
}

pub(crate) fn answered(who: &Addresses, message: &Message) -> Datagram {
    Datagram::new(who.resolver, who.client).udp(53, 40000, message.octets())
}

pub(crate) fn teaches(message: &Message) -> Expected {
    expect(DnsAnswer).and(Learned, message.octets().len())
}

/// Number of learned targets.
pub(crate) fn targets(filter: &dyn Bed) -> usize {
    filter.hosts().unwrap().into_iter().filter(|(at, _)| V6::from(*at).is_target()).count()
}

/// Learned addresses: their rules, and the seconds that remain.
pub(crate) fn hosts(filter: &dyn Bed) -> BTreeMap<IpAddr, (RuleMask, u64)> {
    let now = now().unwrap();
    let seconds = |expires: u64| (expires.saturating_sub(now) + SECOND / 2) / SECOND;
    let hosts = filter.hosts().unwrap();
    hosts
        .into_iter()
        .filter(|(address, _)| !V6::from(*address).is_target())
        .map(|(address, host)| (address, (host.rules, seconds(host.expires))))
        .collect()
}

pub(crate) fn addresses(filter: &dyn Bed) -> Vec<IpAddr> {
    hosts(filter).into_keys().collect()
}

/// Asks for the portal, and judges this answer.
pub(crate) fn try_answer(
    filter: &mut dyn Bed,
    who: &Addresses,
    what: &str,
    message: &Message,
    expected: Expected,
) {
    let row = to_client(what, answered(who, message).frame(), expected);
    check_in_order(filter, &[asked(who, &query(who)), row]);
}

#[test]
fn a_name_opens_its_addresses_before_the_client_has_the_answer() {
    run("", "", |filter| {
        for who in Addresses::both() {
            let message = answer(&who);
            let connect =
                |port| Datagram::new(who.client, who.public).tcp(port, 443, Flags::SYN).frame();
            check_in_order(
                filter,
                &[
                    from_client("too early", connect(1), expect(Destination)),
                    asked(&who, &query(&who)),
                    from_client("still too early", connect(1), expect(Destination)),
                    to_client("the answer", answered(&who, &message).frame(), teaches(&message)),
                    from_client("now", connect(1), expect(Policy).rule(WEB).by_name()),
                ],
            );
            let rules = RuleMask::of(filter.rule(WEB));
            assert_eq!(hosts(filter), [(who.public, (rules, 330))].into());
        }
    });
}

#[test]
fn the_gateways_own_resolver_teaches_too() {
    run("", "", |filter| {
        for who in Addresses::both() {
            let message = answer(&who);
            let ask = Datagram::new(who.client, who.gateway).udp(40000, 53, query(&who).octets());
            let own = Datagram::new(who.gateway, who.client).udp(53, 40000, message.octets());
            check_in_order(
                filter,
                &[
                    to_client("unasked", own.frame(), expect(GatewaySent)).sent_by_gateway(),
                    from_client("the query", ask.frame(), expect(DnsQuery)),
                    to_client("its answer", own.frame(), teaches(&message)).sent_by_gateway(),
                ],
            );
            assert_eq!(addresses(filter), [who.public]);
        }
    });
}

/// Answers that a query did not ask for, in some detail.
pub(crate) fn forgeries(who: &Addresses) -> Vec<Row> {
    let whole = answer(who);
    let from = |source, client, port, message: &Message| {
        Datagram::new(source, client).udp(53, port, message.octets())
    };
    let row =
        |what: &str, datagram: Datagram| to_client(what, datagram.frame(), expect(Unsolicited));
    let renamed = |text: &str| {
        let query = Message::query(0x1234, text, kind(who.public));
        answered(who, &query.answered().address(&QUESTION, 300, who.public))
    };
    let other_kind = Message::query(0x1234, PORTAL, if kind(who.public) == A { AAAA } else { A });
    vec![
        row("another identification", answered(who, &whole.clone().id(0x1235))),
        row("another port", from(who.resolver, who.client, 40001, &whole)),
        row("another client", from(who.resolver, who.neighbour, 40000, &whole)),
        row("the other trusted resolver", from(who.gateway, who.client, 40000, &whole)),
        row(
            "a resolver that is not trusted",
            from(who.foreign_resolver, who.client, 40000, &whole),
        ),
        row("another name", renamed("push.core.example")),
        row("the name in other letters", renamed("pOrtal.core.example")),
        row(
            "another type",
            answered(who, &other_kind.answered().address(&QUESTION, 300, who.public)),
        ),
        row("no question", answered(who, &whole.clone().cut(12).count(4, 0xffff))),
        row("half a question", answered(who, &whole.clone().cut(20))),
        row("in the VLAN", answered(who, &whole).tag(TAG, VLAN)),
        row("elsewhere", answered(who, &whole)).on_other(),
        row("from another port", {
            Datagram::new(who.resolver, who.client).udp(54, 40000, whole.octets())
        }),
        row("over TCP", Datagram::new(who.resolver, who.client).tcp(53, 40000, Flags::ACK)),
    ]
}

#[test]
fn forged_answers_neither_pass_nor_teach() {
    run("", "", |filter| {
        for who in Addresses::both() {
            let mut rows = vec![to_client("unasked", answered(&who, &answer(&who)).frame(), {
                expect(Unsolicited)
            })];
            rows.push(asked(&who, &query(&who)));
            rows.extend(forgeries(&who));
            check_in_order(filter, &rows);
            assert_eq!(addresses(filter), NONE);
            let message = answer(&who);
            let own =
                to_client("the true one", answered(&who, &message).frame(), teaches(&message));
            check_on(filter, &[own]);
            assert_eq!(addresses(filter), [who.public]);
        }
    });
}

#[test]
fn a_question_keeps_its_letters() {
    run("", "", |filter| {
        for who in Addresses::both() {
            let query = Message::query(1, "PorTaL.cOre.exaMple", kind(who.public));
            let message = query.answered().address(&QUESTION, 300, who.public);
            let own = to_client("its answer", answered(&who, &message).frame(), teaches(&message));
            check_in_order(filter, &[asked(&who, &query), own]);
        }
    });
}

#[test]
fn a_second_answer_teaches_nothing() {
    run("", "", |filter| {
        for who in Addresses::both() {
            let first = answer(&who);
            let second = query(&who).answered().address(&QUESTION, 300, who.public2);
            let third = query(&who).answered().address(&QUESTION, 200, who.public);
            check_in_order(
                filter,
                &[
                    asked(&who, &query(&who)),
                    to_client("the first", answered(&who, &first).frame(), teaches(&first)),
                    to_client("again", answered(&who, &first).frame(), expect(DnsAnswer)),
                    to_client("another", answered(&who, &second).frame(), disputes(&second)),
                    to_client("once more", answered(&who, &first).frame(), expect(DnsAnswer)),
                    to_client("one more", answered(&who, &third).frame(), expect(DnsAnswer)),
                    // Asked anew, the question has an answer again.
                    asked(&who, &query(&who)),
                    to_client("the next", answered(&who, &third).frame(), teaches(&third)),
                ],
            );
            assert_eq!(addresses(filter), [who.public]);
        }
    });
}

/// An answer that differs from earlier ones, of which there were as many as questions.
fn disputes(message: &Message) -> Expected {
    expect(DnsAnswer).and(AnswerConflict, message.octets().len())
}

/// A question that is sent again may have another answer each time.
#[test]
fn as_many_answers_as_questions_may_differ() {
    run("", "", |filter| {
        for who in Addresses::both() {
            let first = answer(&who);
            let second = query(&who).answered().address(&QUESTION, 300, who.public2);
            let third = query(&who).answered().address(&QUESTION, 299, who.public2);
            check_in_order(
                filter,
                &[
                    asked(&who, &query(&who)),
                    asked(&who, &query(&who)),
                    to_client("the first", answered(&who, &first).frame(), teaches(&first)),
                    to_client("the second", answered(&who, &second).frame(), teaches(&second)),
                    to_client("the first", answered(&who, &first).frame(), expect(DnsAnswer)),
                    to_client("the third", answered(&who, &third).frame(), disputes(&third)),
                ],
            );
            assert_eq!(addresses(filter).len(), 2);
        }
    });
}

/// Of two questions on their way with one port and id, each has its answer; a third takes the place of
/// the older.
#[test]
fn two_questions_at_once_have_two_answers() {
    const OTHERS: [&str; 2] = ["push.core.example", "time.example"];
    run("", "", |filter| {
        for who in Addresses::both() {
            let [second, third] = OTHERS.map(|name| Message::query(0x1234, name, kind(who.public)));
            let of = |query: &Message, address| query.answered().address(&QUESTION, 300, address);
            let (first, second_answer) = (answer(&who), of(&second, who.public2));
            for reversed in [false, true] {
                let mut answers = [
                    to_client("the first's", answered(&who, &first).frame(), teaches(&first)),
                    to_client("the second's", answered(&who, &second_answer).frame(), {
                        teaches(&second_answer)
                    }),
                ];
                if reversed {
                    answers.reverse();
                }
                check_in_order(filter, &[asked(&who, &query(&who)), asked(&who, &second)]);
                check_on(filter, &answers);
                assert_eq!(addresses(filter).len(), 2);
            }
            let unasked = answered(&who, &first).frame();
            check_in_order(
                filter,
                &[
                    asked(&who, &query(&who)),
                    asked(&who, &second),
                    asked(&who, &third),
                    to_client("the oldest's", unasked, expect(Unsolicited)),
                    to_client("the second's", answered(&who, &second_answer).frame(), {
                        teaches(&second_answer)
                    }),
                ],
            );
        }
    });
}

#[test]
fn an_answer_is_waited_for_half_a_minute() {
    use intune_filter_ebpf::abi::Pending;

    run("", "", |filter| {
        for who in Addresses::both() {
            let message = answer(&who);
            let row = |expected| to_client("it", answered(&who, &message).frame(), expected);
            for (seconds, expected) in [(29, teaches(&message)), (31, expect(Unsolicited))] {
                check_in_order(filter, &[asked(&who, &query(&who))]);
                let age = |pending: &mut Pending| pending.asked -= seconds * SECOND;
                filter.change_queries(&age).unwrap();
                check_on(filter, &[row(expected)]);
            }
        }
    });
}

#[test]
fn answers_that_nobody_asked_for_reach_exempt_and_audited_clients_alone() {
    run("", "", |filter| {
        let rows = both(|who| {
            let message = answer(who);
            let to = |client| Datagram::new(who.resolver, client).udp(53, 40000, message.octets());
            vec![
                to_client("let in", to(who.server).frame(), expect(Unsolicited)),
                to_client("exempt", to(who.exempt).frame(), expect(Reason::Exempt)),
                to_client("audited", to(who.audited).frame(), expect(Unsolicited).audited()),
            ]
        });
        check(filter, &rows);
        assert_eq!(addresses(filter), NONE);
    });
}
