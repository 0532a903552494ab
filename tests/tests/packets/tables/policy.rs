//! Client, destination and port: the AND, group by group.

use intune_filter_ebpf::abi::Reason::{
    Audit, Destination, Exempt, Icmp, Policy, Port, Protocol, Resolver, Service, UnlistedAllowed,
    UnlistedClient,
};
use intune_filter_tests::prog_test_run::{
    Addresses, Datagram, Flags, Row, check, expect, from_client, site::VLAN,
};

use crate::{run, run_without_policy};

const WEB: &str = "core/web";
const PUSH: &str = "core/push";
const NTP: &str = "time/ntp";
const OTHER: &str = "other/web";

pub(crate) fn allowed(who: &Addresses) -> Vec<Row> {
    let to = |destination| Datagram::new(who.client, destination);
    vec![
        from_client(
            "TCP to a network of a rule",
            to(who.web).tcp(40000, 443, Flags::SYN).frame(),
            expect(Policy).rule(WEB),
        ),
        from_client(
            "its other port",
            to(who.web).tcp(40000, 80, Flags::SYN).frame(),
            expect(Policy).rule(WEB),
        ),
        from_client(
            "a segment in the middle of a connection that nobody knows any more",
            to(who.web).tcp(40000, 443, Flags::ACK).frame(),
            expect(Policy).rule(WEB),
        ),
        from_client(
            "TCP to another rule's network",
            to(who.push).tcp(40000, 5223, Flags::SYN).frame(),
            expect(Policy).rule(PUSH),
        ),
        from_client(
            "UDP to the same port",
            to(who.push).udp(40000, 5223, b"x").frame(),
            expect(Policy).rule(PUSH),
        ),
        from_client("UDP", to(who.ntp).udp(123, 123, b"x").frame(), expect(Policy).rule(NTP)),
        from_client(
            "an empty UDP message",
            to(who.ntp).udp(123, 123, b"").frame(),
            expect(Policy).rule(NTP),
        ),
        from_client(
            "an echo request to a network of a rule",
            to(who.web).echo_request(7).frame(),
            expect(Policy).rule(WEB),
        ),
        from_client(
            "hop limit 1",
            to(who.web).hop_limit(1).tcp(40000, 443, Flags::SYN).frame(),
            expect(Policy).rule(WEB),
        ),
        from_client(
            "padding behind the datagram",
            [to(who.web).tcp(40000, 443, Flags::SYN).frame(), vec![0; 20]].concat(),
            expect(Policy).rule(WEB),
        ),
    ]
}

