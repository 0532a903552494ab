//! Packets to the gateway itself.

use std::net::IpAddr;

use intune_filter_ebpf::abi::Reason::{
    Destination, Gateway, Icmp, LinkLocal, Policy, Protocol, UnlistedClient,
};
use intune_filter_tests::prog_test_run::{
    Addresses, Datagram, Flags, Message, Row, both, check, expect, from_client, message::A,
};

use crate::run;

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

/// Addresses of the gateway where the map knows all of them, and two networks share one.
#[test]
fn an_address_is_of_each_network_that_has_it() {
    run("", "", |filter| {
        let [lan, other] = ["eth1", "eth2"].map(|name| filter.index(name).unwrap());
        for who in Addresses::both() {
            let own = [(lan, who.gateway), (other, who.gateway), (other, who.gateway_by_route)];
            filter.set_own_addresses(&own.into()).unwrap();
            let to = |source, own| Datagram::new(source, own).tcp(40000, 22, Flags::SYN).frame();
            let rows = [
                from_client("both, from eth1", to(who.client, who.gateway), expect(Gateway)),
                from_client("both, from eth2", to(who.other, who.gateway), expect(Gateway))
                    .on_other(),
                from_client("one, from eth2", to(who.other, who.gateway_by_route), expect(Gateway))
                    .on_other(),
                from_client("the other's", to(who.client, who.gateway_by_route), {
                    expect(Destination)
                }),
            ];
            check(filter, &rows);
        }
    });
}

#[test]
fn ports_of_the_gateway_that_are_open_are_a_list() {
    run("", "to_gateway: {tcp: [22, '8000-8001'], udp: [161]}", |filter| {
        let rows = both(|who| {
            let mut rows = Vec::new();
            for gateway in [who.gateway, who.gateway_by_route, who.gateway_link_local] {
                let to = || Datagram::new(who.client, gateway);
                let mut row = |what: &str, datagram: Datagram, reason| {
                    rows.push(from_client(what, datagram.frame(), expect(reason)));
                };
                for (port, reason) in
                    [(22, Gateway), (8000, Gateway), (8001, Gateway), (8002, Destination)]
                {
                    row("TCP", to().tcp(40000, port, Flags::SYN), reason);
                }
                row("TCP to UDP's", to().tcp(40000, 161, Flags::SYN), Destination);
                row("UDP", to().udp(40000, 161, b"x"), Gateway);
                row("UDP to TCP's", to().udp(40000, 22, b"x"), Destination);
                row("an echo", to().echo_request(1), Destination);
                row("another protocol", to().raw(89, &[0; 16]), Protocol);
            }
            let unlisted = Datagram::new(who.unlisted, who.gateway).tcp(1, 22, Flags::SYN);
            rows.push(from_client("an unlisted source", unlisted.frame(), expect(Gateway)));
            let unlisted = Datagram::new(who.unlisted, who.gateway).tcp(1, 23, Flags::SYN);
            rows.push(from_client("to another port", unlisted.frame(), expect(UnlistedClient)));
            rows
        });
        check(filter, &rows);
    });
}

/// Whoever opens all ports of the gateway opens the resolvers behind them too.
#[test]
fn a_resolver_behind_another_port_of_the_gateway_is_asked_where_that_port_is_open() {
    for (to_gateway, reason) in
        [("pass", Gateway), ("{tcp: [22], udp: [161]}", Destination), ("policy", Destination)]
    {
        run("", &format!("to_gateway: {to_gateway}"), |filter| {
            let rows = both(|who| {
                let query = Message::query(7, "any.unlisted.test", A);
                let mut rows = Vec::new();
                for port in [54, 5353, 5354, 8053] {
                    let to = || Datagram::new(who.client, who.gateway);
                    let udp = to().udp(40000, port, query.octets()).frame();
                    let tcp = to().tcp(40000, port, Flags::SYN).frame();
                    rows.push(from_client("a query", udp, expect(reason)));
                    rows.push(from_client("a connection", tcp, expect(reason)));
                }
                rows
            });
            check(filter, &rows);
        });
    }
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
