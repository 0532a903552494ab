//! Senders and times of answers: one from a client, from a host of its network, or from a host that
//! was not asked teaches nothing, however well it fits the query.

use std::net::IpAddr;

use intune_filter_ebpf::abi::{
    Occurrence::AnswerConflict,
    Pending,
    Reason::{
        Destination, DnsAnswer, DnsQuery, DnsTransport, Exempt, Policy, Resolver, Source,
        Unsolicited,
    },
};
use intune_filter_tests::prog_test_run::{
    Addresses, Bed, Datagram, Flags, Message, Row, check_in_order, check_on, expect, from_client,
    message::QUESTION, site, to_client,
};

use crate::run;

use super::{AnswerEffect, Transport, answered, begin};
use crate::tables::{
    answers::{NONE, addresses, answer, asked, query, teaches},
    streams::{self, came, framed},
};

/// The client's port, to which a service of the site lets its hosts send.
const PORT: u16 = 40000;
const PEERS: &str = "peers/site";

/// A site whose hosts may send to each other, on the port that the client asks from: through the
/// gateway, as hosts of two networks do. The resolver is a host on eth2, and exempt.
fn install(filter: &mut dyn Bed, more: &str) {
    let services = "services:
  - id: peers
    title: Peers
    cidrs: [10.20.0.0/14, 'fd00:20::/30']
    tcp: [40000]
    udp: [40000]
";
    let config = site::changed_config("", &format!("{services}{more}"), |text| {
        let group = "  - name: resolvers
    on: eth2
    networks: [192.0.2.53/32, '2001:db8:53::53/128']
    services: [core]
    mode: exempt
";
        text.replace("services: [core, time]", "services: [core, time, peers]")
            .replace("services: [other]", "services: [other, peers]")
            .replace("clients:\n", &format!("clients:\n{group}"))
            // Where no route leads to it.
            .replace("{name: eth2}", "{name: eth2, source_check: off}")
    });
    filter.install(&config).expect("the policy goes into the maps");
}

/// The datagram with the answer, from this source.
fn udp(source: IpAddr, who: &Addresses, message: &Message) -> Vec<u8> {
    Datagram::new(source, who.client).udp(53, PORT, message.octets()).frame()
}

/// The client has asked the gateway, which is its resolver.
fn asks_gateway(who: &Addresses) -> Row {
    let frame = Datagram::new(who.client, who.gateway).udp(PORT, 53, query(who).octets()).frame();
    from_client("the query", frame, expect(DnsQuery))
}

#[test]
fn no_host_of_the_clients_network_speaks_for_a_resolver() {
    run("", "", |filter| {
        for more in ["", "unlisted_clients: allow"] {
            install(filter, more);
            for who in Addresses::both() {
                let forged = begin(&who).address(&QUESTION, 300, who.public2);
                let denied = || expect(Source).silent();
                let segment = |source, flags| {
                    let datagram = Datagram::new(source, who.client);
                    datagram.segment([53, PORT], flags, [1, 1], &framed(&[&forged])).frame()
                };
                let mut rows = vec![asked(&who, &query(&who)), asks_gateway(&who)];
                for (what, source) in [("the gateway", who.gateway), ("beyond", who.resolver)] {
                    let row = |frame| from_client(what, frame, denied());
                    rows.extend([
                        row(udp(source, &who, &forged)),
                        row(udp(source, &who, &forged)).on_other(),
                        row(segment(source, Flags::SYN_ACK)),
                        row(segment(source, Flags::ACK)),
                    ]);
                }
                // The resolver is a host of that network: this one may speak for itself.
                let index = rows.len() - 3;
                rows[index].expected = expect(Exempt);
                check_in_order(filter, &rows);
                assert_eq!(addresses(filter), NONE, "{more}");
            }
        }
    });
}

