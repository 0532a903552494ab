//! Traffic of the link passes; each exemption is also tried as a tunnel, and fails.

use std::net::IpAddr;

use intune_filter_ebpf::abi::Reason::{
    Destination, GatewaySent, Icmp, Link, LinkLocal, Port, Protocol, UnlistedClient, Unsolicited,
};
use intune_filter_tests::prog_test_run::{
    Addresses, Datagram, Flags, Message, Row, both, check, check_in_order, datagram::frame_of,
    expect, from_client, message::A, to_client,
};

use crate::run;

const IGMP: u8 = 2;
const UNSPECIFIED4: &str = "0.0.0.0";
const UNSPECIFIED6: &str = "::";

fn ip(text: &str) -> IpAddr {
    text.parse().expect("a constant")
}

pub(crate) fn link_scope4(who: &Addresses) -> Vec<Row> {
    let anybody = ip(UNSPECIFIED4);
    let row = |what: &str, datagram: Datagram| from_client(what, datagram.frame(), expect(Link));
    let from = |destination: &str| Datagram::new(who.client, ip(destination));
    vec![
        from_client("ARP", frame_of(0x0806, &[0; 28]), expect(Link)),
        row("DHCP discover", Datagram::new(anybody, ip("255.255.255.255")).udp(68, 67, b"x")),
        row("UDP to all hosts of the link", from("255.255.255.255").udp(40000, 9, b"x")),
        row("IGMP to all routers", from("224.0.0.22").hop_limit(1).raw(IGMP, &[0x22; 16])),
        row("mDNS", from("224.0.0.251").hop_limit(255).udp(5353, 5353, b"x")),
        row("LLMNR", from("224.0.0.252").udp(40000, 5355, b"x")),
        row("the last of the block", from("224.0.0.255").udp(1, 2, b"x")),
        row("a report to the group itself", from("239.1.1.1").hop_limit(1).raw(IGMP, &[0x16; 8])),
        row("DHCP renew at a named server", {
            Datagram::new(who.client, who.dhcp_server).udp(68, 67, b"x")
        }),
    ]
}

pub(crate) fn tunnels4(who: &Addresses) -> Vec<Row> {
    let from = |destination: &str| Datagram::new(who.client, ip(destination));
    let anybody = |destination| Datagram::new(ip(UNSPECIFIED4), destination);
    let row = |what: &str, datagram: Datagram, reason| {
        from_client(what, datagram.frame(), expect(reason))
    };
    vec![
        row(
            "a report with time to live 2",
            from("239.1.1.1").hop_limit(2).raw(IGMP, &[0x16; 8]),
            Protocol,
        ),
        row(
            "a report with time to live 0",
            from("239.1.1.1").hop_limit(0).raw(IGMP, &[0x16; 8]),
            Protocol,
        ),
        row(
            "a report to one host",
            Datagram::new(who.client, who.public).hop_limit(1).raw(IGMP, &[0x16; 8]),
            Protocol,
        ),
        row(
            "UDP to the group, time to live 1",
            from("239.1.1.1").hop_limit(1).udp(1, 2, b"x"),
            Destination,
        ),
        row("SSDP", from("239.255.255.250").udp(40000, 1900, b"x"), Destination),
        row("just past the local block", from("224.0.1.0").udp(1, 2, b"x"), Destination),
        row("just before all hosts", from("255.255.255.254").udp(68, 67, b"x"), Destination),
        row("DHCP from nobody to one host", anybody(who.public).udp(68, 67, b"x"), LinkLocal),
        row("from nobody to an allowed host", anybody(who.web).tcp(1, 443, Flags::SYN), LinkLocal),
        row(
            "from nobody to a named DHCP server",
            anybody(who.dhcp_server).udp(68, 67, b"x"),
            LinkLocal,
        ),
    ]
}

