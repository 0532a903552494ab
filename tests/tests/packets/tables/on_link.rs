//! Sources that are in no prefix of a group, and on-link: `networks: on-link`.

use std::net::IpAddr;

use intune_filter::config::Config;
use intune_filter_ebpf::abi::{
    Limits,
    Reason::{
        Destination, DnsQuery, Exempt, Inbound, Policy, Port, UnlistedAllowed, UnlistedClient,
        Unsolicited,
    },
};
use intune_filter_tests::prog_test_run::{
    Addresses, Datagram, Flags, Message, Row, both, check, check_in_order, check_on, expect,
    from_client, message::A, site::changed_config, to_client,
};

use crate::{
    run,
    tables::flows::{WEB, back, handshake, known, out},
};

/// The site, whose first group has whatever is on-link.
fn site(more: &str) -> Config {
    changed_config("", "", |text| {
        let text = text.replacen("[10.20.0.0/24, 'fd00:20::/64']", "on-link", 1);
        text.replacen("on_deny: drop", &format!("on_deny: drop{more}"), 1)
    })
}

fn syn(source: IpAddr, who: &Addresses) -> Vec<u8> {
    Datagram::new(source, who.web).tcp(40000, 443, Flags::SYN).frame()
}

fn query(source: IpAddr, who: &Addresses) -> Vec<u8> {
    let message = Message::query(1, "portal.core.example", A);
    Datagram::new(source, who.resolver).udp(40000, 53, message.octets()).frame()
}

/// A source in the network of eth1 that no prefix of a group has, with a neighbour's MAC address or not.
fn further(who: &Addresses) -> IpAddr {
    let text = if who.client.is_ipv4() { "10.20.9.9" } else { "fd00:20:0:9::9" };
    text.parse().unwrap()
}

#[test]
fn what_is_on_link_is_the_groups_and_what_is_not_is_nobodys() {
    run("", "", |filter| {
        filter.install(&site("")).unwrap();
        let rows = both(|who| {
            let flow = |what: &str, source, reason| {
                from_client(format!("a flow, {what}"), syn(source, who), expect(reason).rule(WEB))
            };
            let asks = |what: &str, source, reason| {
                from_client(format!("a query, {what}"), query(source, who), expect(reason))
            };
            vec![
                flow("a neighbour", who.client, Policy),
                asks("a neighbour", who.client, DnsQuery),
                flow("of another prefix of the interface", further(who), Policy),
                asks("of another prefix of the interface", further(who), DnsQuery),
                from_client(
                    "another port",
                    Datagram::new(further(who), who.web).tcp(40000, 22, Flags::SYN).frame(),
                    expect(Port).rule(WEB),
                ),
                from_client(
                    "elsewhere",
                    Datagram::new(further(who), who.public).tcp(40000, 443, Flags::SYN).frame(),
                    expect(Destination),
                ),
                from_client("of eth2", syn(who.other, who), expect(UnlistedClient)),
                from_client("a query, of eth2", query(who.other, who), expect(UnlistedClient)),
                from_client("of the internet", syn(who.public, who), expect(UnlistedClient)),
                from_client("the gateway's", syn(who.gateway, who), expect(UnlistedClient)),
                from_client("by its route", syn(who.gateway_by_route, who), {
                    expect(UnlistedClient)
                }),
            ]
        });
        check(filter, &rows);
    });
}

/// The longest prefix decides, and on-link comes behind all.
#[test]
fn a_prefix_of_any_group_comes_first() {
    run("", "", |filter| {
        filter.install(&site("")).unwrap();
        let rows = both(|who| {
            vec![
                from_client("exempt", syn(who.exempt, who), expect(Exempt)),
                from_client("audited", query(who.audited, who), expect(DnsQuery)),
                to_client(
                    "let in",
                    Datagram::new(who.public, who.server).tcp(1, 22, Flags::SYN).frame(),
                    expect(Inbound),
                ),
                from_client("of eth2, there", syn(who.client, who), expect(UnlistedClient))
                    .on_other(),
            ]
        });
        check(filter, &rows);
    });
}

#[test]
fn what_is_behind_a_router_is_not_on_link() {
    run("", "", |filter| {
        filter.install(&site("")).unwrap();
        for who in Addresses::both() {
            filter.set_router(further(&who), who.neighbour).unwrap();
            let rows = [
                from_client("a flow", syn(further(&who), &who), expect(UnlistedClient)),
                from_client("a query", query(further(&who), &who), expect(UnlistedClient)),
                from_client("its router", syn(who.neighbour, &who), expect(Policy).rule(WEB)),
            ];
            check(filter, &rows);
        }
    });
}

#[test]
fn packets_to_what_is_on_link_are_judged_by_its_group() {
    run("", "", |filter| {
        let to = |client, who: &Addresses| {
            Datagram::new(who.public, client).tcp(1, 22, Flags::SYN).frame()
        };
        for (more, reason) in
            [("", Unsolicited), ("\n    inbound: allow", Inbound), ("\n    mode: exempt", Exempt)]
        {
            filter.install(&site(more)).unwrap();
            let rows = both(|who| {
                vec![
                    to_client("on-link", to(further(who), who), expect(reason)),
                    to_client("of eth2", to(who.other, who), expect(Unsolicited)),
                ]
            });
            check(filter, &rows);
        }
        for who in Addresses::both() {
            filter.set_router(further(&who), who.neighbour).unwrap();
            let row = to_client("behind a router", to(further(&who), &who), expect(Unsolicited));
            check(filter, &[row]);
        }
    });
}

/// A flow is judged again under a new policy, by where its client is then.
#[test]
fn a_reload_keeps_the_flows_of_what_is_on_link_then() {
    run("", "", |filter| {
        for who in Addresses::both() {
            filter.install(&changed_config("", "", |text| text)).unwrap();
            check_in_order(filter, &handshake(&who));
            filter.install(&site("")).unwrap();
            check_on(
                filter,
                &[
                    to_client("first to the client", back(&who, Flags::ACK), known()),
                    from_client("then from it", out(&who, Flags::ACK), known()),
                ],
            );
            filter.set_router(who.client, who.neighbour).unwrap();
            let goes_on = [
                to_client("no longer on-link, to it", back(&who, Flags::ACK), known()),
                from_client("no longer on-link, from it", out(&who, Flags::ACK), known()),
            ];
            check_on(filter, &goes_on);
            filter.install(&site("")).unwrap();
            // That the routes led to it counts for a moment.
            filter.change_limits(&|limits| *limits = Limits::default()).unwrap();
            let ended = [
                to_client("judged again", back(&who, Flags::ACK), expect(Unsolicited)),
                from_client("from it", out(&who, Flags::ACK), expect(UnlistedClient)),
            ];
            check_on(filter, &ended);
        }
    });
}

/// Who is not on-link is in no group, which `unlisted_clients` decides about.
#[test]
fn what_is_not_on_link_is_unlisted() {
    run("", "", |filter| {
        let allowed = changed_config("", "unlisted_clients: allow", |text| {
            let text = text.replacen("[10.20.0.0/24, 'fd00:20::/64']", "on-link", 1);
            text.replacen("{name: eth1, vlans", "{name: eth1, source_check: off, vlans", 1)
        });
        filter.install(&allowed).unwrap();
        let rows = both(|who| -> Vec<Row> {
            vec![
                from_client("of eth2", syn(who.other, who), expect(UnlistedAllowed)),
                from_client("on-link", syn(further(who), who), expect(Policy).rule(WEB)),
            ]
        });
        check(filter, &rows);
    });
}