/// The stack would forward such packets all the same, from any network: IPv6 has no martians.
#[test]
fn only_the_gateway_speaks_for_the_gateway() {
    run("", "", |filter| {
        install(filter, "");
        for who in Addresses::both() {
            let forged = begin(&who).address(&QUESTION, 300, who.public2);
            let own = answer(&who);
            check_in_order(
                filter,
                &[
                    asks_gateway(&who),
                    to_client("forwarded", udp(who.gateway, &who, &forged), expect(Unsolicited)),
                    to_client("its own", udp(who.gateway, &who, &own), teaches(&own))
                        .sent_by_gateway(),
                    to_client("its own, forwarded", udp(who.gateway, &who, &own), {
                        expect(Unsolicited)
                    }),
                ],
            );
            assert_eq!(addresses(filter), [who.public]);
        }
    });
}

/// Clients may send to each other, also packets that look like answers: none is trusted.
#[test]
fn a_clients_accomplice_is_no_resolver() {
    run("", "", |filter| {
        install(filter, "");
        for who in Addresses::both() {
            let forged = begin(&who).address(&QUESTION, 300, who.public2);
            let passed = || expect(Policy).rule(PEERS);
            let ask = |server: IpAddr| {
                Datagram::new(who.client, server).udp(PORT, 53, query(&who).octets()).frame()
            };
            let connect = |server: IpAddr| {
                Datagram::new(who.client, server).tcp(PORT, 53, Flags::SYN).frame()
            };
            let mut rows = vec![asked(&who, &query(&who))];
            for (what, source) in [("a neighbour", who.neighbour), ("itself", who.client)] {
                rows.extend([
                    from_client(what, ask(source), expect(Resolver)),
                    from_client(what, connect(source), expect(Resolver)),
                    from_client(what, udp(source, &who, &forged), passed()),
                ]);
            }
            rows.extend([
                from_client("outside", ask(who.foreign_resolver), expect(Resolver)),
                from_client("outside, over TCP", connect(who.foreign_resolver), expect(Resolver)),
                to_client("from outside", udp(who.foreign_resolver, &who, &forged), {
                    expect(Unsolicited)
                }),
                // What was let in by the rule goes out by its flow, which teaches nothing.
                to_client("from the neighbour", udp(who.neighbour, &who, &forged), {
                    expect(Unsolicited)
                }),
                from_client(
                    "to the address",
                    Datagram::new(who.client, who.public2).tcp(1, 443, Flags::SYN).frame(),
                    expect(Destination),
                ),
            ]);
            check_in_order(filter, &rows);
            assert_eq!(addresses(filter), NONE);
        }
    });
}

/// The server of an unlisted name may claim anything about listed ones.
#[test]
fn an_unlisted_name_opens_nothing_by_what_it_leads_to() {
    run(", unlisted: forward", "", |filter| {
        for who in Addresses::both() {
            let portal =
                intune_filter_tests::prog_test_run::message::name(crate::tables::answers::PORTAL);
            let query = Message::query(
                0x1234,
                "attacker.example",
                crate::tables::answers::kind(who.public),
            );
            let message = query.answered().alias(&QUESTION, &portal);
            let message = message.address(&portal, 300, who.public);
            for transport in [Transport::Udp, Transport::Tcp] {
                let case =
                    super::case_of("it", query.clone(), message.clone(), AnswerEffect::Unread);
                assert_eq!(case.faults(filter, &who, transport), [""; 0]);
            }
        }
    });
}

#[test]
fn an_answer_before_its_query_is_none() {
    run("", "", |filter| {
        for who in Addresses::both() {
            let early = begin(&who).address(&QUESTION, 300, who.public2);
            let row =
                |message: &Message, expected| answered(&who, Transport::Tcp, 0, message, expected);
            check_in_order(filter, &streams::connected(&who));
            check_on(
                filter,
                &[
                    row(&early, expect(Unsolicited)),
                    streams::sent("the query", &who, 0, &framed(&[&query(&who)]), {
                        expect(DnsQuery)
                    }),
                    row(&answer(&who), teaches(&answer(&who))),
                    row(&early, expect(DnsAnswer)),
                ],
            );
            assert_eq!(addresses(filter), [who.public]);
            let of = |message| answered(&who, Transport::Udp, 0, message, expect(Unsolicited));
            check_in_order(filter, &[of(&early), asked(&who, &query(&who))]);
            assert_eq!(addresses(filter), NONE);
        }
    });
}

