//! Answers that no honest resolver sends, and some odd ones that one may: what each teaches, over
//! UDP and TCP. What is expected is what the RFCs say, which each table names.

mod addresses;
mod chains;
mod hints;
mod lengths;
mod messages;
mod names;
mod senders;

use std::net::IpAddr;

use intune_filter_ebpf::abi::{
    Occurrence::{
        AnswerCut, AnswerDeferred, AnswerMalformed, AnswerRefused, Learned, NothingLearned,
    },
    Reason::{DnsAnswer, DnsQuery, Unsolicited},
};
use intune_filter_tests::prog_test_run::{
    Addresses, Bed, Datagram, Expected, Message, Row, expect, from_client, message::QUESTION,
    to_client,
};

use crate::{
    run_once,
    tables::{
        answers::{self, addresses, query},
        streams::{came, connected, framed, sent},
    },
};

/// Transport of an answer to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Transport {
    Udp,
    Tcp,
}

/// Effect of an answer.
#[derive(Clone, Debug)]
enum AnswerEffect {
    /// It teaches these addresses and no others.
    Teaches(Vec<IpAddr>),
    /// It teaches a target and these addresses.
    Leads(Vec<IpAddr>),
    /// It teaches these addresses, and leaves others to userspace.
    Deferred(Vec<IpAddr>),
    /// It teaches these addresses, and others are refused.
    Refused(Vec<IpAddr>),
    /// It parses, and has no address for the name.
    Nothing,
    /// It has more than is read, of which it teaches the first; with several of them, some are left to
    /// userspace.
    Cut(Vec<IpAddr>),
    /// It does not parse to the end of its answer section.
    Malformed,
    /// It is an answer to the query, but none that is read.
    Unread,
    /// It is no answer to the query: it does not pass, and the true answer is still waited for.
    Foreign,
}

use AnswerEffect::{Cut, Deferred, Foreign, Leads, Malformed, Nothing, Refused, Teaches, Unread};

/// A query, the answer to it, and what becomes of that.
struct Case {
    what: String,
    query: Message,
    answer: Message,
    outcome: AnswerEffect,
    transports: &'static [Transport],
}

/// An answer to the query for the portal's addresses.
fn case(who: &Addresses, what: impl Into<String>, answer: Message, outcome: AnswerEffect) -> Case {
    case_of(what, query(who), answer, outcome)
}

/// An answer to another query.
fn case_of(
    what: impl Into<String>,
    query: Message,
    answer: Message,
    outcome: AnswerEffect,
) -> Case {
    let transports = &[Transport::Udp, Transport::Tcp];
    Case { what: what.into(), query, answer, outcome, transports }
}

/// The beginning of an answer to the query for the portal's addresses.
fn begin(who: &Addresses) -> Message {
    query(who).answered()
}

impl AnswerEffect {
    fn expected(&self, length: usize) -> Expected {
        let answer = expect(DnsAnswer);
        match self {
            Teaches(_) | Leads(_) => answer.and(Learned, length),
            Deferred(_) => answer.and(Learned, length).and(AnswerDeferred, length),
            Cut(learned) if learned.is_empty() => {
                answer.and(AnswerCut, length).and(NothingLearned, length)
            }
            Cut(learned) if learned.len() == 1 => {
                answer.and(Learned, length).and(AnswerCut, length)
            }
            Cut(_) => {
                answer.and(Learned, length).and(AnswerDeferred, length).and(AnswerCut, length)
            }
            Refused(learned) if learned.is_empty() => {
                answer.and(AnswerRefused, length).and(NothingLearned, length)
            }
            Refused(_) => answer.and(AnswerRefused, length).and(Learned, length),
            Nothing => answer.and(NothingLearned, length),
            Malformed => answer.and(AnswerMalformed, length),
            Unread => answer,
            Foreign => expect(Unsolicited),
        }
    }

