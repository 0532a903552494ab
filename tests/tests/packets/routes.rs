//! The gateway's addresses and its clients' sources where only the kernel's routes know them.

use std::{net::IpAddr, process::Command};

use intune_filter_ebpf::abi::Reason::{Destination, Gateway, Port};
use intune_filter_tests::{
    namespace,
    prog_test_run::{Datagram, Flags, both, check, expect, from_client, run, site::VLAN},
};

use crate::tables::{gateway::to_every_address, sources::innocents};

/// Changes the routes of the namespace that the test runs in.
fn ip(lines: &[&str]) {
    for line in lines {
        namespace::run(Command::new("ip").args(line.split(' '))).expect(line);
    }
}

#[test]
fn each_zone_reaches_the_addresses_of_its_own_network_alone() {
    run("", "", |filter| {
        // Known by the routes alone, as all that appear while no daemon runs.
        ip(&[
            "address add 10.21.0.1/24 dev eth1.20",
            "address add fd00:21::1/64 dev eth1.20 nodad",
            "address add 10.22.0.1/24 dev eth2",
            "address add fd00:22::1/64 dev eth2 nodad",
            "address add 10.99.0.1/32 dev lo",
            "address add fd00:99::1/128 dev lo nodad",
        ]);
        let rows = both(|who| {
            let v4 = who.client.is_ipv4();
            let own = |four: &str, six: &str| -> IpAddr {
                if v4 { four.parse().unwrap() } else { six.parse().unwrap() }
            };
            let vlan = own("10.21.0.1", "fd00:21::1");
            let other = own("10.22.0.1", "fd00:22::1");
            let mut rows = Vec::new();
            let mut row = |from: &str, to: &str, source, destination, expected| {
                for (kind, datagram) in [
                    ("TCP", Datagram::new(source, destination).tcp(40000, 22, Flags::SYN)),
                    ("UDP", Datagram::new(source, destination).udp(40000, 161, b"x")),
                    ("an echo", Datagram::new(source, destination).echo_request(1)),
                ] {
                    let reason = if expected { Gateway } else { Destination };
                    let what = format!("{kind} from {from} to {to}");
                    let frame = if from == "the VLAN" {
                        datagram.tag(0x8100, VLAN).frame()
                    } else {
                        datagram.frame()
                    };
                    let row = from_client(what, frame, expect(reason));
                    rows.push(if from == "eth2" { row.on_other() } else { row });
                }
            };
            for (from, source, its) in [
                ("eth1", who.client, "eth1"),
                ("the VLAN", who.tagged, "the VLAN"),
                ("eth2", who.other, "eth2"),
            ] {
                row(from, "eth1 by the map", source, who.gateway, its == "eth1");
                row(from, "eth1 by routes", source, who.gateway_by_route, its == "eth1");
                row(from, "the VLAN", source, vlan, its == "the VLAN");
                row(from, "eth2", source, other, its == "eth2");
                row(from, "the WAN", source, own("172.31.0.1", "fd00:31::1"), false);
                row(from, "loopback's", source, own("10.99.0.1", "fd00:99::1"), false);
            }
            rows
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
fn clients_are_believed_where_there_is_policy_routing() {
    run("", "", |filter| {
        ip(&[
            "-4 rule add fwmark 1 table 100",
            "-6 rule add fwmark 1 table 100",
            // What comes from clients leaves by a tunnel, as it were.
            "-4 rule add iif eth1 table 101",
            "-6 rule add iif eth1 table 101",
            "-4 route add default via 172.31.0.2 table 101",
            "-6 route add default via fd00:31::2 table 101",
        ]);
        check(filter, &both(innocents));
    });
}

#[test]
fn clients_are_believed_of_whom_the_routes_say_nothing() {
    run("", "", |filter| {
        ip(&[
            "-4 route del default",
            "-6 route del default",
            "-4 route del 10.20.0.0/16",
            "-6 route del fd00:20::/48",
        ]);
        check(filter, &both(innocents));
    });
}
