//! DNS over TCP: connections to resolvers are followed, and whole messages are judged and learned
//! from.

use intune_filter_ebpf::abi::{
    FlowKey,
    Reason::{
        DnsAnswer, DnsMalformed, DnsQuery, DnsTransport, DnsUnlisted, Exempt, GatewaySent, Policy,
        Unsolicited,
    },
    Stream, V6,
};
use intune_filter_tests::prog_test_run::{
    Addresses, Bed, Datagram, Expected, Flags, Message, Row, check_in_order, check_on, expect,
    from_client, message::QUESTION, to_client,
};

use crate::{
    run,
    tables::answers::{NONE, WEB, addresses, answer, kind, query, teaches},
};

pub(crate) const PORT: u16 = 40000;
/// First sequence numbers, both of which wrap on the way.
pub(crate) const CLIENT: u32 = u32::MAX - 20;
pub(crate) const RESOLVER: u32 = u32::MAX - 30;

/// Messages as they follow each other on a connection.
pub(crate) fn framed(messages: &[&Message]) -> Vec<u8> {
    let mut octets = Vec::new();
    for message in messages {
        octets.extend(u16::try_from(message.octets().len()).unwrap().to_be_bytes());
        octets.extend(message.octets());
    }
    octets
}

/// A segment of the client's, `at` octets after the connection's first.
pub(crate) fn out(who: &Addresses, flags: Flags, at: usize, data: &[u8]) -> Vec<u8> {
    let begin = CLIENT.wrapping_add(1).wrapping_add(at as u32);
    let begin = if flags.syn { CLIENT } else { begin };
    let datagram = Datagram::new(who.client, who.resolver);
    datagram.segment([PORT, 53], flags, [begin, RESOLVER.wrapping_add(1)], data).frame()
}

/// A segment of the resolver's.
pub(crate) fn back(who: &Addresses, flags: Flags, at: usize, data: &[u8]) -> Vec<u8> {
    let begin = RESOLVER.wrapping_add(1).wrapping_add(at as u32);
    let begin = if flags.syn { RESOLVER } else { begin };
    let datagram = Datagram::new(who.resolver, who.client);
    datagram.segment([53, PORT], flags, [begin, CLIENT.wrapping_add(1)], data).frame()
}

pub(crate) fn sent(what: &str, who: &Addresses, at: usize, data: &[u8], expected: Expected) -> Row {
    from_client(what, out(who, Flags::ACK, at, data), expected)
}

pub(crate) fn came(what: &str, who: &Addresses, at: usize, data: &[u8], expected: Expected) -> Row {
    to_client(what, back(who, Flags::ACK, at, data), expected)
}

pub(crate) fn connected(who: &Addresses) -> [Row; 3] {
    [
        from_client("SYN", out(who, Flags::SYN, 0, b""), expect(DnsQuery)),
        to_client("SYN ACK", back(who, Flags::SYN_ACK, 0, b""), expect(DnsAnswer)),
        sent("ACK", who, 0, b"", expect(DnsQuery)),
    ]
}

/// Acknowledgement of the resolver for a number of the client's octets.
pub(crate) fn acknowledged(who: &Addresses, octets: usize) -> Row {
    let number = CLIENT.wrapping_add(1).wrapping_add(octets as u32);
    let numbers = [RESOLVER.wrapping_add(1), number];
    let datagram = Datagram::new(who.resolver, who.client);
    let frame = datagram.segment([53, PORT], Flags::ACK, numbers, b"").frame();
    to_client("an acknowledgement", frame, expect(DnsAnswer))
}

/// A connection with the portal's query on its way.
pub(crate) fn asked(who: &Addresses) -> Vec<Row> {
    let mut rows = connected(who).to_vec();
    rows.push(sent("the query", who, 0, &framed(&[&query(who)]), expect(DnsQuery)));
    rows
}

pub(crate) fn streams(filter: &dyn Bed) -> Vec<(FlowKey<V6>, Stream)> {
    filter.streams().unwrap()
}

