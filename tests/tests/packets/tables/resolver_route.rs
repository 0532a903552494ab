//! A resolver's answers by the device that they come in by: one that a route to the resolver leads out
//! of, or they teach nothing.

use intune_filter_ebpf::abi::Reason::{
    AnswerInterface, DnsAnswer, DnsQuery, Exempt, GatewaySent, Unsolicited,
};
use intune_filter_tests::prog_test_run::{
    Addresses, Datagram, Flags, Row, check_in_order, expect, from_client,
    site::{LAN, OTHER, VLAN_DEVICE, changed_config},
    to_client,
};

use super::{
    answers::{NONE, addresses, answer, answered, asked, query, teaches},
    streams::{back, came, connected, framed, sent},
};
use crate::run;

/// Devices by which no resolver beyond the gateway is reached: the client's own, another filtered
/// one, that of another zone.
const ELSEWHERE: [&str; 3] = [LAN, OTHER, VLAN_DEVICE];

fn forged(who: &Addresses, device: &'static str) -> Row {
    let frame = answered(who, &answer(who)).frame();
    to_client(format!("by {device}"), frame, expect(AnswerInterface)).came_by(device)
}

#[test]
fn an_answer_comes_from_where_its_resolver_is() {
    run("", "", |filter| {
        for who in Addresses::both() {
            let message = answer(&who);
            let mut rows = vec![asked(&who, &query(&who))];
            rows.extend(ELSEWHERE.map(|device| forged(&who, device)));
            check_in_order(filter, &rows);
            assert_eq!(addresses(filter), NONE);
            let own =
                to_client("the true one", answered(&who, &message).frame(), teaches(&message));
            check_in_order(filter, &[asked(&who, &query(&who)), forged(&who, OTHER), own]);
            assert_eq!(addresses(filter), [who.public]);
        }
    });
}

/// Over TCP nothing of a connection comes from elsewhere either.
#[test]
fn a_connection_to_a_resolver_has_its_answers_from_there() {
    run("", "", |filter| {
        for who in Addresses::both() {
            let message = answer(&who);
            let data = framed(&[&message]);
            let agreed = back(&who, Flags::SYN_ACK, 0, b"");
            let forged = |what: &str, frame: &Vec<u8>| {
                to_client(what, frame.clone(), expect(AnswerInterface)).came_by(OTHER)
            };
            let [syn, syn_ack, ack] = connected(&who);
            check_in_order(
                filter,
                &[
                    syn,
                    forged("a forged agreement", &agreed),
                    syn_ack,
                    ack,
                    sent("the query", &who, 0, &framed(&[&query(&who)]), expect(DnsQuery)),
                    forged("a forged answer", &back(&who, Flags::ACK, 0, &data)),
                    came("the answer", &who, 0, &data, teaches(&message)),
                ],
            );
            assert_eq!(addresses(filter), [who.public]);
        }
    });
}

#[test]
fn who_is_not_judged_hears_what_comes_and_nothing_is_learned() {
    run("", "", |filter| {
        for who in Addresses::both() {
            let message = answer(&who);
            let ask =
                |client| Datagram::new(client, who.resolver).udp(40000, 53, query(&who).octets());
            let to = |client| Datagram::new(who.resolver, client).udp(53, 40000, message.octets());
            let audited = expect(AnswerInterface).audited();
            check_in_order(
                filter,
                &[
                    from_client("exempt", ask(who.exempt).frame(), expect(DnsQuery)),
                    to_client("to it", to(who.exempt).frame(), expect(Exempt)).came_by(OTHER),
                    from_client("audited", ask(who.audited).frame(), expect(DnsQuery)),
                    to_client("to it", to(who.audited).frame(), audited).came_by(OTHER),
                ],
            );
            assert_eq!(addresses(filter), NONE);
        }
    });
}

#[test]
fn what_the_gateway_sends_has_come_by_no_device() {
    run("", "", |filter| {
        for who in Addresses::both() {
            let message = answer(&who);
            let own = to_client("it", answered(&who, &message).frame(), teaches(&message));
            let again = to_client("again", answered(&who, &message).frame(), expect(DnsAnswer));
            check_in_order(
                filter,
                &[asked(&who, &query(&who)), own.sent_by_gateway(), again.sent_by_gateway()],
            );
            let other = Datagram::new(who.resolver, who.client).udp(53, 40001, message.octets());
            let row = to_client("unasked", other.frame(), expect(GatewaySent)).sent_by_gateway();
            check_in_order(filter, &[row]);
        }
    });
}

/// Where the configuration names the interfaces, routes are not asked.
#[test]
fn an_answer_comes_by_the_interfaces_that_the_configuration_names() {
    run("", "", |filter| {
        let named = |text: String| {
            Addresses::both().iter().fold(text, |text, who| {
                let address = who.resolver.to_string();
                let quoted = format!("'{address}'");
                let quoted = if text.contains(&quoted) { quoted } else { address };
                text.replacen(&quoted, &format!("{{address: {quoted}, via: [{OTHER}]}}"), 1)
            })
        };
        filter.install(&changed_config("", "", named)).unwrap();
        for who in Addresses::both() {
            let message = answer(&who);
            let it = |expected| to_client("it", answered(&who, &message).frame(), expected);
            check_in_order(
                filter,
                &[
                    asked(&who, &query(&who)),
                    it(expect(AnswerInterface)),
                    it(expect(AnswerInterface)).came_by(LAN),
                    it(teaches(&message)).came_by(OTHER),
                ],
            );
            assert_eq!(addresses(filter), [who.public]);
        }
    });
}

/// A resolver in a container: queries to the gateway are handed to it by a DNAT rule, and its answers come
/// forwarded in the gateway's name. Without the name of its bridge they would be anybody's.
#[test]
fn answers_in_the_gateways_name_are_forwarded_by_the_named_interface_alone() {
    for (via, from_there, from_elsewhere) in [
        (format!(", via: [{OTHER}]"), None, AnswerInterface),
        (String::new(), Some(Unsolicited), Unsolicited),
    ] {
        run("", "", |filter| {
            let own = |text: String| {
                let (before, resolvers) = text.split_once("resolvers:").unwrap();
                if via.is_empty() {
                    return text.clone();
                }
                let named = Addresses::both().iter().fold(resolvers.to_owned(), |text, who| {
                    let address = who.gateway.to_string();
                    let quoted = format!("'{address}'");
                    let quoted = if text.contains(&quoted) { quoted } else { address };
                    text.replacen(&quoted, &format!("{{address: {quoted}{via}}}"), 1)
                });
                format!("{before}resolvers:{named}")
            };
            filter.install(&changed_config("", "", own)).unwrap();
            for mut who in Addresses::both() {
                who.resolver = who.gateway;
                let message = answer(&who);
                let it = |expected| to_client("it", answered(&who, &message).frame(), expected);
                let named = from_there.map_or_else(|| teaches(&message), expect);
                check_in_order(
                    filter,
                    &[
                        asked(&who, &query(&who)),
                        it(expect(from_elsewhere)),
                        it(expect(from_elsewhere)).came_by(LAN),
                        it(named).came_by(OTHER),
                    ],
                );
                let learned = if from_there.is_none() { vec![who.public] } else { vec![] };
                assert_eq!(addresses(filter), learned);
            }
        });
    }
}