pub(crate) fn link_scope6(who: &Addresses) -> Vec<Row> {
    let row = |what: &str, datagram: Datagram| from_client(what, datagram.frame(), expect(Link));
    let from = |destination: IpAddr| Datagram::new(who.client, destination).hop_limit(255);
    let local = |destination: &str| Datagram::new(who.link_local, ip(destination)).hop_limit(255);
    let nobody =
        |destination: &str| Datagram::new(ip(UNSPECIFIED6), ip(destination)).hop_limit(255);
    let discovery = |datagram: Datagram, kind| datagram.icmp(kind, 0, [0; 4], &[0; 16]);
    vec![
        row("a solicitation to its group", discovery(local("ff02::1:ff00:1"), 135)),
        row("duplicate address detection", discovery(nobody("ff02::1:ff00:10"), 135)),
        row("a solicitation to the gateway's link-local address", discovery(local("fe80::1"), 135)),
        row("a solicitation to the gateway", discovery(from(who.gateway), 135)),
        row(
            "a solicitation to the gateway, as the routes know it",
            discovery(from(who.gateway_by_route), 135),
        ),
        row(
            "the same from a link-local source",
            discovery(Datagram::new(who.link_local, who.gateway_by_route).hop_limit(255), 135),
        ),
        row("an advertisement to the gateway", discovery(from(who.gateway), 136)),
        row("an advertisement to all nodes", discovery(local("ff02::1"), 136)),
        row("a router solicitation", discovery(local("ff02::2"), 133)),
        row("one from nobody", discovery(nobody("ff02::2"), 133)),
        row("a report to all routers", discovery(local("ff02::16").hop_limit(1), 143)),
        row("a report to the group itself", discovery(local("ff05::1").hop_limit(1), 131)),
        row("a done to the group itself", discovery(local("ff0e::1").hop_limit(1), 132)),
        row("DHCP", local("ff02::1:2").udp(546, 547, b"x")),
        row("mDNS", local("ff02::fb").udp(5353, 5353, b"x")),
        row("a group of the interface", local("ff01::1").udp(1, 2, b"x")),
        row("a transient group of the link", local("ff12::1").udp(1, 2, b"x")),
        row("DHCP renew at a named server", {
            Datagram::new(who.client, who.dhcp_server).udp(546, 547, b"x")
        }),
    ]
}

pub(crate) fn tunnels6(who: &Addresses) -> Vec<Row> {
    let row = |what: &str, datagram: Datagram, reason| {
        from_client(what, datagram.frame(), expect(reason))
    };
    let from = |destination: IpAddr| Datagram::new(who.client, destination).hop_limit(255);
    let local = |destination: IpAddr| Datagram::new(who.link_local, destination).hop_limit(255);
    let group = |destination: &str| from(ip(destination));
    let discovery = |datagram: Datagram, kind| datagram.icmp(kind, 0, [0; 4], &[0; 16]);
    let mut rows = Vec::new();
    for kind in [133, 134, 135, 136] {
        rows.extend([
            row("discovery to a foreign host", discovery(from(who.public), kind), Icmp),
            row("the same, hop limit 254", discovery(from(who.public).hop_limit(254), kind), Icmp),
            row("discovery to an allowed host", discovery(from(who.web), kind), Icmp),
            row("discovery to a neighbour's address", discovery(from(who.neighbour), kind), Icmp),
            row("discovery to a wide group", discovery(group("ff05::1"), kind), Icmp),
            row("discovery from the link", discovery(local(who.public), kind), LinkLocal),
        ]);
    }
    // To the maps that know both families, IPv4 addresses of the gateway and of named servers.
    for mapped in ["::ffff:10.20.0.1", "::ffff:192.0.2.53", "::ffff:192.0.2.67", "::ffff:8.8.8.8"] {
        let to = || Datagram::new(who.client, ip(mapped));
        let query = Message::query(1, "portal.core.example", A);
        rows.extend([
            row(mapped, to().tcp(40000, 443, Flags::SYN), Destination),
            row(mapped, to().udp(40000, 53, query.octets()), Destination),
            row(mapped, to().udp(546, 547, b"x"), Destination),
            row(mapped, discovery(group(mapped), 135), Destination),
            row(mapped, to().fragment(2, false).raw(17, b"8 octets"), Destination),
        ]);
    }
    rows.extend([
        row("a redirect", discovery(from(who.public), 137), Icmp),
        row("a report with hop limit 2", discovery(group("ff05::1").hop_limit(2), 131), Icmp),
        row("a report to one host", discovery(from(who.public).hop_limit(1), 131), Icmp),
        row("another message, hop limit 1", discovery(group("ff05::1").hop_limit(1), 135), Icmp),
        row("an echo, hop limit 1", group("ff05::1").hop_limit(1).echo_request(1), Destination),
        row("UDP, hop limit 1", group("ff05::1").hop_limit(1).udp(1, 2, b"x"), Destination),
        row("a group of the site", group("ff05::1:3").udp(546, 547, b"x"), Destination),
        row("a group of the realm", group("ff03::1").udp(1, 2, b"x"), Destination),
        row("a group of everywhere", group("ff0e::1").udp(1, 2, b"x"), Destination),
        row("a group of no scope", group("ff00::1").udp(1, 2, b"x"), Destination),
        row(
            "nobody to an allowed host",
            Datagram::new(ip(UNSPECIFIED6), who.web).tcp(1, 443, Flags::SYN),
            LinkLocal,
        ),
    ]);
    rows
}

