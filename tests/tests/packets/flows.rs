//! Flows: opened, answered, revoked, expired; and the return path that they make.

use intune_filter_ebpf::abi::{
    Flow, FlowKey,
    Reason::{
        self, Destination, Exempt, Expired, Inbound, Policy, Port, Service, UnlistedAllowed,
        Unsolicited, VlanTag,
    },
    V4, V6,
};
use intune_filter_tests::testrun::{
    Addresses, Datagram, Expected, Filter, Flags, Place, Row, both, check, check_in_order,
    check_on,
    datagram::{SERVICE_TAG, TAG},
    expect, from_client, run,
    site::{VLAN, changed_config, config},
    state::now,
    to_client,
};

const WEB: &str = "core/web";
const SECOND: u64 = 1_000_000_000;

fn out(who: &Addresses, flags: Flags) -> Vec<u8> {
    Datagram::new(who.client, who.web).tcp(40000, 443, flags).frame()
}

fn back(who: &Addresses, flags: Flags) -> Vec<u8> {
    Datagram::new(who.web, who.client).tcp(443, 40000, flags).frame()
}

fn opened() -> Expected {
    expect(Policy).rule(WEB)
}

fn known() -> Expected {
    expect(Reason::Flow).rule(WEB)
}

/// Every flow of a map, in both families.
fn flows(filter: &Filter, map: &str) -> Vec<Flow> {
    let four = filter.pins().elements::<FlowKey<V4>, Flow>(&format!("{map}4")).unwrap();
    let six = filter.pins().elements::<FlowKey<V6>, Flow>(&format!("{map}6")).unwrap();
    four.into_iter().map(|(_, flow)| flow).chain(six.into_iter().map(|(_, flow)| flow)).collect()
}

fn change_flows(filter: &Filter, change: impl Fn(&mut Flow)) {
    for map in ["FLOWS4", "NEW_FLOWS4"] {
        filter.change::<FlowKey<V4>, Flow>(map, &change).unwrap();
    }
    for map in ["FLOWS6", "NEW_FLOWS6"] {
        filter.change::<FlowKey<V6>, Flow>(map, &change).unwrap();
    }
}

/// Makes all flows look as if they had been silent for a time.
fn rest(filter: &Filter, seconds: u64) {
    let then = now().unwrap() - seconds * SECOND;
    change_flows(filter, |flow| flow.last_seen = then);
}

#[test]
fn a_flow_is_opened_answered_and_known() {
    run("", "", |filter| {
        for who in Addresses::both() {
            check_in_order(
                filter,
                &[
                    to_client("before", back(&who, Flags::SYN_ACK), expect(Unsolicited)),
                    from_client("SYN", out(&who, Flags::SYN), opened()),
                    from_client("SYN again", out(&who, Flags::SYN), known()),
                ],
            );
            assert_eq!((flows(filter, "NEW_FLOWS").len(), flows(filter, "FLOWS").len()), (1, 0));
            check_on(filter, &[to_client("SYN ACK", back(&who, Flags::SYN_ACK), known())]);
            assert_eq!((flows(filter, "NEW_FLOWS").len(), flows(filter, "FLOWS").len()), (0, 1));
            check_on(
                filter,
                &[
                    from_client("ACK", out(&who, Flags::ACK), known()),
                    to_client("data", back(&who, Flags::ACK), known()),
                ],
            );
            let flow = flows(filter, "FLOWS")[0];
            let length = (out(&who, Flags::ACK).len() - 14) as u64;
            assert_eq!((flow.client_packets, flow.client_bytes), (3, 3 * length));
            assert_eq!((flow.remote_packets, flow.remote_bytes), (2, 2 * length));
            assert_eq!(flow.rule, filter.rule(WEB));
            assert_eq!(flow.group, u16::from(filter.group("lan")));
            assert!(flow.opened <= flow.last_seen && flow.last_seen <= now().unwrap());
        }
    });
}

/// What differs from a known flow in anything is none of it.
fn strangers(who: &Addresses) -> Vec<Row> {
    let from = |source, destination| Datagram::new(source, destination);
    let row =
        |what: &str, datagram: Datagram| to_client(what, datagram.frame(), expect(Unsolicited));
    vec![
        row("another remote", from(who.public, who.client).tcp(443, 40000, Flags::ACK)),
        row("another of its ports", from(who.web, who.client).tcp(80, 40000, Flags::ACK)),
        row("another of the client's", from(who.web, who.client).tcp(443, 40001, Flags::ACK)),
        row("another client", from(who.web, who.neighbour).tcp(443, 40000, Flags::ACK)),
        row("another protocol", from(who.web, who.client).udp(443, 40000, b"x")),
        row("in the VLAN", from(who.web, who.client).tag(TAG, VLAN).tcp(443, 40000, Flags::ACK)),
        row("elsewhere", from(who.web, who.client).tcp(443, 40000, Flags::ACK)).on_other(),
        row("turned around", from(who.client, who.web).tcp(40000, 443, Flags::ACK)),
    ]
}

