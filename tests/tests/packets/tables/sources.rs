//! Whose packets to the gateway are believed to come from where they say.

use std::net::IpAddr;

use intune_filter_ebpf::abi::Reason::{DnsQuery, Gateway, Link, LinkLocal, Policy, Source};
use intune_filter_tests::prog_test_run::{
    Addresses, Datagram, Expected, Flags, Message, Row, both, check, expect, from_client,
    message::A, site::VLAN,
};

use crate::run;

fn query(source: IpAddr, resolver: IpAddr) -> Vec<u8> {
    let message = Message::query(1, "portal.core.example", A);
    Datagram::new(source, resolver).udp(40000, 53, message.octets()).frame()
}

fn forged() -> Expected {
    expect(Source).silent()
}

/// Of one family.
fn address(who: &Addresses, four: &str, six: &str) -> IpAddr {
    if who.client.is_ipv4() { four.parse().unwrap() } else { six.parse().unwrap() }
}

/// Sources that no client on eth1 can have.
fn impossible(who: &Addresses) -> [(&'static str, IpAddr); 6] {
    [
        ("the gateway's own", who.gateway),
        ("a resolver's", who.resolver),
        ("of another network", who.other),
        ("of a VLAN", who.tagged),
        ("of the internet", who.public),
        ("of the WAN", address(who, "172.31.0.2", "fd00:31::2")),
    ]
}

#[test]
fn sources_that_no_client_has_reach_nothing_of_the_gateways() {
    run("", "", |filter| {
        check(
            filter,
            &both(|who| {
                let mut rows = Vec::new();
                for (what, source) in impossible(who) {
                    for gateway in [who.gateway, who.gateway_by_route, who.gateway_link_local] {
                        // As long as a source is its own, the routes do not tell of a destination.
                        if source == who.gateway && gateway != who.gateway && source.is_ipv4() {
                            continue;
                        }
                        let to = || Datagram::new(source, gateway);
                        let mut row = |kind: &str, datagram: Datagram| {
                            let what = format!("{kind}, {what}, to {gateway}");
                            rows.push(from_client(what, datagram.frame(), forged()));
                        };
                        row("UDP", to().udp(53, 40000, b"an answer"));
                        row("TCP", to().tcp(40000, 22, Flags::SYN));
                        row("an echo", to().echo_request(1));
                        row("a later fragment", to().fragment(10, false).raw(17, b"8 octets"));
                    }
                    rows.push(from_client(
                        format!("a query, {what}"),
                        query(source, who.gateway),
                        forged(),
                    ));
                    let all = address(who, "255.255.255.255", "ff02::1");
                    let group = address(who, "224.0.0.1", "ff02::fb");
                    for destination in [all, group] {
                        let datagram = Datagram::new(source, destination);
                        let frame = datagram.udp(53, 40000, b"an answer").frame();
                        rows.push(from_client(
                            format!("{what}, to {destination}"),
                            frame,
                            forged(),
                        ));
                    }
                }
                rows
            }),
        );
    });
}

#[test]
fn the_gateway_is_judged_and_its_sources_all_the_same() {
    run("", "to_gateway: policy", |filter| {
        check(
            filter,
            &both(|who| {
                let frame = Datagram::new(who.other, who.gateway).tcp(1, 22, Flags::SYN).frame();
                vec![from_client("of another network", frame, forged())]
            }),
        );
    });
}

/// Sources of clients of a network, and of hosts that have no address yet.
pub(crate) fn innocents(who: &Addresses) -> Vec<Row> {
    let mut rows = Vec::new();
    for (what, source) in [
        ("a client", who.client),
        ("another address of its", who.neighbour),
        ("one behind a router on the link", address(who, "10.20.4.77", "fd00:20:0:4::77")),
        ("a link-local source", who.link_local),
    ] {
        let frame = Datagram::new(source, who.gateway).tcp(40000, 22, Flags::SYN).frame();
        rows.push(from_client(format!("SSH, {what}"), frame, expect(Gateway)));
        rows.push(from_client(format!("DNS, {what}"), query(source, who.gateway), {
            expect(DnsQuery)
        }));
    }
    rows.push(from_client("DNS by the VLAN", query_tagged(who), expect(DnsQuery)));
    if who.client.is_ipv4() {
        let dhcp = |source: &str, destination: &str| {
            let [source, destination] =
                [source, destination].map(|ip| ip.parse::<IpAddr>().unwrap());
            Datagram::new(source, destination).udp(68, 67, b"x").frame()
        };
        let link = || expect(Link);
        rows.push(from_client("discover", dhcp("0.0.0.0", "255.255.255.255"), link()));
        rows.push(from_client("rebind", dhcp("192.168.7.7", "255.255.255.255"), link()));
        rows.push(from_client("renew", dhcp("10.20.0.10", "10.20.0.1"), expect(Gateway)));
    } else {
        let discovery = |source: &str, destination: &str, kind| {
            let [source, destination] =
                [source, destination].map(|ip| ip.parse::<IpAddr>().unwrap());
            let datagram = Datagram::new(source, destination).hop_limit(255);
            datagram.icmp(kind, 0, [0; 4], &[0; 16]).frame()
        };
        for (what, source, destination, kind) in [
            ("DAD", "::", "ff02::1:ff00:10", 135),
            ("RS without an address", "::", "ff02::2", 133),
            ("RS", "fe80::10", "ff02::2", 133),
            ("NS", "fd00:20::10", "ff02::1:ff00:1", 135),
            ("NS to the gateway", "fd00:20::10", "fd00:20::1", 135),
            ("NS of an old address", "fd00:77::10", "fe80::1", 135),
            ("NA", "fe80::10", "fe80::1", 136),
        ] {
            rows.push(from_client(what, discovery(source, destination, kind), expect(Link)));
        }
        let dhcp = Datagram::new(who.link_local, "ff02::1:2".parse::<IpAddr>().unwrap());
        rows.push(from_client("DHCPv6", dhcp.udp(546, 547, b"x").frame(), expect(Link)));
    }
    rows
}

fn query_tagged(who: &Addresses) -> Vec<u8> {
    let message = Message::query(1, "portal.core.example", A);
    let datagram = Datagram::new(who.tagged, who.gateway).udp(40000, 53, message.octets());
    datagram.tag(0x8100, VLAN).frame()
}

#[test]
fn clients_are_believed() {
    run("", "", |filter| check(filter, &both(innocents)));
}

/// A device that is gone, or none at all: nothing is known of where sources are.
#[test]
fn clients_are_believed_whose_device_is_not_known() {
    run("", "", |filter| {
        let devices = filter.devices().unwrap();
        let gone = devices.keys().map(|zone| (*zone, 4000)).collect();
        filter.set_devices(&gone).unwrap();
        check(
            filter,
            &both(|who| {
                vec![from_client("a query", query(who.client, who.gateway), expect(DnsQuery))]
            }),
        );
        filter.set_devices(&std::collections::BTreeMap::new()).unwrap();
        check(
            filter,
            &both(|who| {
                vec![
                    from_client("a query", query(who.client, who.gateway), expect(DnsQuery)),
                    from_client("a resolver's", query(who.resolver, who.gateway), forged()),
                ]
            }),
        );
    });
}

/// Of IPv4 the stack would forward them.
#[test]
fn link_local_sources_of_ipv4_reach_the_gateway_alone() {
    run("", "", |filter| {
        let [four, six] = Addresses::both();
        let tcp = |who: &Addresses, to| {
            Datagram::new(who.link_local, to).segment([40000, 53], Flags::SYN, [7, 0], b"").frame()
        };
        check(
            filter,
            &[
                from_client("a query", query(four.link_local, four.gateway), expect(DnsQuery)),
                from_client("beyond", query(four.link_local, four.resolver), expect(LinkLocal)),
                from_client("TCP", tcp(&four, four.gateway), expect(DnsQuery)),
                from_client("TCP beyond", tcp(&four, four.resolver), expect(LinkLocal)),
                from_client("IPv6", query(six.link_local, six.gateway), expect(DnsQuery)),
            ],
        );
    });
}

#[test]
fn who_is_forwarded_is_not_asked_for() {
    run("", "", |filter| {
        check(
            filter,
            &both(|who| {
                let frame = Datagram::new(who.client, who.web).tcp(1, 443, Flags::SYN).frame();
                vec![from_client("a client", frame, expect(Policy).rule("core/web"))]
            }),
        );
    });
}
