//! Flows that outlive a policy or their address's DNS answer, and flows that do not.

use intune_filter_ebpf::abi::Reason::{
    self, Destination, Expired, Policy, Port, Service, Unsolicited,
};
use intune_filter_tests::prog_test_run::{
    Addresses, Datagram, Flags, check_in_order, check_on, expect, from_client,
    site::{changed_config, config},
    to_client,
};

use crate::{
    run,
    tables::flows::{WEB, back, flows, handshake, known, opened, out},
};

#[test]
fn a_reload_keeps_the_flows_that_are_still_allowed() {
    run("", "", |filter| {
        for who in Addresses::both() {
            check_in_order(filter, &handshake(&who));
            filter.install(&config("", "")).unwrap();
            check_on(
                filter,
                &[
                    to_client("first to the client", back(&who, Flags::ACK), known()),
                    from_client("then from it", out(&who, Flags::ACK), known()),
                ],
            );
            let generation = filter.active().unwrap().generation;
            assert_eq!(flows(filter, "FLOWS")[0].generation, generation);
        }
    });
}

/// Groups are numbered in their order: another one may have the number by then.
#[test]
fn a_reload_tells_a_flow_its_group_anew() {
    const GROUP: &str = "  - name: first\n    on: eth1.0\n    networks: [10.20.7.0/24]\n    \
                         services: [core]\n";
    run("", "", |filter| {
        for who in Addresses::both() {
            check_in_order(filter, &handshake(&who));
            let before = filter.group("lan");
            let other =
                |text: String| text.replacen("clients:\n", &format!("clients:\n{GROUP}"), 1);
            filter.install(&changed_config("", "", other)).unwrap();
            let group = filter.group("lan");
            assert_ne!(before, group);
            check_on(filter, &[from_client("the next", out(&who, Flags::ACK), known())]);
            assert_eq!(flows(filter, "FLOWS")[0].group, group);
            filter.install(&config("", "")).unwrap();
        }
    });
}

#[test]
fn a_flow_that_is_answered_after_a_reload_is_an_answered_one() {
    run("", "", |filter| {
        for who in Addresses::both() {
            check_in_order(filter, &[from_client("SYN", out(&who, Flags::SYN), opened())]);
            filter.install(&config("", "")).unwrap();
            check_on(filter, &[to_client("SYN ACK", back(&who, Flags::SYN_ACK), known())]);
            assert_eq!((flows(filter, "NEW_FLOWS").len(), flows(filter, "FLOWS").len()), (0, 1));
        }
    });
}

#[test]
fn a_reload_ends_the_flows_that_are_not() {
    run("", "", |filter| {
        for who in Addresses::both() {
            let begin = handshake(&who);
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
