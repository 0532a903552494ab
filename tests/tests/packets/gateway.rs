//! Packets to the gateway itself.

use std::{net::IpAddr, process::Command};

use intune_filter_ebpf::abi::Reason::{
    Destination, Gateway, Icmp, LinkLocal, Policy, Port, Protocol, UnlistedClient,
};
use intune_filter_tests::{
    namespace,
    testrun::{Addresses, Datagram, Flags, Row, both, check, expect, from_client, run, site::VLAN},
};

/// Changes the routes of the namespace that the test runs in.
fn ip(lines: &[&str]) {
    for line in lines {
        namespace::run(Command::new("ip").args(line.split(' '))).expect(line);
    }
}

pub(crate) fn to_every_address(who: &Addresses) -> Vec<Row> {
    let mut rows = Vec::new();
    for (what, gateway) in [
        ("an address of the map", who.gateway),
        ("an address that the routes alone know", who.gateway_by_route),
        ("its link-local address", who.gateway_link_local),
    ] {
        for (whose, source) in [
            ("a client", who.client),
            ("an unlisted source", who.unlisted),
            ("a link-local source", who.link_local),
        ] {
            let to = Datagram::new(source, gateway);
            let mut row = |kind: &str, frame| {
                let description = format!("{kind} from {whose} to {what}");
                rows.push(from_client(description, frame, expect(Gateway)));
            };
            row("TCP", to.clone().tcp(40000, 22, Flags::SYN).frame());
            row("UDP", to.clone().udp(40000, 5000, b"x").frame());
            row("an echo request", to.clone().echo_request(1).frame());
            row("another protocol", to.clone().raw(89, &[0; 16]).frame());
            row("a first fragment", to.clone().fragment(0, true).udp(5, 6, b"8 octets").frame());
            row("a later fragment", to.fragment(10, false).raw(17, b"8 octets").frame());
        }
    }
    rows
}

#[test]
fn packets_to_the_gateway_are_the_host_firewalls_business() {
    run("", "", |filter| check(filter, &both(to_every_address)));
}

#[test]
fn the_gateway_is_reached_from_every_zone() {
    run("", "", |filter| {
        let rows = both(|who| {
            let to =
                |source| Datagram::new(source, who.gateway_by_route).tcp(40000, 22, Flags::SYN);
            vec![
                from_client("a VLAN", to(who.tagged).tag(0x8100, VLAN).frame(), expect(Gateway)),
                from_client("eth2", to(who.other).frame(), expect(Gateway)).on_other(),
            ]
        });
        check(filter, &rows);
    });
}

/// With rules of its own a namespace keeps local routes in a table apart.
#[test]
fn the_gateway_is_reached_where_there_is_policy_routing() {
    run("", "", |filter| {
        ip(&["-4 rule add fwmark 1 table 100", "-6 rule add fwmark 1 table 100"]);
        check(filter, &both(to_every_address));
    });
}

#[test]
fn what_only_policy_routing_forwards_is_not_taken_for_the_gateways() {
    run("", "", |filter| {
        ip(&[
            "-4 rule add fwmark 1 table 100",
            "-6 rule add fwmark 1 table 100",
            "-4 route del default",
            "-6 route del default",
            "-4 route add default via 172.31.0.2 table 100",
            "-6 route add default via fd00:31::2 table 100",
        ]);
        let rows = both(|who| {
            let to =
                |destination| Datagram::new(who.client, destination).tcp(40000, 22, Flags::SYN);
            vec![
                from_client("no rule", to(who.public).frame(), expect(Destination)),
                from_client("a rule", to(who.web).frame(), expect(Port).rule("core/web")),
                from_client("the gateway", to(who.gateway_by_route).frame(), expect(Gateway)),
            ]
        });
        check(filter, &rows);
    });
}

/// Routes that say so explicitly end what they match.
#[test]
fn what_no_route_forwards_is_denied_by_its_own_reason() {
    run("", "", |filter| {
        ip(&["-4 route add unreachable 20.0.0.0/24", "-6 route add unreachable 2a01:111::/64"]);
        let rows = both(|who| {
            let to =
                |destination| Datagram::new(who.client, destination).tcp(40000, 22, Flags::SYN);
            vec![from_client("unreachable", to(who.public).frame(), expect(Destination))]
        });
        check(filter, &rows);
    });
}

#[test]
fn the_links_broadcast_address_is_the_gateways_business() {
    run("", "", |filter| {
        let [who, _] = Addresses::both();
        let broadcast: std::net::Ipv4Addr = "10.20.0.255".parse().unwrap();
        let frame = Datagram::new(who.client, broadcast).udp(40000, 9, b"x").frame();
        check(filter, &[from_client("a directed broadcast", frame, expect(Gateway))]);
    });
}

/// Linux forwards what is for IPv4's link-local addresses as anything else, by its default route.
#[test]
fn a_link_local_address_of_nobodys_is_not_the_gateways() {
    run("", "", |filter| {
        let [who, _] = Addresses::both();
        let mut rows = Vec::new();
        for address in ["169.254.169.254", "169.254.7.8", "169.254.1.0"] {
            let to = || Datagram::new(who.client, address.parse::<IpAddr>().unwrap());
            let row = |frame| from_client(address, frame, expect(Destination));
            rows.push(row(to().tcp(40000, 80, Flags::SYN).frame()));
            rows.push(row(to().udp(40000, 80, b"x").frame()));
            rows.push(row(to().echo_request(1).frame()));
            let from_link = Datagram::new(who.link_local, address.parse::<IpAddr>().unwrap());
            let from_link = from_link.tcp(40000, 80, Flags::SYN).frame();
            rows.push(from_client(address, from_link, expect(LinkLocal)));
        }
        check(filter, &rows);
    });
}

#[test]
fn the_gateway_is_judged_if_the_site_says_so() {
    run("", "to_gateway: policy", |filter| {
        let rows = both(|who| {
            let mut rows = Vec::new();
            for gateway in [who.gateway, who.gateway_by_route, who.gateway_link_local] {
                let to = |source| Datagram::new(source, gateway);
                let client = || to(who.client);
                rows.extend([
                    from_client(
                        "TCP",
                        client().tcp(1, 22, Flags::SYN).frame(),
                        expect(Destination),
                    ),
                    from_client("an echo", client().echo_request(1).frame(), expect(Destination)),
                    from_client("OSPF", client().raw(89, &[0; 16]).frame(), expect(Protocol)),
                    from_client("a reply", client().echo_reply(1).frame(), expect(Icmp)),
                    from_client(
                        "an unlisted source",
                        to(who.unlisted).tcp(1, 22, Flags::SYN).frame(),
                        expect(UnlistedClient),
                    ),
                    from_client(
                        "a link-local source",
                        to(who.link_local).tcp(1, 22, Flags::SYN).frame(),
                        expect(LinkLocal),
                    ),
                ]);
            }
            let web = Datagram::new(who.client, who.web).tcp(1, 443, Flags::SYN);
            rows.push(from_client("others pass", web.frame(), expect(Policy).rule("core/web")));
            rows
        });
        check(filter, &rows);
    });
}
