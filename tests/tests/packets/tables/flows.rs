//! Flows: opened, answered, revoked, expired; and the return path that they make.

use intune_filter_ebpf::abi::{
    Flow,
    Reason::{self, Destination, Exempt, Policy, UnlistedAllowed, Unsolicited, VlanTag},
};
use intune_filter_tests::prog_test_run::{
    Addresses, Bed, Datagram, Expected, Flags, Row, both, check, check_in_order, check_on,
    datagram::{SERVICE_TAG, TAG},
    expect, from_client,
    site::VLAN,
    state::now,
    to_client,
};

use crate::run;

pub(crate) const WEB: &str = "core/web";

pub(crate) fn out(who: &Addresses, flags: Flags) -> Vec<u8> {
    Datagram::new(who.client, who.web).tcp(40000, 443, flags).frame()
}

pub(crate) fn back(who: &Addresses, flags: Flags) -> Vec<u8> {
    Datagram::new(who.web, who.client).tcp(443, 40000, flags).frame()
}

pub(crate) fn opened() -> Expected {
    expect(Policy).rule(WEB)
}

pub(crate) fn known() -> Expected {
    expect(Reason::Flow).rule(WEB)
}

/// Opening of the flow by the client, and the answer to it.
pub(crate) fn handshake(who: &Addresses) -> [Row; 2] {
    [
        from_client("SYN", out(who, Flags::SYN), opened()),
        to_client("SYN ACK", back(who, Flags::SYN_ACK), known()),
    ]
}

/// Every flow of a map, in both families.
pub(crate) fn flows(filter: &dyn Bed, map: &str) -> Vec<Flow> {
    filter.flows(map).unwrap()
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
            assert_eq!(flow.group, filter.group("lan"));
            assert!(flow.opened <= flow.last_seen && flow.last_seen <= now().unwrap());
        }
    });
}

/// Packets that differ from a known flow in one field.
pub(crate) fn strangers(who: &Addresses) -> Vec<Row> {
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
            let mut rows = handshake(&who).to_vec();
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
