//! DNS over TCP: connections to resolvers are followed, and whole messages are judged and learned
//! from.

use intune_filter_ebpf::abi::{
    FlowKey, Pending, PendingKey,
    Reason::{
        AnswerUnread, DnsAnswer, DnsMalformed, DnsPunted, DnsQuery, DnsTransport, DnsUnlisted,
        Exempt, GatewaySent, Policy, Unsolicited,
    },
    Stream, StreamRead, V6,
};
use intune_filter_tests::testrun::{
    Addresses, Datagram, Expected, Fate, Filter, Flags, Message, Place, Row, check_in_order,
    check_on, expect, from_client, message::QUESTION, run, site::LAN, state::Event, to_client,
};

use crate::answers::{NONE, WEB, addresses, answer, kind, query, teaches};

const PORT: u16 = 40000;
/// First sequence numbers, both of which wrap on the way.
const CLIENT: u32 = u32::MAX - 20;
const RESOLVER: u32 = u32::MAX - 30;

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

/// A connection with the portal's query on its way.
pub(crate) fn asked(who: &Addresses) -> Vec<Row> {
    let mut rows = connected(who).to_vec();
    rows.push(sent("the query", who, 0, &framed(&[&query(who)]), expect(DnsQuery)));
    rows
}

fn streams(filter: &Filter) -> Vec<(FlowKey<V6>, Stream)> {
    filter.pins().elements("STREAMS").unwrap()
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
                sent("another name", &who, 0, &framed(&[&unlisted]), refused()),
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
                sent("its end alone", &who, 4, &listed[4..], denied()),
            ]);
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
                to_client("for another SYN", other.frame(), expect(DnsAnswer)),
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
fn wait(filter: &Filter, seconds: u64) {
    let age = |stream: &mut Stream| {
        stream.last_seen = stream.last_seen.saturating_sub(seconds * 1_000_000_000);
        if stream.punted != 0 {
            stream.punted = stream.punted.saturating_sub(seconds * 1_000_000_000);
        }
    };
    filter.change::<FlowKey<V6>, Stream>("STREAMS", age).unwrap();
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
fn an_answer_to_another_question_passes_and_teaches_nothing() {
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
                let row = came("wrong", &who, 0, &framed(&[&message]), expect(DnsAnswer));
                check_on(filter, &[row]);
            }
            // What was asked over UDP is not answered over TCP.
            check_in_order(filter, &connected(&who));
            let message = other.answered().address(&QUESTION, 300, who.public);
            check_on(
                filter,
                &[
                    from_client("over UDP", udp.frame(), expect(DnsQuery)),
                    came("over TCP", &who, 0, &framed(&[&message]), expect(DnsAnswer)),
                ],
            );
            assert_eq!(addresses(filter), NONE);
        }
    });
}

#[test]
fn the_end_of_an_answer_in_parts_waits_for_userspace() {
    run("", "", |filter| {
        for who in Addresses::both() {
            let message = answer(&who);
            let data = framed(&[&message]);
            let (passed, held) = (|| expect(DnsAnswer).partial(), || expect(DnsPunted).partial());
            check_in_order(filter, &asked(&who));
            check_on(
                filter,
                &[
                    came("the end, before its turn", &who, 20, &data[20..], held()),
                    came("the beginning", &who, 0, &data[..20], passed()),
                    came("the middle", &who, 20, &data[20..30], passed()),
                    came("the beginning again", &who, 0, &data[..20], passed()),
                    came("the end", &who, 30, &data[30..], held()),
                    came("the end again", &who, 30, &data[30..], held()),
                    came("the last octet", &who, data.len() - 1, &data[data.len() - 1..], held()),
                    came("all but that", &who, 0, &data[..data.len() - 1], passed()),
                    came("an acknowledgment", &who, 0, b"", expect(DnsAnswer)),
                ],
            );
            assert_eq!(addresses(filter), NONE);
            // The resolver sends it whole after all.
            check_on(filter, &[came("in one", &who, 0, &data, teaches(&message))]);
            assert_eq!(addresses(filter), [who.public]);
            let (_, stream) = streams(filter)[0];
            assert_eq!(stream.punted, 0);
        }
    });
}

#[test]
fn a_length_may_be_cut_in_two() {
    run("", "", |filter| {
        for who in Addresses::both() {
            let data = framed(&[&answer(&who)]);
            check_in_order(filter, &asked(&who));
            check_on(
                filter,
                &[
                    came("an octet", &who, 0, &data[..1], expect(DnsAnswer).partial()),
                    came("the rest", &who, 1, &data[1..], expect(DnsPunted).partial()),
                ],
            );
        }
    });
}