#[test]
fn an_answer_in_one_segment_is_learned_before_it_passes() {
    run("", "", |filter| {
        for who in Addresses::both() {
            let message = answer(&who);
            let data = framed(&[&message]);
            check_in_order(filter, &asked(&who));
            assert_eq!(addresses(filter), NONE);
            check_on(
                filter,
                &[
                    came("an acknowledgment", &who, 0, b"", expect(DnsAnswer)),
                    came("the answer", &who, 0, &data, teaches(&message)),
                    from_client(
                        "the connection",
                        Datagram::new(who.client, who.public).tcp(1, 443, Flags::SYN).frame(),
                        expect(Policy).rule(WEB).by_name(),
                    ),
                    came("repeated", &who, 0, &data, expect(DnsAnswer)),
                    came("FIN", &who, data.len(), b"", expect(DnsAnswer)),
                    from_client("FIN", out(&who, Flags::FIN, 0, b""), expect(DnsQuery)),
                    from_client("RST", out(&who, Flags::RST, 0, b""), expect(DnsQuery)),
                ],
            );
            assert_eq!(addresses(filter), [who.public]);
        }
    });
}

#[test]
fn both_questions_of_a_stub_resolver_go_in_one_segment() {
    run("", "", |filter| {
        for who in Addresses::both() {
            let (one, two) = (query(&who), query(&who).id(7));
            let queries = framed(&[&one, &two]);
            let first = one.answered().address(&QUESTION, 300, who.public);
            let second = two.answered().address(&QUESTION, 600, who.public);
            let both = framed(&[&second, &first]);
            let row = sent("both", &who, 0, &queries, expect(DnsQuery));
            check_in_order(filter, &connected(&who));
            check_on(filter, &[row]);
            let half = framed(&[&second]).len();
            check_on(
                filter,
                &[
                    came("one", &who, 0, &both[..half], teaches(&second)),
                    came("the other", &who, half, &both[half..], teaches(&first)),
                    sent("and another", &who, queries.len(), &framed(&[&one.id(9)]), {
                        expect(DnsQuery)
                    }),
                ],
            );
            assert_eq!(addresses(filter), [who.public]);
        }
    });
}

#[test]
fn a_query_may_come_after_its_length() {
    run("", "", |filter| {
        for who in Addresses::both() {
            let data = framed(&[&query(&who)]);
            let message = answer(&who);
            let mut rows = connected(&who).to_vec();
            rows.extend([
                sent("its length", &who, 0, &data[..2], expect(DnsQuery)),
                sent("its length again", &who, 0, &data[..2], expect(DnsQuery)),
                sent("the query too early", &who, 2, &data[2..], expect(DnsTransport)),
                acknowledged(&who, 2),
                sent("less than that", &who, 2, &data[2..30], expect(DnsTransport)),
                sent("another length", &who, 2, &data[..2], expect(DnsTransport)),
                sent("the query", &who, 2, &data[2..], expect(DnsQuery)),
                came("the answer", &who, 0, &framed(&[&message]), teaches(&message)),
            ]);
            check_in_order(filter, &rows);
        }
    });
}

