//! Packets to clients that answer nothing: the group's `inbound` choice.

use intune_filter_ebpf::abi::Reason::{self, Destination, Exempt, Inbound, Resolver, Unsolicited};
use intune_filter_tests::prog_test_run::{
    Addresses, Datagram, Flags, check, check_in_order, check_on, expect, from_client,
    site::{changed_config, config},
    to_client,
};

use crate::{run, tables::flows::flows};

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

/// What a client sends to port 53 over UDP is judged as a query, whoever asked first.
#[test]
fn what_comes_from_port_53_is_not_answered() {
    run("", "", |filter| {
        for who in Addresses::both() {
            let from = Datagram::new(who.public, who.server).udp(53, 40000, b"x");
            let answer = Datagram::new(who.server, who.public).udp(40000, 53, b"y");
            check_in_order(
                filter,
                &[
                    to_client("let in", from.frame(), expect(Inbound)),
                    from_client("no answer", answer.frame(), expect(Resolver)),
                ],
            );
        }
    });
}

/// The site where the clients of a group are reached by these rules.
fn ruled(rules: &str) -> intune_filter::config::Config {
    changed_config("", "", |text| text.replace("inbound: allow", &format!("inbound: {rules}")))
}

const RULES: &str =
    "[{services: [core]}, {from: [20.0.0.0/24, '2a01:111::/64'], tcp: [22], udp: ['7000-7009']}]";
const OWN: &str = "inbound@servers/2";

#[test]
fn rules_let_in_their_senders_to_their_ports() {
    run("", "", |filter| {
        filter.install(&ruled(RULES)).unwrap();
        for who in Addresses::both() {
            let from = |source| Datagram::new(source, who.server);
            let tcp = |source, port| from(source).tcp(40000, port, Flags::SYN).frame();
            let udp = |source, port| from(source).udp(40000, port, b"x").frame();
            let by = |rule| expect(Inbound).rule(rule);
            let denied = || expect(Unsolicited);
            let rows = [
                to_client("prefix and port", tcp(who.public, 22), by(OWN)),
                to_client("prefix and range", udp(who.public, 7009), by(OWN)),
                to_client("another port", tcp(who.public, 631), denied()),
                to_client("a port of the other protocol", udp(who.public, 22), denied()),
                to_client("behind the range", udp(who.public, 7010), denied()),
                to_client("a service's network", tcp(who.web, 443), by("core/web")),
                to_client("another of its rules", udp(who.push, 5223), by("core/push")),
                to_client("a port of another of its rules", tcp(who.web, 5223), denied()),
                to_client("a port of another entry", tcp(who.web, 22), denied()),
                to_client("a port of a service's from the prefix", tcp(who.public, 443), denied()),
                to_client("anyone else", tcp(who.foreign, 22), denied()),
                to_client("printing, from the internet", tcp(who.foreign, 631), denied()),
                to_client("an echo", from(who.public).echo_request(1).frame(), denied()),
                to_client("no port at all", from(who.public).raw(47, &[0; 8]).frame(), denied()),
                to_client(
                    "to another group",
                    Datagram::new(who.public, who.client).tcp(40000, 22, Flags::SYN).frame(),
                    denied(),
                ),
                // A rule for what comes in lets nothing out, and makes no destination of a sender.
                from_client(
                    "outward",
                    Datagram::new(who.server, who.public).tcp(40000, 22, Flags::SYN).frame(),
                    expect(Destination),
                ),
            ];
            check(filter, &rows);
            filter.clear().unwrap();
            filter.learn(who.foreign, "core/web", 60).unwrap();
            let learned = to_client("a name's address", tcp(who.foreign, 443), by("core/web"));
            check_on(filter, &[learned]);
        }
    });
}

#[test]
fn flows_by_rules_end_with_them() {
    run("", "", |filter| {
        for who in Addresses::both() {
            filter.install(&ruled(RULES)).unwrap();
            let ask = |flags| Datagram::new(who.public, who.server).tcp(999, 22, flags).frame();
            let answer = |flags| Datagram::new(who.server, who.public).tcp(22, 999, flags).frame();
            let flow = || expect(Reason::Flow).rule(OWN);
            check_in_order(
                filter,
                &[
                    to_client("SYN", ask(Flags::SYN), expect(Inbound).rule(OWN)),
                    from_client("SYN ACK", answer(Flags::SYN_ACK), flow()),
                    to_client("ACK", ask(Flags::ACK), flow()),
                ],
            );
            let other_order = RULES.replace("tcp: [22]", "tcp: [21, 22]");
            filter.install(&ruled(&other_order)).unwrap();
            check_on(
                filter,
                &[
                    from_client("goes on", answer(Flags::ACK), flow()),
                    to_client("goes on", ask(Flags::ACK), flow()),
                ],
            );
            filter.install(&ruled(&RULES.replace("tcp: [22], ", ""))).unwrap();
            check_on(
                filter,
                &[
                    from_client("ended", answer(Flags::ACK), expect(Destination)),
                    to_client("ended", ask(Flags::ACK), expect(Unsolicited)),
                ],
            );
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
