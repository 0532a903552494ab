//! Sides of what passes between zones: nobody else adds to a datagram, or answers in a client's name.

use std::net::IpAddr;

use intune_filter_ebpf::abi::Reason::{
    self, Fragment, FragmentAllowed, FromZone, IcmpError, Policy, UnlistedAllowed, UnlistedClient,
    Unsolicited,
};
use intune_filter_tests::prog_test_run::{
    Addresses, Datagram, Flags, Row, check_in_order, check_on,
    datagram::patched,
    expect, from_client,
    site::{OTHER, VLAN_DEVICE, WAN},
    to_client,
};

use super::between_zones::{
    PORT, answer, answered, arrives, ask, back, connection, returns, sent, site, small_site, there,
};
use crate::run;

/// Hardware address that a packet of layer 3 seems to have, and that anyone can put into a frame.
const ZERO_MAC: [u8; 6] = [0; 6];

#[test]
fn the_senders_side_alone_adds_to_a_datagram() {
    run("", "", |filter| {
        filter.install(&site("")).unwrap();
        for who in Addresses::both() {
            let first = |datagram: Datagram| datagram.fragment(0, true);
            let out = first(there(&who)).udp(50000, PORT, &[1; 16]);
            let rest = there(&who).fragment(3, false).raw(17, &[2; 8]);
            let home = first(back(&who)).udp(PORT, 50000, &[3; 16]);
            let last = back(&who).fragment(3, false).raw(17, &[4; 8]);
            let there_by = |what, datagram: &Datagram, device, reason| {
                to_client(what, datagram.frame(), expect(reason)).on_other().came_by(device)
            };
            let here_by = |what, datagram: &Datagram, device, reason| {
                to_client(what, datagram.frame(), expect(reason)).came_by(device)
            };
            check_in_order(
                filter,
                &[
                    sent("first", &out, Policy),
                    arrives("first", &out, FromZone),
                    there_by("from the internet", &rest, WAN, Fragment),
                    there_by("from the receiver's zone", &rest, OTHER, Fragment),
                    there_by("from a third", &rest, VLAN_DEVICE, Fragment),
                    there_by("a second first one", &out, WAN, Fragment),
                    from_client("in the zone", patched(rest.frame(), 6, &ZERO_MAC), {
                        expect(Fragment)
                    })
                    .on_other(),
                    sent("the rest", &rest, FragmentAllowed),
                    arrives("the rest", &rest, FragmentAllowed),
                    answered("first", &home, Reason::Flow),
                    returns("first", &home, Reason::Flow),
                    here_by("from the internet", &last, WAN, Fragment),
                    here_by("from a third", &last, VLAN_DEVICE, Fragment),
                    answered("the rest", &last, FragmentAllowed),
                    returns("the rest", &last, FragmentAllowed),
                ],
            );
        }
    });
}

/// Rows of packets in the name of the other zone's client.
fn forged(what: &str, datagram: &Datagram) -> [Row; 2] {
    [WAN, VLAN_DEVICE].map(|device| {
        to_client(format!("{what} by {device}"), datagram.frame(), expect(Unsolicited))
            .came_by(device)
    })
}

#[test]
fn nobody_else_answers_in_the_name_of_a_zones_client() {
    run("", "", |filter| {
        filter.install(&site("")).unwrap();
        for who in Addresses::both() {
            check_in_order(
                filter,
                &[
                    sent("SYN", &ask(&who, Flags::SYN), Policy),
                    arrives("SYN", &ask(&who, Flags::SYN), FromZone),
                ],
            );
            check_on(filter, &forged("SYN ACK", &answer(&who, Flags::SYN_ACK)));
            check_on(filter, &forged("RST", &answer(&who, Flags::RST)));
            check_on(filter, &connection(&who)[2..]);
            check_on(filter, &forged("data", &answer(&who, Flags::ACK)));
            check_on(filter, &forged("RST", &answer(&who, Flags::RST)));
            let quoted = ask(&who, Flags::ACK);
            let error = |device, reason| {
                let datagram = back(&who).unreachable(&quoted);
                to_client(format!("error by {device}"), datagram.frame(), expect(reason))
                    .came_by(device)
            };
            check_on(filter, &[WAN, VLAN_DEVICE].map(|device| error(device, Unsolicited)));
            check_on(
                filter,
                &[
                    error(OTHER, IcmpError),
                    sent("ACK", &ask(&who, Flags::ACK), Reason::Flow),
                    arrives("ACK", &ask(&who, Flags::ACK), Reason::Flow),
                    answered("data", &answer(&who, Flags::ACK), Reason::Flow),
                    returns("data", &answer(&who, Flags::ACK), Reason::Flow),
                ],
            );
        }
    });
}

/// Far ends whose packets arrive in the zone, while the routes lead to the internet.
fn moved(who: &Addresses) -> IpAddr {
    if who.client.is_ipv4() { "10.22.1.5" } else { "fd00:22:0:1::5" }.parse().unwrap()
}

#[test]
fn a_far_end_that_has_left_its_zone_goes_on() {
    run("", "", |filter| {
        filter.install(&site("")).unwrap();
        for who in Addresses::both() {
            let far = moved(&who);
            let out = |flags| Datagram::new(who.client, far).tcp(40000, PORT, flags);
            let home = |flags| Datagram::new(far, who.client).tcp(PORT, 40000, flags);
            let by = |what: &str, datagram: &Datagram, device, reason| {
                let expected = expect(reason);
                let expected =
                    if reason == Reason::Flow { expected.rule("peers/site") } else { expected };
                to_client(what, datagram.frame(), expected).came_by(device)
            };
            check_in_order(
                filter,
                &[
                    sent("SYN", &out(Flags::SYN), Policy),
                    arrives("SYN", &out(Flags::SYN), FromZone),
                    by("from the zone", &home(Flags::SYN_ACK), OTHER, Reason::Flow),
                    sent("ACK", &out(Flags::ACK), Reason::Flow),
                    by("from where the routes lead", &home(Flags::ACK), WAN, Reason::Flow),
                    by("again", &home(Flags::ACK), WAN, Reason::Flow),
                    // And back.
                    arrives("once more in the zone", &out(Flags::ACK), Reason::Flow),
                ],
            );
        }
    });
}

#[test]
fn a_client_in_no_group_is_allowed_to_no_other_zone() {
    run("", "", |filter| {
        filter.install(&small_site("unlisted_clients: allow")).unwrap();
        for who in Addresses::both() {
            let to_listed = Datagram::new(who.unlisted, who.other).tcp(40000, PORT, Flags::SYN);
            let printer: IpAddr =
                if who.other.is_ipv4() { "10.22.0.20" } else { "fd00:22::20" }.parse().unwrap();
            let to_unlisted = Datagram::new(who.unlisted, printer).tcp(40000, PORT, Flags::SYN);
            check_on(
                filter,
                &[
                    from_client("to a client", to_listed.frame(), expect(UnlistedAllowed)),
                    arrives("to a client", &to_listed, Unsolicited),
                    from_client("to another", to_unlisted.frame(), expect(UnlistedAllowed)),
                    arrives("to another", &to_unlisted, UnlistedAllowed),
                ],
            );
        }
        filter.install(&small_site("")).unwrap();
        for who in Addresses::both() {
            let out = Datagram::new(who.unlisted, who.other).tcp(40001, PORT, Flags::SYN);
            check_on(filter, &[from_client("as configured", out.frame(), expect(UnlistedClient))]);
        }
    });
}
