//! Packets from one zone to another: what the sender's was allowed to send arrives, and nothing else.

use intune_filter::config::Config;
use intune_filter_ebpf::abi::{
    Flow,
    Reason::{
        self, Destination, FlowLimit, FragmentAllowed, FromZone, IcmpError, Policy, Port,
        UnlistedClient, Unsolicited,
    },
    flow_flags,
};
use intune_filter_tests::prog_test_run::{
    Addresses, Datagram, Flags, Row, check, check_in_order, check_on, expect, from_client,
    site::{OTHER, VLAN_DEVICE, changed_config},
    to_client,
};

use crate::{run, tables::flows::flows};

pub(super) const PEERS: &str = "peers/site";
pub(super) const PORT: u16 = 7680;

/// The site with a service whose destinations are other clients, for the groups of one interface.
pub(super) fn site(more: &str) -> Config {
    site_with(more, ["10.22.0.0/24, 'fd00:22::/64'"; 2])
}

/// The site where the other interface's group has but a few of the addresses there.
pub(super) fn small_site(more: &str) -> Config {
    site_with(more, ["10.22.0.0/24, 'fd00:22::/64'", "10.22.0.0/28, 'fd00:22::10/124'"])
}

fn site_with(more: &str, [all, few]: [&str; 2]) -> Config {
    let services = format!(
        "services: [{{id: peers, tcp: [{PORT}], udp: [{PORT}], cidrs: [10.20.0.0/16, 10.21.0.0/24, \
         10.22.0.0/16, 'fd00:20::/48', 'fd00:21::/64', 'fd00:22::/48']}}]\n{more}"
    );
    changed_config("", &services, |text| {
        text.replace("services: [core]\n", "services: [core, peers]\n")
            .replace("services: [core, time]", "services: [core, time, peers]")
            .replace(all, few)
    })
}

fn limited() -> Config {
    let text = |text: String| text.replace("limits: {queries: off, flows: off}\n", "");
    changed_config("", "limits: {flows: {rate: 1, burst: 2}}\n", |config| {
        text(config).replace("services: [core, time]", "services: [core, time, peers]").replace(
            "dhcp_servers",
            &format!(
                "services: [{{id: peers, udp: [{PORT}], cidrs: [10.22.0.0/16, 'fd00:22::/48']}}]\n\
                 dhcp_servers"
            ),
        )
    })
}

/// A packet of the client on the LAN's interface.
pub(super) fn sent(what: &str, datagram: &Datagram, reason: Reason) -> Row {
    let expected = expect(reason);
    let ruled = matches!(reason, Policy | Reason::Flow | Port | FragmentAllowed);
    from_client(what, datagram.frame(), if ruled { expected.rule(PEERS) } else { expected })
}

/// The packet as it is forwarded to the other interface.
pub(super) fn arrives(what: &str, datagram: &Datagram, reason: Reason) -> Row {
    to_client(what, datagram.frame(), expect(reason)).on_other().came_by_lan()
}

/// A packet of the client on the other interface.
pub(super) fn answered(what: &str, datagram: &Datagram, reason: Reason) -> Row {
    from_client(what, datagram.frame(), expect(reason)).on_other()
}

/// The packet as it is forwarded to the LAN's interface.
pub(super) fn returns(what: &str, datagram: &Datagram, reason: Reason) -> Row {
    let expected = expect(reason);
    let ruled = matches!(reason, Reason::Flow | FragmentAllowed);
    let expected = if ruled { expected.rule(PEERS) } else { expected };
    to_client(what, datagram.frame(), expected).came_by(OTHER)
}

pub(super) fn there(who: &Addresses) -> Datagram {
    Datagram::new(who.client, who.other)
}

pub(super) fn back(who: &Addresses) -> Datagram {
    Datagram::new(who.other, who.client)
}

pub(super) fn ask(who: &Addresses, flags: Flags) -> Datagram {
    there(who).tcp(40000, PORT, flags)
}

pub(super) fn answer(who: &Addresses, flags: Flags) -> Datagram {
    back(who).tcp(PORT, 40000, flags)
}