#[test]
fn what_is_no_whole_query_for_a_listed_name_does_not_pass() {
    let unlisted = Message::query(1, "elsewhere.example", 1);
    run("", "", |filter| {
        for who in Addresses::both() {
            let listed = framed(&[&query(&who)]);
            let mixed = framed(&[&query(&who), &unlisted]);
            let three = framed(&[&query(&who), &query(&who), &query(&who)]);
            let long = query(&who).followed_by(&[0; 1024]);
            let refused = || expect(DnsUnlisted).rejected();
            let denied = || expect(DnsTransport);
            let mut rows = connected(&who).to_vec();
            rows.extend([
                sent("another name", &who, 0, &framed(&[&unlisted]), expect(DnsUnlisted).no_name()),
                sent("another name, second", &who, 0, &mixed, refused()),
                sent("another name, first", &who, 0, &framed(&[&unlisted, &query(&who)]), {
                    refused()
                }),
                sent("no query", &who, 0, &framed(&[&answer(&who)]), expect(DnsMalformed)),
                sent("half", &who, 0, &listed[..listed.len() / 2], denied()),
                sent("all but one octet", &who, 0, &listed[..listed.len() - 1], denied()),
                sent("one octet", &who, 0, &listed[..1], denied()),
                sent("and one octet more", &who, 0, &[&listed[..], &[0]].concat(), denied()),
                sent("no message", &who, 0, &[0, 0], denied()),
                sent("three", &who, 0, &three, denied()),
                sent("too long", &who, 0, &framed(&[&long]), denied()),
                sent("too early", &who, 1, &listed, denied()),
                sent("too late", &who, usize::MAX, &listed, denied()),
                from_client("with a SYN", out(&who, Flags::SYN, 0, &listed), denied()),
                sent("the query at last", &who, 0, &listed, expect(DnsQuery)),
                sent("repeated", &who, 0, &listed, expect(DnsQuery)),
                sent("not quite repeated", &who, 0, &framed(&[&query(&who).id(2)]), denied()),
                sent("its end alone", &who, 16, &listed[16..], expect(DnsQuery)),
                sent("its end and more", &who, 16, &[&listed[16..], &[0]].concat(), denied()),
            ]);
            check_in_order(filter, &rows);
        }
    });
    run(", unlisted: refuse", "", |filter| {
        for who in Addresses::both() {
            let mut rows = connected(&who).to_vec();
            rows.push(sent("reset", &who, 0, &framed(&[&unlisted]), {
                expect(DnsUnlisted).rejected()
            }));
            check_in_order(filter, &rows);
        }
    });
    run(", unlisted: drop", "", |filter| {
        for who in Addresses::both() {
            // Also in a group that is told of other denials.
            for client in [who.client, who.rejected] {
                let who = Addresses { client, ..who };
                let mut rows = connected(&who).to_vec();
                rows.push(sent("silently", &who, 0, &framed(&[&unlisted]), expect(DnsUnlisted)));
                check_in_order(filter, &rows);
            }
        }
    });
    run(", unlisted: forward", "", |filter| {
        for who in Addresses::both() {
            let forged = unlisted.answered().address(&QUESTION, 300, who.public);
            let mut rows = connected(&who).to_vec();
            rows.push(sent("another name", &who, 0, &framed(&[&unlisted]), expect(DnsQuery)));
            rows.push(came("its answer", &who, 0, &framed(&[&forged]), expect(DnsAnswer)));
            check_in_order(filter, &rows);
            assert_eq!(addresses(filter), NONE);
        }
    });
}

/// A connection that the resolver has not confirmed could be anywhere: what looks like the
/// beginning of a message to the filter may be the middle of one to the resolver.
#[test]
fn only_a_connection_that_the_resolver_has_confirmed_carries_data() {
    run("", "", |filter| {
        for who in Addresses::both() {
            let data = framed(&[&query(&who)]);
            let datagram = Datagram::new(who.resolver, who.client);
            let other = datagram.segment([53, PORT], Flags::SYN_ACK, [RESOLVER, CLIENT], b"");
            let rows = [
                sent("without one", &who, 0, &data, expect(DnsTransport)),
                sent("ACK without one", &who, 0, b"", expect(DnsTransport)),
                came("from nowhere", &who, 0, b"", expect(Unsolicited)),
                from_client("SYN ACK", out(&who, Flags::SYN_ACK, 0, b""), expect(DnsTransport)),
                from_client("SYN", out(&who, Flags::SYN, 0, b""), expect(DnsQuery)),
                from_client("SYN again", out(&who, Flags::SYN, 0, b""), expect(DnsQuery)),
                sent("too early", &who, 0, &data, expect(DnsTransport)),
                came("an answer", &who, 0, &framed(&[&answer(&who)]), expect(DnsTransport)),
                to_client("for another SYN", other.frame(), expect(DnsTransport)),
                sent("still too early", &who, 0, &data, expect(DnsTransport)),
                to_client("SYN ACK", back(&who, Flags::SYN_ACK, 0, b""), expect(DnsAnswer)),
                to_client("with data", back(&who, Flags::SYN_ACK, 0, b"x"), expect(DnsTransport)),
                sent("now", &who, 0, &data, expect(DnsQuery)),
            ];
            check_in_order(filter, &rows);
        }
    });
}

/// Ages every connection.
pub(crate) fn wait(filter: &dyn Bed, seconds: u64) {
    let age = |stream: &mut Stream| {
        stream.last_seen = stream.last_seen.saturating_sub(seconds * 1_000_000_000);
        if stream.punted != 0 {
            stream.punted = stream.punted.saturating_sub(seconds * 1_000_000_000);
        }
    };
    filter.change_streams(&age).unwrap();
}