pub(crate) fn denied(who: &Addresses) -> Vec<Row> {
    let to = |destination| Datagram::new(who.client, destination);
    vec![
        from_client(
            "a port that the rule has not",
            to(who.web).tcp(40000, 8443, Flags::SYN).frame(),
            expect(Port).rule(WEB),
        ),
        from_client(
            "a port of another rule",
            to(who.web).tcp(40000, 5223, Flags::SYN).frame(),
            expect(Port).rule(WEB),
        ),
        from_client(
            "the rule's port, but UDP",
            to(who.web).udp(40000, 443, b"x").frame(),
            expect(Port).rule(WEB),
        ),
        from_client(
            "the rule's port, but TCP",
            to(who.ntp).tcp(40000, 123, Flags::SYN).frame(),
            expect(Port).rule(NTP),
        ),
        from_client(
            "port 0",
            to(who.web).tcp(40000, 0, Flags::SYN).frame(),
            expect(Port).rule(WEB),
        ),
        from_client(
            "a segment to a port that the rule has not, from one that it has",
            to(who.web).tcp(443, 22, Flags::ACK).frame(),
            expect(Port).rule(WEB),
        ),
        from_client(
            "a destination of another group's rule",
            to(who.foreign).tcp(40000, 443, Flags::SYN).frame(),
            expect(Service).rule(OTHER),
        ),
        from_client(
            "an echo request to a destination of another group's rule",
            to(who.foreign).echo_request(7).frame(),
            expect(Service).rule(OTHER),
        ),
        from_client(
            "a destination of no rule",
            to(who.public).tcp(40000, 443, Flags::SYN).frame(),
            expect(Destination),
        ),
        from_client(
            "UDP to a destination of no rule",
            to(who.public).udp(40000, 443, b"x").frame(),
            expect(Destination),
        ),
        from_client(
            "an echo request to a destination of no rule",
            to(who.public).echo_request(7).frame(),
            expect(Destination),
        ),
        from_client(
            "an echo reply to an allowed destination, unasked",
            to(who.web).echo_reply(7).frame(),
            expect(Icmp),
        ),
        from_client(
            "a timestamp request, or a router renumbering",
            to(who.web).icmp(if who.web.is_ipv4() { 13 } else { 138 }, 0, [0; 4], &[0; 12]).frame(),
            expect(Icmp),
        ),
        from_client(
            "a redirect",
            to(who.web).icmp(if who.web.is_ipv4() { 5 } else { 137 }, 0, [0; 4], &[0; 32]).frame(),
            expect(Icmp),
        ),
        from_client("GRE", to(who.web).raw(47, &[0; 16]).frame(), expect(Protocol)),
        from_client("ESP", to(who.web).raw(50, &[0; 16]).frame(), expect(Protocol)),
        from_client("SCTP", to(who.web).raw(132, &[0; 16]).frame(), expect(Protocol)),
        from_client("UDP-Lite", to(who.web).raw(136, &[0; 16]).frame(), expect(Protocol)),
        from_client("IPv4 in IP", to(who.web).raw(4, &[0x45; 40]).frame(), expect(Protocol)),
        from_client("IPv6 in IP", to(who.web).raw(41, &[0x60; 60]).frame(), expect(Protocol)),
        from_client("nothing at all", to(who.web).raw(59, &[]).frame(), expect(Protocol)),
        from_client(
            "the other family's ICMP",
            to(who.web).raw(if who.web.is_ipv4() { 58 } else { 1 }, &[8; 16]).frame(),
            expect(Protocol),
        ),
        from_client(
            "DNS to a resolver that is not trusted",
            to(who.foreign_resolver).udp(40000, 53, b"x").frame(),
            expect(Resolver),
        ),
        from_client(
            "DNS over TCP to a resolver that is not trusted",
            to(who.foreign_resolver).tcp(40000, 53, Flags::SYN).frame(),
            expect(Resolver),
        ),
        from_client(
            "DNS to an allowed destination",
            to(who.web).udp(40000, 53, b"x").frame(),
            expect(Resolver),
        ),
        from_client(
            "a source in no group",
            Datagram::new(who.unlisted, who.web).tcp(40000, 443, Flags::SYN).frame(),
            expect(UnlistedClient),
        ),
    ]
}

#[test]
fn a_client_reaches_what_its_rules_allow() {
    run("", "", |filter| {
        Addresses::both().iter().for_each(|who| check(filter, &allowed(who)));
    });
}

#[test]
fn a_client_reaches_nothing_else() {
    run("", "", |filter| {
        Addresses::both().iter().for_each(|who| check(filter, &denied(who)));
    });
}

#[test]
fn a_groups_mode_decides_what_becomes_of_denials() {
    run("", "", |filter| {
        for who in Addresses::both() {
            let audited = |destination| Datagram::new(who.audited, destination);
            let exempt = |destination| Datagram::new(who.exempt, destination);
            check(
                filter,
                &[
                    from_client(
                        "audited: allowed",
                        audited(who.web).tcp(40000, 443, Flags::SYN).frame(),
                        expect(Policy).rule(WEB),
                    ),
                    from_client(
                        "audited: another port",
                        audited(who.web).tcp(40000, 22, Flags::SYN).frame(),
                        expect(Port).rule(WEB).audited(),
                    ),
                    from_client(
                        "audited: another group's rule",
                        audited(who.ntp).udp(40000, 123, b"x").frame(),
                        expect(Service).rule(NTP).audited(),
                    ),
                    from_client(
                        "audited: no rule",
                        audited(who.public).tcp(40000, 22, Flags::SYN).frame(),
                        expect(Destination).audited(),
                    ),
                    from_client(
                        "audited: another protocol",
                        audited(who.public).raw(47, &[0; 16]).frame(),
                        expect(Protocol).audited(),
                    ),
                    from_client(
                        "audited: a resolver that is not trusted",
                        audited(who.foreign_resolver).udp(40000, 53, b"x").frame(),
                        expect(Resolver).audited(),
                    ),
                    from_client(
                        "exempt: no rule",
                        exempt(who.public).tcp(40000, 22, Flags::SYN).frame(),
                        expect(Exempt),
                    ),
                    from_client(
                        "exempt: another protocol",
                        exempt(who.public).raw(47, &[0; 16]).frame(),
                        expect(Exempt),
                    ),
                    from_client(
                        "exempt: a fragment",
                        exempt(who.public).fragment(10, true).raw(17, &[0; 16]).frame(),
                        expect(Exempt),
                    ),
                    from_client(
                        "exempt: a resolver that is not trusted",
                        exempt(who.foreign_resolver).udp(40000, 53, b"x").frame(),
                        expect(Exempt),
                    ),
                ],
            );
        }
    });
}

