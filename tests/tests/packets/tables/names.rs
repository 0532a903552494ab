//! Denied queries are told of with what they ask for, and answers that teach nothing are told of too.

use std::net::IpAddr;

use intune_filter_ebpf::abi::{EventKind, QueryEvent, QueryHead, Reason};
use intune_filter_tests::prog_test_run::{
    Addresses, Bed, Datagram, HookPoint, Message,
    message::{AAAA, QUESTION, name},
    state::{Event, now},
};

use super::answers::{PORTAL, answered, kind};
use crate::run;

const INGRESS: HookPoint = HookPoint::Ingress("eth1");
const EGRESS: HookPoint = HookPoint::Egress("eth1");
/// In the case in which it is asked for.
const UNLISTED: &str = "A.Unlisted.Example";

/// The records that a frame makes, less those of flows.
fn told(filter: &mut dyn Bed, point: HookPoint, datagram: &Datagram) -> Vec<Event> {
    filter.judge(point, &datagram.frame()).unwrap();
    let mut events = filter.events();
    events.retain(|event| !matches!(event, Event::Flow(_)));
    events
}

fn ask(client: IpAddr, resolver: IpAddr, message: &Message) -> Datagram {
    Datagram::new(client, resolver).udp(40000, 53, message.octets())
}

#[test]
fn a_denied_query_is_told_of_with_its_question() {
    run("", "", |filter| {
        let group = |name| u16::from(filter.group(name));
        let (lan, audited) = (group("lan"), group("audited"));
        let longest =
            [[b'a'; 63].as_slice(); 4].map(|label| String::from_utf8(label.into()).unwrap());
        let longest = format!("{}.{}.{}.{}", longest[0], longest[1], longest[2], &longest[3][..61]);
        for who in Addresses::both() {
            for asked in [UNLISTED, &longest] {
                for (client, group, is_audited) in [(who.client, lan, 0), (who.audited, audited, 1)]
                {
                    let started = now().unwrap();
                    let query = ask(client, who.resolver, &Message::query(7, asked, AAAA));
                    filter.clear().unwrap();
                    let events = told(filter, INGRESS, &query);
                    let [Event::Query(QueryEvent { head, question })] = events[..] else {
                        panic!("{events:?}")
                    };
                    let expected = QueryHead {
                        kind: EventKind::Query as u32,
                        zone: 1,
                        group,
                        time: head.time,
                        client: client.into(),
                        resolver: who.resolver.into(),
                        client_port: 40000_u16.to_be(),
                        protocol: 17,
                        reason: Reason::DnsUnlisted as u8,
                        audited: is_audited,
                        reserved: [0; 3],
                    };
                    assert_eq!(head, expected);
                    assert!(started <= head.time && head.time <= now().unwrap());
                    let wire = [name(asked), AAAA.to_be_bytes().into(), [0, 1].into()].concat();
                    assert_eq!(question[..wire.len()], wire, "{asked}");
                }
            }
        }
    });
}

#[test]
fn a_query_without_a_question_is_told_of_as_a_packet() {
    run("", "", |filter| {
        for who in Addresses::both() {
            let cut = Message::query(7, UNLISTED, AAAA).cut(16);
            filter.clear().unwrap();
            let events = told(filter, INGRESS, &ask(who.client, who.resolver, &cut));
            let [Event::Denied(event)] = events[..] else { panic!("{events:?}") };
            assert_eq!(event.reason, Reason::DnsMalformed as u8);
        }
    });
}

#[test]
fn an_answer_that_teaches_nothing_is_told_of_and_no_other() {
    run(", unlisted: forward", "", |filter| {
        for who in Addresses::both() {
            // Unlisted, with an address; listed, with one that is refused.
            for (asked, address, expected) in [
                (UNLISTED, Some(who.public), "Untaught"),
                (UNLISTED, None, ""),
                (PORTAL, Some(who.public), "Answer"),
                (PORTAL, Some(who.client), "Untaught"),
                (PORTAL, None, ""),
            ] {
                let query = Message::query(7, asked, kind(who.public));
                filter.clear().unwrap();
                assert!(told(filter, INGRESS, &ask(who.client, who.resolver, &query)).is_empty());
                let mut answer = query.answered();
                if let Some(address) = address {
                    answer = answer.address(&QUESTION, 300, address);
                }
                let events = told(filter, EGRESS, &answered(&who, &answer));
                let kinds: Vec<String> = events.iter().map(|one| format!("{one:?}")).collect();
                assert_eq!(kinds.join(" "), expected, "{asked} {address:?}");
                // Nobody has asked for it any more.
                let again = told(filter, EGRESS, &answered(&who, &answer));
                assert!(again.is_empty(), "{again:?}");
            }
        }
    });
}
