//! Targets of service records: what a record in an answer leads to is asked for, by those whose rules
//! the record's name has, and its answers teach, over UDP and TCP.

use intune_filter_ebpf::abi::Reason::{
    Destination, DnsAnswer, DnsQuery, DnsUnlisted, Policy, Port,
};
use intune_filter_tests::prog_test_run::{
    Addresses, Datagram, Expected, Flags, Message, Row, check_in_order, check_on, expect,
    from_client,
    message::{A, AAAA, QUESTION, Section, name},
    to_client,
};

use super::{
    answers::{PORTAL, WEB, addresses, answered, asked, kind, targets, teaches},
    queries::ask,
    streams::{came, connected, framed, sent},
};
use crate::run;

const SVCB: u16 = 64;
const HTTPS: u16 = 65;
const TXT: u16 = 16;
/// Name of no rule.
const TARGET: &str = "edge.example.net";

/// The question for the portal's services, and the answer that leads to the target.
fn led() -> (Message, Message) {
    let query = Message::query(0x1234, PORTAL, HTTPS);
    let data = [&[0, 1][..], &name("Edge.EXAMPLE.net")].concat();
    let answer = query.answered().record(Section::Answer, &QUESTION, HTTPS, 300, &data);
    (query, answer)
}

/// The question for the target's address, and its answer.
fn reached(who: &Addresses) -> (Message, Message) {
    let query = Message::query(7, TARGET, kind(who.public));
    let answer = query.answered().address(&QUESTION, 300, who.public);
    (query, answer)
}

fn no_name() -> Expected {
    expect(DnsUnlisted).no_name()
}

#[test]
fn a_target_is_asked_for_and_its_answers_teach() {
    run("", "", |filter| {
        for who in Addresses::both() {
            let question = |what: &str, client, kind, name: &str, expected| {
                let frame = ask(client, who.resolver, &Message::query(9, name, kind));
                from_client(format!("{what}: {name}, type {kind}"), frame, expected)
            };
            let connect = |what: &str, port, expected| {
                let frame = Datagram::new(who.client, who.public).tcp(port, port, Flags::SYN);
                from_client(what, frame.frame(), expected)
            };
            let (query, answer) = led();
            let mut rows = vec![
                question("before", who.client, A, TARGET, no_name()),
                asked(&who, &query),
                to_client("leads on", answered(&who, &answer).frame(), teaches(&answer)),
            ];
            for kind in [A, AAAA, SVCB, HTTPS] {
                for client in [who.client, who.neighbour] {
                    rows.push(question("behind", client, kind, TARGET, expect(DnsQuery)));
                }
                rows.push(question("in case", who.client, kind, "eDGE.eXample.NET", {
                    expect(DnsQuery)
                }));
                rows.push(question("of others", who.other, kind, TARGET, no_name()).on_other());
            }
            rows.push(question("another type", who.client, TXT, TARGET, no_name()));
            for other in ["example.net", "x.edge.example.net", "edge.example.com", "edge.example"] {
                rows.push(question("beside", who.client, A, other, no_name()));
            }
            let (query, answer) = reached(&who);
            rows.extend([
                connect("too early", 443, expect(Destination)),
                asked(&who, &query),
                to_client("its address", answered(&who, &answer).frame(), teaches(&answer)),
                connect("now", 443, expect(Policy).rule(WEB).by_name()),
                connect("another port", 444, expect(Port).rule(WEB)),
            ]);
            check_in_order(filter, &rows);
            assert_eq!((addresses(filter), targets(filter)), (vec![who.public], 1));
        }
    });
}

#[test]
fn a_target_is_asked_for_on_the_connection_that_led_to_it() {
    run("", "", |filter| {
        for who in Addresses::both() {
            let ((first, leads), (second, teaching)) = (led(), reached(&who));
            let queries = [&first, &second].map(|query| framed(&[query]));
            let answers = [&leads, &teaching].map(|answer| framed(&[answer]));
            let rows: Vec<Row> = connected(&who)
                .into_iter()
                .chain([
                    sent("the first query", &who, 0, &queries[0], expect(DnsQuery)),
                    came("leads on", &who, 0, &answers[0], teaches(&leads)),
                    sent("the second", &who, queries[0].len(), &queries[1], expect(DnsQuery)),
                    came("its address", &who, answers[0].len(), &answers[1], teaches(&teaching)),
                ])
                .collect();
            check_in_order(filter, &rows);
            check_on(filter, &[came("again", &who, 0, &answers[0], expect(DnsAnswer))]);
            assert_eq!((addresses(filter), targets(filter)), (vec![who.public], 1));
        }
    });
}
