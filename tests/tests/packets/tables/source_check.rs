//! Sources that the routes lead to by another interface, or nowhere: `source_check`.

use std::{collections::BTreeMap, net::IpAddr};

use intune_filter::config::Config;
use intune_filter_ebpf::abi::Reason::{
    self, DnsQuery, Exempt, Flow, IcmpError, Link, Policy, SourceInterface,
};
use intune_filter_tests::prog_test_run::{
    Addresses, Datagram, Expected, Flags, Message, Row, both, check, check_in_order, check_on,
    expect, from_client, message::A, site::changed_config, to_client,
};

use crate::{run, tables::flows::WEB};

/// The site, where groups of eth1 have networks of eth2 and of the internet too.
pub(crate) fn site(check: &str, mode: &str) -> Config {
    changed_config("", "", |text| {
        text.replacen(
            "{name: eth1, vlans",
            &format!("{{name: eth1, source_check: {check}, vlans"),
            1,
        )
        .replacen(
            "networks: [10.20.0.0/24, 'fd00:20::/64']",
            &format!(
                "networks: [10.20.0.0/24, 'fd00:20::/64', 10.22.0.0/24, 'fd00:22::/64', \
                     20.0.0.0/24, '2a01:111::/64']\n    mode: {mode}"
            ),
            1,
        )
    })
}

pub(crate) fn syn(source: IpAddr, who: &Addresses) -> Vec<u8> {
    Datagram::new(source, who.web).tcp(40000, 443, Flags::SYN).frame()
}

fn query(source: IpAddr, who: &Addresses) -> Vec<u8> {
    let message = Message::query(1, "portal.core.example", A);
    Datagram::new(source, who.resolver).udp(40000, 53, message.octets()).frame()
}

/// A new flow, a query and a first fragment from each kind of source.
fn rows(who: &Addresses, elsewhere: bool, nowhere: bool) -> Vec<Row> {
    let mut rows = Vec::new();
    for (what, source, denied) in [
        ("a client", who.client, false),
        ("of another network", who.other, elsewhere),
        ("of the internet", who.public, elsewhere),
        ("the gateway's own", who.gateway, nowhere),
    ] {
        let passes = |reason| if denied { SourceInterface } else { reason };
        rows.push(from_client(
            format!("a flow, {what}"),
            syn(source, who),
            expect(passes(Policy)).rule(WEB),
        ));
        rows.push(from_client(
            format!("a query, {what}"),
            query(source, who),
            expect(passes(DnsQuery)),
        ));
        let first = Datagram::new(source, who.ntp).fragment(0, true).udp(40000, 123, &[0x23; 16]);
        rows.push(from_client(
            format!("a first fragment, {what}"),
            first.frame(),
            expect(passes(Policy)).rule("time/ntp"),
        ));
        let reset = Datagram::new(source, who.web).tcp(40000, 443, Flags::RST).frame();
        let expected = expect(passes(Policy)).rule(WEB);
        rows.push(from_client(format!("a reset, {what}"), reset, expected.flowless()));
        let connect = Datagram::new(source, who.resolver);
        let connect = connect.segment([40000, 53], Flags::SYN, [7, 0], b"").frame();
        rows.push(from_client(
            format!("a connection to a resolver, {what}"),
            connect,
            expect(passes(DnsQuery)),
        ));
    }
    rows
}

#[test]
fn each_check_denies_what_it_says() {
    run("", "", |filter| {
        for (check_word, elsewhere, nowhere) in
            [("strict", true, true), ("loose", false, true), ("off", false, false)]
        {
            filter.install(&site(check_word, "enforce")).unwrap();
            check(filter, &both(|who| rows(who, elsewhere, nowhere)));
        }
    });
}

#[test]
fn strict_is_what_a_file_means_that_does_not_say() {
    run("", "", |filter| {
        let text = site("strict", "enforce");
        let unsaid = changed_config("", "", |text| {
            text.replacen("networks: [10.20.0.0/24,", "networks: [10.22.0.0/24, 10.20.0.0/24,", 1)
        });
        assert_eq!(text.interfaces[0].source_check, unsaid.interfaces[0].source_check);
        filter.install(&unsaid).unwrap();
        let [who, _] = Addresses::both();
        let expected = expect(SourceInterface).rule(WEB);
        check(filter, &[from_client("of another network", syn(who.other, &who), expected)]);
    });
}