    fn learned(&self) -> Vec<IpAddr> {
        match self {
            Teaches(learned) | Leads(learned) | Deferred(learned) | Cut(learned)
            | Refused(learned) => {
                let mut learned = learned.clone();
                learned.sort();
                learned
            }
            Nothing | Malformed | Unread | Foreign => Vec::new(),
        }
    }
}

/// Cases that belong together: their name, and those of a family.
type Table = (&'static str, fn(&Addresses) -> Vec<Case>);

impl Case {
    /// The case over UDP alone: on a connection a message has at least a header.
    fn over_udp(self) -> Self {
        Self { transports: &[Transport::Udp], ..self }
    }

    /// Differences from the expected result.
    fn faults(&self, filter: &mut dyn Bed, who: &Addresses, transport: Transport) -> Vec<String> {
        filter.forget_addresses().expect("the maps can be emptied");
        filter.forget_streams().expect("the maps can be emptied");
        for row in self.asked(who, transport) {
            filter.judge(row.point, &row.frame).expect("the kernel takes the frame");
        }
        filter.events();
        let length = self.answer.octets().len();
        let expected = self.outcome.expected(length);
        let mut faults = differences(filter, &answered(who, transport, 0, &self.answer, expected));
        let learned = addresses(filter);
        if learned != self.outcome.learned() {
            faults.push(format!("learned {learned:?}, expected {:?}", self.outcome));
        }
        let targets = answers::targets(filter);
        if targets != usize::from(matches!(self.outcome, Leads(_))) {
            faults.push(format!("learned {targets} targets, expected {:?}", self.outcome));
        }
        if matches!(self.outcome, Foreign) {
            let sound = self.query.answered().address(&QUESTION, 300, who.public);
            let expected = Teaches(vec![who.public]).expected(sound.octets().len());
            let found = differences(filter, &answered(who, transport, 0, &sound, expected));
            faults.extend(found.into_iter().map(|fault| format!("the true answer: {fault}")));
        }
        faults
    }

    fn asked(&self, who: &Addresses, transport: Transport) -> Vec<Row> {
        if transport == Transport::Tcp {
            let mut rows = connected(who).to_vec();
            rows.push(sent("the query", who, 0, &framed(&[&self.query]), expect(DnsQuery)));
            return rows;
        }
        let datagram = Datagram::new(who.client, who.resolver);
        let frame = datagram.udp(40000, 53, self.query.octets()).frame();
        vec![from_client("the query", frame, expect(DnsQuery))]
    }
}

/// An answer, `at` octets after the connection's first.
fn answered(
    who: &Addresses,
    transport: Transport,
    at: usize,
    message: &Message,
    expected: Expected,
) -> Row {
    match transport {
        Transport::Tcp => came("an answer", who, at, &framed(&[message]), expected),
        Transport::Udp => to_client("an answer", answers::answered(who, message).frame(), expected),
    }
}

/// Has a row judged, and says what is not as expected.
fn differences(filter: &mut dyn Bed, row: &Row) -> Vec<String> {
    let found = row.observe(filter).expect("the kernel takes the frame");
    let pairs = found.into_iter().zip(row.prediction());
    let wrong = pairs.filter(|(found, expected)| found != expected);
    wrong.map(|(found, expected)| format!("{found:?}, expected {expected:?}")).collect()
}

/// Checks every case of the tables in both families, with further keys of the site's `dns`. What
/// comes in are queries that all programs judge alike: it is done for one of them.
fn check_tables(dns: &str, tables: &[Table]) {
    run_once(dns, "", |filter| {
        let mut report = String::new();
        for who in Addresses::both() {
            for (table, cases) in tables {
                for case in cases(&who) {
                    for transport in case.transports {
                        for fault in case.faults(filter, &who, *transport) {
                            let (family, what) = (who.family(), &case.what);
                            report +=
                                &format!("{table}, {what}, {family}, {transport:?}: {fault}\n");
                        }
                    }
                }
            }
        }
        assert!(report.is_empty(), "answers that are not as expected:\n{report}");
    });
}