#[test]
fn an_idle_connection_is_forgotten() {
    run("", "", |filter| {
        for who in Addresses::both() {
            check_in_order(filter, &asked(&who));
            wait(filter, 119);
            check_on(filter, &[sent("in time", &who, 0, b"", expect(DnsQuery))]);
            wait(filter, 121);
            check_on(
                filter,
                &[
                    sent("too late", &who, 0, b"", expect(DnsTransport)),
                    came("too late", &who, 0, &framed(&[&answer(&who)]), expect(Unsolicited)),
                ],
            );
        }
    });
}

#[test]
fn an_answer_to_another_question_does_not_pass() {
    run("", "", |filter| {
        for who in Addresses::both() {
            let other = Message::query(0x1234, "push.core.example", kind(who.public));
            let udp = Datagram::new(who.client, who.resolver).udp(PORT, 53, other.octets());
            let wrong = [
                answer(&who).id(1),
                other.answered().address(&QUESTION, 300, who.public),
                // Cased otherwise.
                Message::query(0x1234, "Portal.core.example", kind(who.public))
                    .answered()
                    .address(&QUESTION, 300, who.public),
            ];
            for message in wrong {
                check_in_order(filter, &asked(&who));
                let row = came("wrong", &who, 0, &framed(&[&message]), expect(Unsolicited));
                let sound =
                    came("sound", &who, 0, &framed(&[&answer(&who)]), teaches(&answer(&who)));
                check_on(filter, &[row, sound]);
                filter.forget_addresses().unwrap();
            }
            // What was asked over UDP is not answered over TCP.
            check_in_order(filter, &connected(&who));
            let message = other.answered().address(&QUESTION, 300, who.public);
            check_on(
                filter,
                &[
                    from_client("over UDP", udp.frame(), expect(DnsQuery)),
                    came("over TCP", &who, 0, &framed(&[&message]), expect(Unsolicited)),
                ],
            );
            assert_eq!(addresses(filter), NONE);
        }
    });
}

#[test]
fn exempt_and_audited_clients_and_the_gateway_are_not_held_back() {
    run("", "", |filter| {
        for who in Addresses::both() {
            let from = |source, flags, at: u32, data: &[u8]| {
                let begin = CLIENT.wrapping_add(at);
                let datagram = Datagram::new(source, who.resolver);
                let ack = RESOLVER.wrapping_add(1);
                datagram.segment([PORT, 53], flags, [begin, ack], data).frame()
            };
            let to = |client, flags, at: u32, data: &[u8]| {
                let begin = RESOLVER.wrapping_add(at);
                let ack = CLIENT.wrapping_add(1);
                let datagram = Datagram::new(who.resolver, client);
                datagram.segment([53, PORT], flags, [begin, ack], data).frame()
            };
            let unlisted = framed(&[&Message::query(1, "elsewhere.example", 1)]);
            let (exempt, audited) = (who.exempt, who.audited);
            let flow = || expect(intune_filter_ebpf::abi::Reason::Flow);
            check_in_order(
                filter,
                &[
                    from_client("SYN", from(exempt, Flags::SYN, 0, b""), expect(Exempt)),
                    to_client("SYN ACK", to(exempt, Flags::SYN_ACK, 0, b""), flow()),
                    from_client("data", from(exempt, Flags::ACK, 1, b"x"), flow()),
                    to_client("data", to(exempt, Flags::ACK, 1, b"x"), flow()),
                    from_client("SYN", from(audited, Flags::SYN, 0, b""), expect(DnsQuery)),
                    to_client("SYN ACK", to(audited, Flags::SYN_ACK, 0, b""), expect(DnsAnswer)),
                    from_client(
                        "an unlisted name",
                        from(audited, Flags::ACK, 1, &unlisted),
                        expect(DnsUnlisted).audited(),
                    ),
                    from_client(
                        "nothing",
                        from(audited, Flags::ACK, 1 + unlisted.len() as u32, b"x"),
                        expect(DnsTransport).audited(),
                    ),
                    to_client(
                        "a part",
                        to(audited, Flags::ACK, 1, b"x"),
                        expect(DnsAnswer).partial(),
                    ),
                ],
            );
            let other = Datagram::new(who.gateway, who.client);
            let other = other.segment([53, 9], Flags::ACK, [1, 1], b"x").frame();
            let row = to_client("no client's", other, expect(GatewaySent)).sent_by_gateway();
            check_on(filter, &[row]);
        }
    });
}