#[test]
fn a_whole_answer_before_a_beginning_is_learned() {
    run("", "", |filter| {
        for who in Addresses::both() {
            let (one, two) = (query(&who), query(&who).id(7));
            let first = one.answered().address(&QUESTION, 300, who.public);
            let second = two.answered().address(&QUESTION, 600, who.public);
            let data = framed(&[&first, &second]);
            let whole = framed(&[&first]).len();
            check_in_order(filter, &connected(&who));
            let queries = framed(&[&one, &two]);
            let mixed = teaches(&first).partial();
            check_on(
                filter,
                &[
                    sent("both", &who, 0, &queries, expect(DnsQuery)),
                    came("one and a half", &who, 0, &data[..whole + 30], mixed),
                    came("the rest", &who, whole + 30, &data[whole + 30..], {
                        expect(DnsPunted).partial()
                    }),
                    came("from the second on", &who, whole, &data[whole..], teaches(&second)),
                ],
            );
        }
    });
}

#[test]
fn two_answers_in_one_segment_are_learned_and_of_three_userspace_gets_a_copy() {
    run("", "", |filter| {
        for who in Addresses::both() {
            let queries: Vec<Message> = (0..3).map(|id| query(&who).id(id)).collect();
            let of = |query: &Message| query.answered().address(&QUESTION, 300, who.public);
            let answers: Vec<Message> = queries.iter().map(of).collect();
            let two = framed(&[&queries[0], &queries[1]]);
            let mut rows = connected(&who).to_vec();
            rows.push(sent("two", &who, 0, &two, expect(DnsQuery)));
            rows.push(sent("one", &who, two.len(), &framed(&[&queries[2]]), expect(DnsQuery)));
            check_in_order(filter, &rows);
            let all: Vec<&Message> = answers.iter().collect();
            let answered = |filter: &Filter| {
                let pending = filter.pins().elements::<PendingKey, Pending>("DNS_PENDING").unwrap();
                pending.iter().filter(|(_, pending)| pending.answered != 0).count()
            };
            let judge = |filter: &mut Filter, octets: &[u8]| {
                let frame = back(&who, Flags::ACK, 0, octets);
                filter.judge(Place::Egress(LAN), &frame).unwrap()
            };
            assert_eq!(judge(filter, &framed(&all)), Fate::Dropped);
            assert_eq!(answered(filter), 2);
            assert!(filter.events().contains(&Event::Segment));
            assert_eq!(judge(filter, &framed(&all[..2])), Fate::Passed);
        }
    });
}

fn tell(filter: &Filter, read: impl Fn(&Stream) -> StreamRead) {
    use aya::maps::{HashMap, MapData};
    let mut map: HashMap<MapData, FlowKey<V6>, StreamRead> =
        filter.pins().map("STREAMS_READ").unwrap();
    for (key, stream) in streams(filter) {
        map.insert(key, read(&stream), 0).unwrap();
    }
}

#[test]
fn what_userspace_has_read_passes() {
    run("", "", |filter| {
        for who in Addresses::both() {
            let next = answer(&who);
            let part = || expect(DnsPunted).partial();
            let data = [7; 100];
            check_in_order(filter, &asked(&who));
            check_on(filter, &[came("a part", &who, 60, &data[60..], part())]);
            let read = |stream: &Stream, octets: u32| StreamRead {
                opened: stream.opened,
                answer_next: stream.answer_next.wrapping_add(octets),
                reserved: 0,
            };
            tell(filter, |stream| StreamRead { opened: 1, ..read(stream, 100) });
            check_on(filter, &[came("of another connection", &who, 60, &data[60..], part())]);
            tell(filter, |stream| read(stream, u32::MAX));
            check_on(filter, &[came("backwards", &who, 60, &data[60..], part())]);
            tell(filter, |stream| read(stream, 100));
            check_on(
                filter,
                &[
                    came("the first part", &who, 0, &data[..60], expect(DnsAnswer)),
                    came("the second part", &who, 60, &data[60..], expect(DnsAnswer)),
                    came("all of it", &who, 0, &data, expect(DnsAnswer)),
                    came("what follows", &who, 100, &framed(&[&next]), teaches(&next)),
                ],
            );
        }
    });
}

#[test]
fn a_daemon_that_does_not_read_delays_an_answer_and_no_longer() {
    run("", "", |filter| {
        for who in Addresses::both() {
            let data = framed(&[&answer(&who)]);
            let unread = |part: &[u8]| expect(DnsAnswer).and(AnswerUnread, part.len()).partial();
            check_in_order(filter, &asked(&who));
            let (first, second) = data.split_at(20);
            check_on(
                filter,
                &[
                    came("first", &who, 0, first, expect(DnsAnswer).partial()),
                    came("the rest", &who, 20, second, expect(DnsPunted).partial()),
                ],
            );
            wait(filter, 2);
            check_on(filter, &[came("a second later", &who, 20, second, unread(second))]);
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
                datagram.segment([PORT, 53], flags, [begin, 0], data).frame()
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
