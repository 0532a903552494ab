//! The gateway's addresses and its clients' sources where only the kernel's routes know them.

use std::{net::IpAddr, process::Command};

use intune_filter_ebpf::abi::Reason::{Destination, Gateway, Policy, Port, SourceInterface};
use intune_filter_tests::{
    namespace,
    prog_test_run::{
        Datagram, Flags, LoadedFilter, both, check, expect, from_client, run, site::VLAN,
    },
};

use crate::tables::{
    gateway::to_every_address,
    source_check::{site, syn},
    sources::innocents,
};

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
        // A route that leads nowhere is one that the strict check denies.
        filter.install(&site("off", "enforce")).unwrap();
        check(filter, &both(innocents));
    });
}

/// What the strict check says of a flow from a source of eth2, that comes in on eth1.
fn from_another_network(filter: &mut LoadedFilter, passes: bool) {
    filter.install(&site("strict", "enforce")).unwrap();
    let reason = if passes { Policy } else { SourceInterface };
    let rows = both(|who| {
        let expected = expect(reason).rule("core/web");
        vec![from_client("of another network", syn(who.other, who), expected)]
    });
    check(filter, &rows);
}

#[test]
fn several_routes_are_as_good_as_one() {
    run("", "", |filter| {
        from_another_network(filter, false);
        ip(&[
            "-4 route replace 10.22.0.0/24 nexthop dev eth1 nexthop dev eth2",
            "-6 route append fd00:22::/64 dev eth1",
        ]);
        from_another_network(filter, true);
    });
}

/// Of IPv6 the kernel tells the best routes alone.
#[test]
fn a_second_return_route_of_ipv4_is_believed_if_it_is_worse_too() {
    run("", "", |filter| {
        ip(&[
            "-4 route add 10.22.0.0/24 dev eth1 metric 4000",
            "-6 route add fd00:22::/64 dev eth1 metric 4000",
        ]);
        filter.install(&site("strict", "enforce")).unwrap();
        let rows = both(|who| {
            let reason = if who.client.is_ipv4() { Policy } else { SourceInterface };
            let expected = expect(reason).rule("core/web");
            vec![from_client("of another network", syn(who.other, who), expected)]
        });
        check(filter, &rows);
    });
}

#[test]
fn policy_routing_by_interface_makes_no_source_foreign() {
    run("", "", |filter| {
        ip(&[
            "-4 rule add iif eth1 table 101",
            "-6 rule add iif eth1 table 101",
            "-4 route add default via 172.31.0.2 table 101",
            "-6 route add default via fd00:31::2 table 101",
        ]);
        filter.install(&site("strict", "enforce")).unwrap();
        let rows = both(|who| {
            vec![from_client("a client", syn(who.client, who), expect(Policy).rule("core/web"))]
        });
        check(filter, &rows);
    });
}

#[test]
fn nothing_is_known_of_sources_where_nothing_is_forwarded() {
    run("", "", |filter| {
        for family in ["ipv4", "ipv6"] {
            let path = format!("/proc/sys/net/{family}/conf/eth1/forwarding");
            std::fs::write(path, "0").unwrap();
        }
        from_another_network(filter, true);
    });
}

#[test]
fn what_a_route_rejects_has_no_way_back() {
    run("", "", |filter| {
        for kind in ["blackhole", "unreachable", "prohibit"] {
            ip(&[
                &format!("-4 route add {kind} 10.20.0.8/29"),
                &format!("-6 route add {kind} fd00:20::/121"),
            ]);
            for (check_word, denied) in [("strict", true), ("loose", true), ("off", false)] {
                filter.install(&site(check_word, "enforce")).unwrap();
                let reason = if denied { SourceInterface } else { Policy };
                let rows = both(|who| {
                    let expected = expect(reason).rule("core/web");
                    vec![from_client(kind, syn(who.client, who), expected)]
                });
                check(filter, &rows);
            }
            ip(&[
                &format!("-4 route del {kind} 10.20.0.8/29"),
                &format!("-6 route del {kind} fd00:20::/121"),
            ]);
        }
    });
}