#[test]
fn only_the_first_answer_counts() {
    run("", "", |filter| {
        for who in Addresses::both() {
            for transport in [Transport::Udp, Transport::Tcp] {
                let other = begin(&who).address(&QUESTION, 300, who.public2);
                for (first, outcome) in [
                    (answer(&who), AnswerEffect::Teaches(vec![who.public])),
                    // One that teaches nothing is the first all the same.
                    (begin(&who), AnswerEffect::Nothing),
                    (begin(&who).flags(0x8183), AnswerEffect::Unread),
                    (begin(&who).count(6, 1), AnswerEffect::Malformed),
                ] {
                    let learned = outcome.learned();
                    let case = super::case(&who, "the first", first.clone(), outcome);
                    assert_eq!(case.faults(filter, &who, transport), [""; 0]);
                    let at = framed(&[&first]).len();
                    // On a connection each query has one answer.
                    let reason = if transport == Transport::Tcp { Unsolicited } else { DnsAnswer };
                    let further = [&other, &answer(&who), &begin(&who), &other];
                    for (number, second) in further.into_iter().enumerate() {
                        let mut expected = expect(reason);
                        if number == 0 && transport == Transport::Udp {
                            expected = expected.and(AnswerConflict, second.octets().len());
                        }
                        check_on(filter, &[answered(&who, transport, at, second, expected)]);
                    }
                    assert_eq!(addresses(filter), learned);
                }
            }
        }
    });
}

/// Half a minute.
#[test]
fn an_answer_after_the_wait_is_none() {
    run("", "", |filter| {
        for who in Addresses::both() {
            let message = answer(&who);
            for (seconds, expected) in [(29, teaches(&message)), (31, expect(Unsolicited))] {
                check_in_order(filter, &streams::asked(&who));
                let age = |pending: &mut Pending| pending.asked -= seconds * 1_000_000_000;
                filter.change_queries(&age).unwrap();
                check_on(filter, &[came("it", &who, 0, &framed(&[&message]), expected)]);
            }
            assert_eq!(addresses(filter), [who.public; 0]);
        }
    });
}

/// Over TCP by who is not at the connection's end: another port, host, resolver or place in it.
#[test]
fn a_segment_from_beside_is_no_answer() {
    run("", "", |filter| {
        for who in Addresses::both() {
            let forged = begin(&who).address(&QUESTION, 300, who.public2);
            let data = framed(&[&forged]);
            let from = |source, ports: [u16; 2], client| {
                Datagram::new(source, client).segment(ports, Flags::ACK, [1, 1], &data).frame()
            };
            let other = |what: &str, frame| to_client(what, frame, expect(Unsolicited));
            let mut rows = streams::asked(&who);
            rows.extend([
                other("another port", from(who.resolver, [53, PORT + 1], who.client)),
                other("another client", from(who.resolver, [53, PORT], who.neighbour)),
                other("another resolver", from(who.foreign_resolver, [53, PORT], who.client)),
                other("the other trusted resolver", from(who.gateway, [53, PORT], who.client)),
                other("from another port", from(who.resolver, [54, PORT], who.client)),
                other("elsewhere", from(who.resolver, [53, PORT], who.client)).on_other(),
                to_client(
                    "with a SYN",
                    streams::back(&who, Flags::SYN_ACK, 0, &data),
                    expect(DnsTransport),
                ),
                came("the answer", &who, 0, &framed(&[&answer(&who)]), teaches(&answer(&who))),
            ]);
            check_in_order(filter, &rows);
            assert_eq!(addresses(filter), [who.public]);
        }
    });
}
