//! DNS over TCP in parts: whole messages of a segment are learned from at once, and of what the kernel
//! cannot read the end waits for userspace.

use intune_filter_ebpf::abi::{
    Occurrence::AnswerUnread,
    Reason::{DnsAnswer, DnsPunted, DnsQuery},
    Stream, StreamRead,
};
use intune_filter_tests::prog_test_run::{
    Addresses, Bed, Fate, Flags, HookPoint, Message, check_in_order, check_on, expect,
    message::QUESTION, site::LAN, state::Event,
};

use crate::{
    run,
    tables::{
        answers::{NONE, addresses, answer, query, teaches},
        streams::{asked, back, came, connected, framed, sent, streams, wait},
    },
};

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
            let answered = |filter: &dyn Bed| {
                let pending = filter.queries().unwrap();
                pending.iter().filter(|(_, pending)| pending.questions[0].answers != 0).count()
            };
            let judge = |filter: &mut dyn Bed, octets: &[u8]| {
                let frame = back(&who, Flags::ACK, 0, octets);
                filter.judge(HookPoint::Egress(LAN), &frame).unwrap()
            };
            assert_eq!(judge(filter, &framed(&all)), Fate::Dropped);
            assert_eq!(answered(filter), 2);
            assert!(filter.events().contains(&Event::Segment));
            assert_eq!(judge(filter, &framed(&all[..2])), Fate::Passed);
        }
    });
}

fn tell(filter: &dyn Bed, read: impl Fn(&Stream) -> StreamRead) {
    for (key, stream) in streams(filter) {
        filter.note_read(&key, read(&stream)).unwrap();
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
                answered: 0,
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