#[test]
fn audited_packets_are_counted_as_one_kind() {
    assert_eq!(Audit.as_str(), "audit");
    run("", "", |filter| {
        let [who, _] = Addresses::both();
        let frame = Datagram::new(who.audited, who.public).tcp(1, 22, Flags::SYN).frame();
        check(filter, &[from_client("audited", frame, expect(Destination).audited())]);
        let counters = filter.counted().unwrap().counters;
        let counted = |reason| counters[reason as usize].packets;
        assert_eq!((counted(Audit), counted(Destination)), (1, 0));
    });
}

#[test]
fn sources_in_no_group_pass_if_the_site_says_so() {
    run("", "unlisted_clients: allow", |filter| {
        for who in Addresses::both() {
            let unlisted = |destination| Datagram::new(who.unlisted, destination);
            check(
                filter,
                &[
                    from_client(
                        "to no rule",
                        unlisted(who.public).tcp(40000, 22, Flags::SYN).frame(),
                        expect(UnlistedAllowed),
                    ),
                    from_client(
                        "DNS to a trusted resolver, whatever it is",
                        unlisted(who.resolver).udp(40000, 53, b"x").frame(),
                        expect(UnlistedAllowed),
                    ),
                    from_client(
                        "DNS to another one",
                        unlisted(who.foreign_resolver).udp(40000, 53, b"x").frame(),
                        expect(UnlistedAllowed),
                    ),
                    from_client(
                        "another protocol",
                        unlisted(who.public).raw(47, &[0; 16]).frame(),
                        expect(UnlistedAllowed),
                    ),
                    from_client(
                        "a listed client is judged all the same",
                        Datagram::new(who.client, who.public).tcp(40000, 22, Flags::SYN).frame(),
                        expect(Destination),
                    ),
                ],
            );
        }
    });
}

#[test]
fn an_address_counts_in_its_own_zone_alone() {
    run("", "", |filter| {
        for who in Addresses::both() {
            let web = |source| Datagram::new(source, who.web).tcp(40000, 443, Flags::SYN);
            let foreign = Datagram::new(who.other, who.foreign).tcp(40000, 443, Flags::SYN);
            check(
                filter,
                &[
                    from_client(
                        "in its VLAN",
                        web(who.tagged).tag(0x8100, VLAN).frame(),
                        expect(Policy).rule(WEB),
                    ),
                    from_client(
                        "untagged, from the VLAN's group",
                        web(who.tagged).frame(),
                        expect(UnlistedClient),
                    ),
                    from_client(
                        "in the VLAN, from the untagged group",
                        web(who.client).tag(0x8100, VLAN).frame(),
                        expect(UnlistedClient),
                    ),
                    from_client("on its interface", foreign.frame(), expect(Policy).rule(OTHER))
                        .on_other(),
                    from_client("on the other interface", foreign.frame(), expect(UnlistedClient)),
                    from_client(
                        "a client of the other interface",
                        web(who.client).frame(),
                        expect(UnlistedClient),
                    )
                    .on_other(),
                    from_client(
                        "a destination of the other group",
                        Datagram::new(who.other, who.web).tcp(40000, 443, Flags::SYN).frame(),
                        expect(Service).rule(WEB),
                    )
                    .on_other(),
                ],
            );
        }
    });
}

#[test]
fn echo_requests_pass_unless_the_site_forbids_them() {
    run("", "icmp_echo: false", |filter| {
        for who in Addresses::both() {
            let frame = Datagram::new(who.client, who.web).echo_request(7).frame();
            check(filter, &[from_client("an echo request", frame, expect(Icmp))]);
        }
    });
}

#[test]
fn nothing_passes_before_there_is_a_policy() {
    use intune_filter_ebpf::abi::Reason::{Gateway, NoPolicy, Unmanaged};

    run_without_policy("", "", |filter| {
        let zones = filter.zones().unwrap();
        for who in Addresses::both() {
            let frame = Datagram::new(who.client, who.web).tcp(40000, 443, Flags::SYN).frame();
            check(filter, &[from_client("no zone yet", frame, expect(Unmanaged))]);
        }
        filter.set_zones(&zones).unwrap();
        for who in Addresses::both() {
            let frame = Datagram::new(who.client, who.web).tcp(40000, 443, Flags::SYN).frame();
            let to_gateway = Datagram::new(who.client, who.gateway);
            check(
                filter,
                &[
                    from_client("zones, but no policy", frame, expect(NoPolicy)),
                    from_client(
                        "the admin's connection",
                        to_gateway.tcp(40000, 22, Flags::SYN).frame(),
                        expect(Gateway),
                    ),
                ],
            );
        }
    });
}