#[test]
fn nothing_else_comes_back() {
    run("", "", |filter| {
        for who in Addresses::both() {
            let mut rows = vec![
                from_client("SYN", out(&who, Flags::SYN), opened()),
                to_client("SYN ACK", back(&who, Flags::SYN_ACK), known()),
            ];
            rows.extend(strangers(&who));
            rows.push(to_client("its own", back(&who, Flags::ACK), known()));
            check_in_order(filter, &rows);
        }
    });
}

#[test]
fn a_vlan_in_a_vlan_gets_nothing() {
    run("", "", |filter| {
        let rows = both(|who| {
            let frame = Datagram::new(who.web, who.client).tag(SERVICE_TAG, VLAN).tag(TAG, 30);
            let frame = frame.tcp(443, 40000, Flags::ACK).frame();
            vec![
                to_client("forwarded", frame.clone(), expect(VlanTag)),
                to_client("sent", frame, expect(Reason::GatewaySent)).sent_by_gateway(),
            ]
        });
        check(filter, &rows);
    });
}

#[test]
fn udp_and_echoes_have_flows_too() {
    run("", "", |filter| {
        for who in Addresses::both() {
            let ask = Datagram::new(who.client, who.ntp);
            let answer = Datagram::new(who.ntp, who.client);
            let ntp = || expect(Reason::Flow).rule("time/ntp");
            check_in_order(
                filter,
                &[
                    from_client("UDP", ask.clone().udp(123, 123, b"x").frame(), {
                        expect(Policy).rule("time/ntp")
                    }),
                    to_client("its answer", answer.clone().udp(123, 123, b"x").frame(), ntp()),
                    from_client("more", ask.clone().udp(123, 123, b"x").frame(), ntp()),
                ],
            );
            let (timestamp, wrong) = if who.client.is_ipv4() { (13, 14) } else { (139, 140) };
            let other = |kind| answer.clone().icmp(kind, 0, [0, 7, 0, 1], &[0; 12]).frame();
            check_in_order(
                filter,
                &[
                    to_client("unasked", answer.clone().echo_reply(7).frame(), expect(Unsolicited)),
                    from_client("echo", ask.clone().echo_request(7).frame(), {
                        expect(Policy).rule("time/ntp")
                    }),
                    to_client("its reply", answer.clone().echo_reply(7).frame(), ntp()),
                    from_client("again", ask.echo_request(7).frame(), ntp()),
                    to_client("another", answer.clone().echo_reply(8).frame(), expect(Unsolicited)),
                    to_client("no echo", other(timestamp), expect(Unsolicited)),
                    to_client("its answer", other(wrong), expect(Unsolicited)),
                ],
            );
        }
    });
}

#[test]
fn groups_without_verdicts_have_a_return_path() {
    run("", "", |filter| {
        for who in Addresses::both() {
            let row = |client, what: &str, reason: Reason| {
                let ask = Datagram::new(client, who.public).tcp(40000, 22, Flags::SYN).frame();
                let answer = Datagram::new(who.public, client).tcp(22, 40000, Flags::ACK).frame();
                let (first, then) = match reason {
                    Destination => (expect(reason).audited(), expect(Reason::Flow).audited()),
                    _ => (expect(reason), expect(Reason::Flow)),
                };
                [
                    from_client(what, ask.clone(), first),
                    to_client(what, answer.clone(), then.clone()),
                    from_client(what, ask, then.clone()),
                    to_client(what, answer, then),
                ]
            };
            check_in_order(filter, &row(who.audited, "audited", Destination));
            check_in_order(filter, &row(who.exempt, "exempt", Exempt));
        }
    });
    run("", "unlisted_clients: allow", |filter| {
        for who in Addresses::both() {
            let ask = Datagram::new(who.unlisted, who.public).tcp(40000, 22, Flags::SYN);
            let answer = Datagram::new(who.public, who.unlisted);
            let answer = answer.tcp(22, 40000, Flags::ACK).frame();
            check_in_order(
                filter,
                &[
                    to_client("unasked", answer.clone(), expect(UnlistedAllowed)),
                    from_client("unlisted", ask.frame(), expect(UnlistedAllowed)),
                    to_client("its answer", answer, expect(Reason::Flow)),
                ],
            );
        }
    });
}