/// What an audited group is spared, and what an exempt one is not.
#[test]
fn audited_groups_are_spared_and_exempt_ones_are_not() {
    run("", "", |filter| {
        let of = |expected: Expected| {
            both(|who| {
                vec![
                    from_client("a flow", syn(who.other, who), expected.clone().rule(WEB)),
                    from_client("a query", query(who.other, who), expected.clone()),
                ]
            })
        };
        filter.install(&site("strict", "audit")).unwrap();
        check(filter, &of(expect(SourceInterface).audited()));
        filter.install(&site("strict", "exempt")).unwrap();
        let rows = both(|who| {
            vec![
                from_client("a flow", syn(who.other, who), expect(SourceInterface)),
                from_client("a query", query(who.other, who), expect(SourceInterface)),
                from_client("a client's flow", syn(who.client, who), expect(Exempt)),
                from_client("a client's query", query(who.client, who), expect(DnsQuery)),
            ]
        });
        check(filter, &rows);
    });
}

/// Who is in no group and let through.
#[test]
fn unlisted_sources_are_asked_for_too() {
    run("", "unlisted_clients: allow", |filter| {
        let rows = both(|who| {
            vec![
                from_client("here", syn(who.unlisted, who), expect(Reason::UnlistedAllowed)),
                from_client("of another network", syn(who.other, who), expect(SourceInterface)),
            ]
        });
        check(filter, &rows);
    });
}

/// A flow is asked for once: its source's route may change.
#[test]
fn known_flows_are_not_asked_for() {
    run("", "", |filter| {
        for who in Addresses::both() {
            filter.install(&site("off", "enforce")).unwrap();
            let answer = Datagram::new(who.web, who.other).tcp(443, 40000, Flags::SYN_ACK).frame();
            let more = Datagram::new(who.other, who.web).tcp(40000, 443, Flags::ACK).frame();
            check_in_order(
                filter,
                &[
                    from_client("a flow", syn(who.other, &who), expect(Policy).rule(WEB)),
                    to_client("its answer", answer, expect(Flow).rule(WEB)),
                    from_client("more of it", more.clone(), expect(Flow).rule(WEB)),
                ],
            );
            filter.install(&site("strict", "enforce")).unwrap();
            check_on(
                filter,
                &[
                    from_client("known to an older policy", more.clone(), expect(Flow).rule(WEB)),
                    from_client("known", more, expect(Flow).rule(WEB)),
                ],
            );
        }
    });
}

#[test]
fn whose_routes_are_not_known_is_believed() {
    run("", "", |filter| {
        filter.install(&site("strict", "enforce")).unwrap();
        let devices = filter.devices().unwrap();
        let gone = devices.keys().map(|zone| (*zone, 4000)).collect();
        for devices in [gone, BTreeMap::new()] {
            filter.set_devices(&devices).unwrap();
            check(filter, &both(|who| rows(who, false, false)));
        }
    });
}

/// A lease is renewed with the address that it is for, wherever that is routed.
#[test]
fn a_dhcp_request_to_a_server_beyond_is_not_asked_for() {
    run("", "", |filter| {
        filter.install(&site("strict", "enforce")).unwrap();
        let rows = both(|who| {
            let ports = if who.client.is_ipv4() { (68, 67) } else { (546, 547) };
            let renew = |source| {
                Datagram::new(source, who.dhcp_server).udp(ports.0, ports.1, b"renew").frame()
            };
            vec![
                from_client("of a client", renew(who.client), expect(Link)),
                from_client("of another network", renew(who.other), expect(Link)),
            ]
        });
        check(filter, &rows);
    });
}

/// An error about a neighbour's flow, in its name.
#[test]
fn icmp_errors_are_asked_for() {
    run("", "", |filter| {
        for who in Addresses::both() {
            filter.install(&site("off", "enforce")).unwrap();
            let open = from_client("a flow", to_push(&who), expect(Policy).rule("core/push"));
            let push = Datagram::new(who.push, who.other).udp(5223, 40000, b"12345678");
            let quote = Datagram::new(who.other, who.push).unreachable(&push).frame();
            check_in_order(
                filter,
                &[open, from_client("an error", quote.clone(), expect(IcmpError))],
            );
            filter.install(&site("strict", "enforce")).unwrap();
            check_on(filter, &[from_client("an error", quote, expect(SourceInterface))]);
        }
    });
}

fn to_push(who: &Addresses) -> Vec<u8> {
    Datagram::new(who.other, who.push).udp(40000, 5223, b"x").frame()
}