/// A connection from one zone to another, opened and answered.
pub(super) fn connection(who: &Addresses) -> [Row; 4] {
    [
        sent("SYN", &ask(who, Flags::SYN), Policy),
        arrives("SYN", &ask(who, Flags::SYN), FromZone),
        answered("SYN ACK", &answer(who, Flags::SYN_ACK), Reason::Flow),
        returns("SYN ACK", &answer(who, Flags::SYN_ACK), Reason::Flow),
    ]
}

#[test]
fn what_a_zone_may_send_arrives_in_another_and_is_answered() {
    run("", "", |filter| {
        filter.install(&site("")).unwrap();
        for who in Addresses::both() {
            check_in_order(filter, &connection(&who));
            check_on(
                filter,
                &[
                    sent("ACK", &ask(&who, Flags::ACK), Reason::Flow),
                    arrives("ACK", &ask(&who, Flags::ACK), Reason::Flow),
                    answered("data", &answer(&who, Flags::ACK), Reason::Flow),
                    returns("data", &answer(&who, Flags::ACK), Reason::Flow),
                ],
            );
            let both: Vec<Flow> = flows(filter, "FLOWS");
            assert_eq!(both.len(), 2, "one in each zone");
            let of_receiver = both.iter().find(|flow| flow.origin() != 0).unwrap();
            assert_eq!(of_receiver.flags & flow_flags::INBOUND, flow_flags::INBOUND);
            assert_eq!(of_receiver.group, filter.group("others"));

            let (udp, reply) =
                (there(&who).udp(50000, PORT, b"x"), back(&who).udp(PORT, 50000, b"y"));
            let (ping, pong) = (there(&who).echo_request(7), back(&who).echo_reply(7));
            for (out, home) in [(udp, reply), (ping, pong)] {
                check_in_order(
                    filter,
                    &[
                        arrives("that was never sent", &out, Unsolicited),
                        sent("first", &out, Policy),
                        arrives("first", &out, FromZone),
                        arrives("again", &out, Reason::Flow),
                        answered("answer", &home, Reason::Flow),
                        returns("answer", &home, Reason::Flow),
                    ],
                );
            }
        }
    });
}

#[test]
fn what_a_zone_may_not_send_does_not_arrive_by_itself() {
    run("", "", |filter| {
        filter.install(&site("")).unwrap();
        for who in Addresses::both() {
            let syn = |from, port| Datagram::new(from, who.other).tcp(40000, port, Flags::SYN);
            let other_port = syn(who.client, 631);
            let audited = syn(who.audited, 631);
            let exempt = syn(who.exempt, 631);
            let gre = Datagram::new(who.exempt, who.other).raw(47, &[0; 8]);
            check_in_order(
                filter,
                &[
                    sent("another port", &other_port, Port),
                    arrives("another port", &other_port, Unsolicited),
                    from_client("spared by an audit", audited.frame(), {
                        expect(Port).rule(PEERS).audited()
                    }),
                    arrives("spared by an audit", &audited, Unsolicited),
                    from_client("exempt", exempt.frame(), expect(Reason::Exempt)),
                    arrives("exempt", &exempt, FromZone),
                    from_client("without ports", gre.frame(), expect(Reason::Exempt)),
                    arrives("without ports", &gre, Unsolicited),
                    // The other zone's group has no such service.
                    answered("the other way", &back(&who).tcp(40000, PORT, Flags::SYN), {
                        Reason::Service
                    }),
                    returns("the other way", &back(&who).tcp(40000, PORT, Flags::SYN), Unsolicited),
                ]
                .map(|row| {
                    if row.expected.reason == Reason::Service { row.ruled(PEERS) } else { row }
                }),
            );
        }
    });
}

#[test]
fn nobody_else_sends_in_the_zones_name() {
    run("", "", |filter| {
        filter.install(&site("")).unwrap();
        for who in Addresses::both() {
            let elsewhere = |what: &str, flags| {
                let frame = ask(&who, flags).frame();
                let row = |from| {
                    let row =
                        to_client(format!("{what} {from:?}"), frame.clone(), expect(Unsolicited));
                    match from {
                        Some(device) => row.on_other().came_by(device),
                        None => row.on_other(),
                    }
                };
                // From the WAN, from the receiver's own zone, from a third one.
                [None, Some(OTHER), Some(VLAN_DEVICE)].map(row)
            };
            check_in_order(filter, &[sent("SYN", &ask(&who, Flags::SYN), Policy)]);
            check_on(filter, &elsewhere("before", Flags::SYN));
            check_on(filter, &[arrives("SYN", &ask(&who, Flags::SYN), FromZone)]);
            check_on(filter, &elsewhere("of the open connection", Flags::ACK));
            check_on(
                filter,
                &[
                    answered("still answered", &answer(&who, Flags::SYN_ACK), Reason::Flow),
                    arrives("still its own", &ask(&who, Flags::ACK), Reason::Flow),
                ],
            );
        }
    });
}