#[test]
fn packets_to_clients_answer_something_unless_the_group_lets_them_in() {
    run("", "", |filter| {
        for who in Addresses::both() {
            let to = |client| Datagram::new(who.public, client);
            let rows = [
                to_client("enforced", to(who.client).tcp(1, 22, Flags::SYN).frame(), {
                    expect(Unsolicited)
                }),
                to_client("unlisted", to(who.unlisted).tcp(1, 22, Flags::SYN).frame(), {
                    expect(Unsolicited)
                }),
                to_client("audited", to(who.audited).tcp(1, 22, Flags::SYN).frame(), {
                    expect(Unsolicited).audited()
                }),
                to_client("exempt", to(who.exempt).tcp(1, 22, Flags::SYN).frame(), expect(Exempt)),
                to_client("let in", to(who.server).tcp(1, 22, Flags::SYN).frame(), expect(Inbound)),
                to_client("let in", to(who.server).udp(1, 22, b"x").frame(), expect(Inbound)),
                to_client("let in", to(who.server).echo_request(1).frame(), expect(Inbound)),
                to_client("let in", to(who.server).raw(47, &[0; 8]).frame(), expect(Inbound)),
                to_client(
                    "let in, from port 53",
                    to(who.server).udp(53, 40000, b"x").frame(),
                    expect(Inbound),
                ),
            ];
            check(filter, &rows);
        }
    });
}

#[test]
fn what_was_let_in_is_answered() {
    run("", "", |filter| {
        for who in Addresses::both() {
            let ask = |flags| Datagram::new(who.public, who.server).tcp(999, 22, flags).frame();
            let answer =
                |port, flags| Datagram::new(who.server, who.public).tcp(port, 999, flags).frame();
            let flow = || expect(Reason::Flow);
            check_in_order(
                filter,
                &[
                    from_client("nothing yet", answer(22, Flags::SYN_ACK), expect(Destination)),
                    to_client("SYN", ask(Flags::SYN), expect(Inbound)),
                    from_client("SYN ACK", answer(22, Flags::SYN_ACK), flow()),
                    to_client("ACK", ask(Flags::ACK), flow()),
                    from_client("data", answer(22, Flags::ACK), flow()),
                    from_client("from another port", answer(23, Flags::ACK), expect(Destination)),
                ],
            );
            assert_eq!(flows(filter, "FLOWS").len(), 1);
            let closed = changed_config("", "", |text| text.replace("inbound: allow", ""));
            filter.install(&closed).unwrap();
            check_on(
                filter,
                &[
                    from_client("no longer answered", answer(22, Flags::ACK), expect(Destination)),
                    to_client("no longer let in", ask(Flags::ACK), expect(Unsolicited)),
                ],
            );
            filter.install(&config("", "")).unwrap();
        }
    });
}

#[test]
fn a_reload_keeps_the_flows_that_are_still_allowed() {
    run("", "", |filter| {
        for who in Addresses::both() {
            check_in_order(
                filter,
                &[
                    from_client("SYN", out(&who, Flags::SYN), opened()),
                    to_client("SYN ACK", back(&who, Flags::SYN_ACK), known()),
                ],
            );
            filter.install(&config("", "")).unwrap();
            check_on(
                filter,
                &[
                    to_client("first to the client", back(&who, Flags::ACK), known()),
                    from_client("then from it", out(&who, Flags::ACK), known()),
                ],
            );
            let generation = filter.pins().active().unwrap().generation;
            assert_eq!(flows(filter, "FLOWS")[0].generation, generation);
        }
    });
}