/// Ports that look like those of protocols of the link.
pub(crate) fn tunnels(who: &Addresses) -> Vec<Row> {
    let row = |what: String, datagram: Datagram, reason| {
        from_client(what, datagram.frame(), expect(reason))
    };
    let (client_port, server_port) = if who.client.is_ipv4() { (68, 67) } else { (546, 547) };
    let from = |destination| Datagram::new(who.client, destination);
    let mut rows = vec![
        row(
            "DHCP to a foreign host".into(),
            from(who.public).udp(client_port, server_port, b"x"),
            Destination,
        ),
        row(
            "DHCP from an unlisted source".into(),
            Datagram::new(who.unlisted, who.dhcp_server).udp(client_port, server_port, b"x"),
            UnlistedClient,
        ),
        row(
            "a relay's port to a named DHCP server".into(),
            from(who.dhcp_server).udp(server_port, server_port, b"x"),
            Destination,
        ),
        row(
            "another port to a named DHCP server".into(),
            from(who.dhcp_server).udp(40000, server_port, b"x"),
            Destination,
        ),
        row(
            "another port of a named DHCP server".into(),
            from(who.dhcp_server).udp(client_port, 53000, b"x"),
            Destination,
        ),
        row(
            "TCP to a named DHCP server".into(),
            from(who.dhcp_server).tcp(client_port, server_port, Flags::SYN),
            Destination,
        ),
        row(
            "the link to an allowed host".into(),
            Datagram::new(who.link_local, who.web).tcp(1, 443, Flags::SYN),
            LinkLocal,
        ),
        row(
            "the link to a foreign host".into(),
            Datagram::new(who.link_local, who.public).udp(1, 443, b"x"),
            LinkLocal,
        ),
        row(
            "the link to a named DHCP server".into(),
            Datagram::new(who.link_local, who.dhcp_server).udp(client_port, server_port, b"x"),
            LinkLocal,
        ),
        from_client(
            "DHCP to an allowed host",
            from(who.web).udp(client_port, server_port, b"x").frame(),
            expect(Port).rule("core/web"),
        ),
    ];
    for port in [53, 67, 68, 546, 547, 5353, 123] {
        rows.push(row(
            format!("UDP from port {port}"),
            from(who.public).udp(port, 40000, b"x"),
            Destination,
        ));
        rows.push(row(
            format!("TCP from port {port}"),
            from(who.public).tcp(port, 40000, Flags::SYN),
            Destination,
        ));
    }
    rows
}

#[test]
pub(crate) fn link_scope_passes() {
    let [four, six] = Addresses::both();
    run("", "", |filter| {
        check(filter, &link_scope4(&four));
        check(filter, &link_scope6(&six));
    });
}

#[test]
fn nothing_is_tunnelled_through_link_scope() {
    let [four, six] = Addresses::both();
    run("", "", |filter| {
        check(filter, &tunnels4(&four));
        check(filter, &tunnels6(&six));
        check(filter, &both(tunnels));
    });
}