#[test]
fn what_answers_is_no_permission_to_begin() {
    run("", "", |filter| {
        filter.install(&site("")).unwrap();
        for who in Addresses::both() {
            check_in_order(filter, &connection(&who));
            // The opener has forgotten it, and the answerer's flow alone is left.
            filter
                .change_flows(&|flow| {
                    if flow.origin() == 0 {
                        flow.last_seen = 0;
                    }
                })
                .unwrap();
            check_on(
                filter,
                &[
                    answered("known there", &answer(&who, Flags::ACK), Reason::Flow),
                    returns("no more here", &answer(&who, Flags::ACK), Unsolicited),
                ],
            );
        }
    });
}

#[test]
fn errors_and_resets_pass_between_zones() {
    run("", "", |filter| {
        filter.install(&site("")).unwrap();
        for who in Addresses::both() {
            let (out, home) =
                (there(&who).udp(50000, PORT, b"x"), back(&who).udp(PORT, 50000, b"y"));
            let (told, tells) = (back(&who).unreachable(&out), there(&who).unreachable(&home));
            check_in_order(
                filter,
                &[
                    answered("before", &told, Reason::Icmp),
                    sent("first", &out, Policy),
                    arrives("first", &out, FromZone),
                    answered("nobody listens", &told, IcmpError),
                    to_client("nobody listens", told.frame(), expect(IcmpError)).came_by(OTHER),
                    answered("answer", &home, Reason::Flow),
                    sent("nobody listens any more", &tells, IcmpError),
                    arrives("nobody listens any more", &tells, IcmpError),
                ],
            );
            check_in_order(filter, &connection(&who));
            check_on(
                filter,
                &[
                    sent("RST", &ask(&who, Flags::RST), Reason::Flow),
                    arrives("RST", &ask(&who, Flags::RST), Reason::Flow),
                ],
            );
        }
    });
}

#[test]
fn fragments_pass_between_zones() {
    run("", "", |filter| {
        filter.install(&site("")).unwrap();
        for who in Addresses::both() {
            let first = |datagram: Datagram| datagram.fragment(0, true);
            let out = first(there(&who)).udp(50000, PORT, &[1; 16]);
            let rest = there(&who).fragment(3, false).raw(17, &[2; 8]);
            let home = first(back(&who)).udp(PORT, 50000, &[3; 16]);
            let last = back(&who).fragment(3, false).raw(17, &[4; 8]);
            check_in_order(
                filter,
                &[
                    arrives("the rest alone", &rest, Reason::Fragment),
                    sent("first", &out, Policy),
                    arrives("first", &out, FromZone),
                    sent("the rest", &rest, FragmentAllowed),
                    arrives("the rest", &rest, FragmentAllowed),
                    answered("first", &home, Reason::Flow),
                    returns("first", &home, Reason::Flow),
                    answered("the rest", &last, FragmentAllowed),
                    returns("the rest", &last, FragmentAllowed),
                ],
            );
        }
    });
}

#[test]
fn the_sender_alone_pays() {
    run("", "", |filter| {
        filter.install(&limited()).unwrap();
        for who in Addresses::both() {
            let to = |port| there(&who).udp(port, PORT, b"x");
            let part =
                |port| there(&who).identification(port).fragment(0, true).udp(1, PORT, &[1; 16]);
            filter.clear().unwrap();
            check_on(
                filter,
                &[
                    sent("1", &to(1), Policy),
                    arrives("1", &to(1), FromZone),
                    sent("2", &to(2), Policy),
                    arrives("2", &to(2), FromZone),
                    from_client("3", to(3).frame(), expect(FlowLimit).rule(PEERS)),
                    arrives("3", &to(3), Unsolicited),
                    // The receiver's limits for what comes from outside are untouched: as many as its
                    // own burst, and one.
                    sent("a first fragment", &part(11), Reason::Flow),
                    arrives("a first fragment", &part(11), Reason::Flow),
                    sent("another", &part(12), Reason::Flow),
                    arrives("another", &part(12), Reason::Flow),
                    from_client("a third", part(13).frame(), expect(FlowLimit)),
                ],
            );
        }
    });
}