#[test]
fn a_reload_ends_the_flows_that_are_not() {
    run("", "", |filter| {
        for who in Addresses::both() {
            let begin = [
                from_client("SYN", out(&who, Flags::SYN), opened()),
                to_client("SYN ACK", back(&who, Flags::SYN_ACK), known()),
            ];
            let changes: [(&str, &str, Reason); 3] = [
                ("services: [core, time]", "services: [time]", Service),
                ("10.20.0.0/24, 'fd00:20::/64'", "10.20.8.0/24", Reason::UnlistedClient),
                ("services: [core, time]", "mode: exempt\n    services: [core]", Reason::Flow),
            ];
            for (old, new, reason) in changes {
                for to_client_first in [true, false] {
                    check_in_order(filter, &begin);
                    filter
                        .install(&changed_config("", "", |text| text.replacen(old, new, 1)))
                        .unwrap();
                    let from = |expected| from_client(new, out(&who, Flags::ACK), expected);
                    let to = |expected| to_client(new, back(&who, Flags::ACK), expected);
                    let rows = match (reason, to_client_first) {
                        (Reason::Flow, true) => vec![to(known()), from(known())],
                        (Reason::Flow, false) => vec![from(known()), to(known())],
                        (Service, true) => {
                            vec![to(expect(Unsolicited)), from(expect(Service).rule(WEB))]
                        }
                        (Service, false) => {
                            vec![from(expect(Service).rule(WEB)), to(expect(Unsolicited))]
                        }
                        (_, true) => vec![to(expect(Unsolicited)), from(expect(reason))],
                        (_, false) => vec![from(expect(reason)), to(expect(Unsolicited))],
                    };
                    check_on(filter, &rows);
                    filter.install(&config("", "")).unwrap();
                }
            }
        }
    });
}

#[test]
fn a_reload_that_takes_the_port_away_ends_the_flow() {
    const EXTRA: &str =
        "services: [{id: extra, title: E, cidrs: [20.0.0.0/24, '2a01:111::/64'], tcp: [9000]}]";
    let with = |port: &str| {
        changed_config("", &EXTRA.replace("9000", port), |text| {
            text.replace("[core, time]", "[core, time, extra]")
        })
    };
    run("", "", |filter| {
        for who in Addresses::both() {
            filter.install(&with("9000")).unwrap();
            let id = filter.policy().rules.values().map(|rule| rule.id.to_string());
            let id = id.into_iter().find(|id| id.starts_with("extra/")).unwrap();
            let id: &'static str = id.leak();
            let frame = Datagram::new(who.client, who.public).tcp(40000, 9000, Flags::SYN).frame();
            let answer = Datagram::new(who.public, who.client).tcp(9000, 40000, Flags::ACK).frame();
            check_in_order(
                filter,
                &[
                    from_client("SYN", frame.clone(), expect(Policy).rule(id)),
                    to_client("ACK", answer.clone(), expect(Reason::Flow).rule(id)),
                ],
            );
            filter.install(&with("9001")).unwrap();
            check_on(
                filter,
                &[
                    to_client("its answer", answer, expect(Unsolicited)),
                    from_client("the flow", frame, expect(Port).rule(id)),
                ],
            );
        }
    });
}

#[test]
fn a_flow_outlives_its_addresss_dns_answer() {
    run("", "", |filter| {
        for who in Addresses::both() {
            let to =
                |port| Datagram::new(who.client, who.public).tcp(port, 443, Flags::SYN).frame();
            let answer = Datagram::new(who.public, who.client).tcp(443, 40000, Flags::ACK).frame();
            let learned = || expect(Policy).rule(WEB).by_name();
            check_in_order(filter, &[from_client("no name", to(1), expect(Destination))]);
            filter.learn(who.public, WEB, 60).unwrap();
            check_on(
                filter,
                &[
                    from_client("learned", to(40000), learned()),
                    to_client("its answer", answer.clone(), known()),
                ],
            );
            filter.learn(who.public, WEB, -1).unwrap();
            let rows = [
                from_client("the flow", to(40000), known()),
                to_client("its answer", answer, known()),
                from_client("another flow", to(40001), expect(Expired).rule(WEB)),
            ];
            check_on(filter, &rows);
            filter.install(&config("", "")).unwrap();
            check_on(filter, &rows);
            filter.learn(who.public, "other/web", 60).unwrap();
            check_on(
                filter,
                &[from_client("another's", to(40001), expect(Service).rule("other/web"))],
            );
            filter.learn(who.public, "core/push", 60).unwrap();
            check_on(
                filter,
                &[from_client("another port's", to(40001), expect(Port).rule("core/push"))],
            );
        }
    });
}