/// Neighbour discovery has to prove that it comes from the link, if the gateway is judged.
#[test]
fn discovery_with_another_hop_limit_is_none() {
    let [_, who] = Addresses::both();
    run("", "to_gateway: policy", |filter| {
        let mut rows = Vec::new();
        for kind in [133, 135, 136] {
            for gateway in [who.gateway, who.gateway_by_route, who.gateway_link_local] {
                let to = |hops| {
                    let datagram = Datagram::new(who.client, gateway).hop_limit(hops);
                    datagram.icmp(kind, 0, [0; 4], &[0; 16]).frame()
                };
                rows.push(from_client("hop limit 255", to(255), expect(Link)));
                rows.push(from_client("hop limit 254", to(254), expect(Icmp)));
            }
        }
        check(filter, &rows);
    });
}

/// On the way to clients only the gateway itself speaks for the link.
#[test]
fn what_is_forwarded_to_clients_is_never_link_scope() {
    run("", "", |filter| {
        let rows = both(|who| {
            let v4 = who.client.is_ipv4();
            let groups: &[&str] = if v4 {
                &["255.255.255.255", "224.0.0.1", "224.0.0.251", "10.20.0.255"]
            } else {
                &["ff02::1", "ff02::fb", "ff02::1:ff00:10", "fe80::10"]
            };
            let mut rows = Vec::new();
            for group in groups {
                let datagram = Datagram::new(who.public, ip(group)).udp(5353, 5353, b"x");
                rows.push(to_client(*group, datagram.frame(), expect(Unsolicited)));
                let own = Datagram::new(who.gateway, ip(group)).udp(5353, 5353, b"x").frame();
                rows.push(to_client(*group, own, expect(GatewaySent)).sent_by_gateway());
            }
            for port in [53, 67, 68, 546, 547] {
                let datagram = Datagram::new(who.public, who.client).udp(port, 40000, b"x");
                let what = format!("from port {port}");
                rows.push(to_client(what, datagram.frame(), expect(Unsolicited)));
            }
            let (client_port, server_port) = if v4 { (68, 67) } else { (546, 547) };
            let dhcp = Datagram::new(who.dhcp_server, who.client);
            rows.push(to_client(
                "a DHCP server's message that answers nothing",
                dhcp.udp(server_port, client_port, b"x").frame(),
                expect(Unsolicited),
            ));
            let kind = if v4 { 9 } else { 134 };
            for hops in [255, 64] {
                let datagram = Datagram::new(who.public, who.client).hop_limit(hops);
                rows.push(to_client(
                    "a router advertisement from elsewhere",
                    datagram.icmp(kind, 0, [0; 4], &[0; 12]).frame(),
                    expect(Unsolicited),
                ));
            }
            rows
        });
        check(filter, &rows);
        check(
            filter,
            &[to_client("ARP", frame_of(0x0806, &[0; 28]), expect(Link)).sent_by_gateway()],
        );
    });
}

#[test]
fn a_named_dhcp_server_answers() {
    use intune_filter_ebpf::abi::Reason::Flow;

    run("", "", |filter| {
        for who in Addresses::both() {
            let v4 = who.client.is_ipv4();
            let (client_port, server_port) = if v4 { (68, 67) } else { (546, 547) };
            let ask = Datagram::new(who.client, who.dhcp_server);
            let ask = ask.udp(client_port, server_port, b"x").frame();
            let answer = |client| {
                let datagram = Datagram::new(who.dhcp_server, client);
                datagram.udp(server_port, client_port, b"x").frame()
            };
            check_in_order(
                filter,
                &[
                    to_client("before it was asked", answer(who.client), expect(Unsolicited)),
                    from_client("renew", ask.clone(), expect(Link)),
                    to_client("to somebody else", answer(who.neighbour), expect(Unsolicited)),
                    to_client("its answer", answer(who.client), expect(Flow)),
                    from_client("again", ask, expect(Flow)),
                ],
            );
        }
    });
}