#[test]
fn a_new_policy_ends_both_sides_or_none() {
    run("", "", |filter| {
        for who in Addresses::both() {
            for (first, second) in [(true, false), (false, true)] {
                filter.install(&site("")).unwrap();
                check_in_order(filter, &connection(&who));
                // The same permission, with the first packet from either side.
                filter.install(&site("icmp_echo: false")).unwrap();
                let from_here = [
                    sent("goes on", &ask(&who, Flags::ACK), Reason::Flow),
                    arrives("goes on", &ask(&who, Flags::ACK), Reason::Flow),
                ];
                let from_there = [
                    answered("goes on", &answer(&who, Flags::ACK), Reason::Flow),
                    returns("goes on", &answer(&who, Flags::ACK), Reason::Flow),
                ];
                if first {
                    check_on(filter, &from_here);
                    check_on(filter, &from_there);
                } else {
                    check_on(filter, &from_there);
                    check_on(filter, &from_here);
                }
                assert_eq!(flows(filter, "FLOWS").len(), 2);
                // Without it.
                let ended = changed_config("", "", |text| text);
                filter.install(&ended).unwrap();
                let (out, home) = (ask(&who, Flags::ACK), answer(&who, Flags::ACK));
                let rows = [
                    from_client("ended here", out.frame(), expect(Destination)),
                    arrives("ended here", &out, Unsolicited),
                    answered("ended there", &home, Destination),
                    to_client("ended there", home.frame(), expect(Unsolicited)).came_by(OTHER),
                ];
                let rows = if second { [&rows[2..], &rows[..2]].concat() } else { rows.to_vec() };
                check_on(filter, &rows);
                assert_eq!(flows(filter, "FLOWS").len(), 0);
            }
        }
    });
}

#[test]
fn a_receiver_in_no_group_is_reached_and_answers() {
    run("", "", |filter| {
        for who in Addresses::both() {
            filter.install(&small_site("")).unwrap();
            // Of the other interface's networks, but of none of its groups.
            let printer = if who.other.is_ipv4() { "10.22.0.20" } else { "fd00:22::20" };
            let printer: std::net::IpAddr = printer.parse().unwrap();
            let out = Datagram::new(who.client, printer).tcp(40000, PORT, Flags::SYN);
            let home = Datagram::new(printer, who.client).tcp(PORT, 40000, Flags::SYN_ACK);
            let uncalled = Datagram::new(printer, who.client).tcp(PORT, 40001, Flags::SYN_ACK);
            check_in_order(
                filter,
                &[
                    sent("SYN", &out, Policy),
                    arrives("SYN", &out, FromZone),
                    answered("SYN ACK", &home, Reason::Flow),
                    returns("SYN ACK", &home, Reason::Flow),
                    answered("what nobody asked for", &uncalled, UnlistedClient),
                ],
            );
            filter.install(&small_site("icmp_echo: false")).unwrap();
            check_on(filter, &[answered("after a reload", &home, Reason::Flow)]);
        }
    });
}

#[test]
fn a_zone_is_no_other_one() {
    run("", "", |filter| {
        filter.install(&site("")).unwrap();
        for who in Addresses::both() {
            let hairpin = Datagram::new(who.client, who.rejected).tcp(40000, PORT, Flags::SYN);
            check_in_order(
                filter,
                &[
                    sent("allowed", &hairpin, Policy),
                    to_client("of its own zone", hairpin.frame(), expect(Unsolicited))
                        .came_by_lan(),
                ],
            );
            // On one interface, by the tag.
            let tagged = Datagram::new(who.client, who.tagged).tcp(40000, PORT, Flags::SYN);
            let there = tagged.clone().tag(0x8100, 20);
            check(
                filter,
                &[to_client("never sent", there.frame(), expect(Unsolicited)).came_by_lan()],
            );
            check_in_order(
                filter,
                &[
                    sent("allowed", &tagged, Policy),
                    to_client("by the tag", there.frame(), expect(FromZone)).came_by_lan(),
                ],
            );
        }
    });
}