/// Lifetimes that the machine has been up for: the clock cannot be set back before its start.
#[test]
fn silence_ends_a_flow() {
    run("", "", |filter| {
        for who in Addresses::both() {
            let (ask, answer) =
                (Datagram::new(who.client, who.web), Datagram::new(who.web, who.client));
            let push = (Datagram::new(who.client, who.push), Datagram::new(who.push, who.client));
            let tcp = |d: &Datagram, a, b| d.clone().tcp(a, b, Flags::ACK).frame();
            let udp = |d: &Datagram, a, b| d.clone().udp(a, b, b"x").frame();
            let cases: [(&str, &str, Vec<u8>, Vec<u8>, bool, u64); 6] = [
                (
                    "an echo",
                    WEB,
                    ask.clone().echo_request(1).frame(),
                    answer.clone().echo_reply(1).frame(),
                    false,
                    60,
                ),
                (
                    "an answered echo",
                    WEB,
                    ask.clone().echo_request(1).frame(),
                    answer.clone().echo_reply(1).frame(),
                    true,
                    60,
                ),
                ("UDP", "core/push", udp(&push.0, 1, 5223), udp(&push.1, 5223, 1), false, 120),
                ("TCP", WEB, tcp(&ask, 1, 443), tcp(&answer, 443, 1), false, 240),
                (
                    "answered UDP",
                    "core/push",
                    udp(&push.0, 1, 5223),
                    udp(&push.1, 5223, 1),
                    true,
                    300,
                ),
                ("answered TCP", WEB, tcp(&ask, 1, 443), tcp(&answer, 443, 1), true, 7440),
            ];
            let mut tried = 0;
            for (what, rule, ask, answer, answered, lifetime) in cases {
                if now().unwrap() < (lifetime + 2) * SECOND {
                    continue;
                }
                tried += 1;
                let flow = || expect(Reason::Flow).rule(rule);
                let begin = || from_client(what, ask.clone(), expect(Policy).rule(rule));
                let back = |expected| to_client(format!("{what}, back"), answer.clone(), expected);
                let mut rows = vec![begin()];
                if answered {
                    rows.push(back(flow()));
                }
                check_in_order(filter, &rows);
                rest(filter, lifetime - 1);
                check_on(filter, &[from_client(what, ask.clone(), flow())]);
                rest(filter, lifetime + 1);
                check_on(filter, &[back(expect(Unsolicited)), begin(), back(flow())]);
                assert_eq!(flows(filter, "FLOWS").len(), 1, "{what}");
            }
            assert!(tried > 0, "the machine has just started");
        }
    });
}

#[test]
fn a_closed_connection_is_soon_forgotten() {
    run("", "", |filter| {
        for who in Addresses::both() {
            let begin = [
                from_client("SYN", out(&who, Flags::SYN), opened()),
                to_client("SYN ACK", back(&who, Flags::SYN_ACK), known()),
            ];
            let fins = [
                from_client("FIN", out(&who, Flags::FIN), known()),
                to_client("FIN", back(&who, Flags::FIN), known()),
                from_client("the last ACK", out(&who, Flags::ACK), known()),
            ];
            let one_fin = [from_client("FIN", out(&who, Flags::FIN), known())];
            let reset = [to_client("RST", back(&who, Flags::RST), known())];
            let own_reset = [from_client("RST", out(&who, Flags::RST), known())];
            for end in [&fins[..], &reset[..], &own_reset[..]] {
                check_in_order(filter, &begin);
                check_on(filter, end);
                rest(filter, 29);
                check_on(filter, &[to_client("late", back(&who, Flags::ACK), known())]);
                rest(filter, 31);
                check_on(
                    filter,
                    &[
                        to_client("too late", back(&who, Flags::ACK), expect(Unsolicited)),
                        from_client("judged anew", out(&who, Flags::ACK), opened()),
                    ],
                );
                check_in_order(filter, &begin);
                check_on(filter, end);
                check_on(filter, &[from_client("a new SYN", out(&who, Flags::SYN), opened())]);
            }
            check_in_order(filter, &begin);
            check_on(filter, &one_fin);
            rest(filter, 31);
            check_on(filter, &[to_client("half closed", back(&who, Flags::ACK), known())]);
        }
    });
}

#[test]
fn a_flood_of_openings_evicts_no_answered_flow() {
    run("", "", |filter| {
        for who in Addresses::both() {
            check_in_order(
                filter,
                &[
                    from_client("SYN", out(&who, Flags::SYN), opened()),
                    to_client("SYN ACK", back(&who, Flags::SYN_ACK), known()),
                ],
            );
            for port in 0..2000 {
                let frame = Datagram::new(who.client, who.web).tcp(port, 443, Flags::SYN).frame();
                filter.judge(Place::Ingress("eth1"), &frame).unwrap();
            }
            assert!(flows(filter, "NEW_FLOWS").len() < 2000);
            check_on(filter, &[to_client("its answers", back(&who, Flags::ACK), known())]);
        }
    });
}
