//! Limits of what one client may begin in a time: queries, connections to resolvers, flows.

use std::net::IpAddr;

use intune_filter_ebpf::abi::{
    LIMIT_SHARES, Limit, Limits,
    Reason::{self, DnsLimit, DnsQuery, Exempt, FlowLimit, Inbound, Policy},
    Settings,
};
use intune_filter_tests::prog_test_run::{
    Addresses, Bed, Datagram, Expected, Flags, HookPoint, Message, Row, check_in_order, check_on,
    expect, from_client,
    site::{changed_config, config},
    to_client,
};

use crate::{
    run,
    tables::{
        answers::{answer as answer_to, query},
        flows::WEB,
        fragments::with_id,
        streams::{asked, framed, out as segment},
    },
};

/// Longer than any test takes, so that nothing becomes due by itself.
pub(crate) const INTERVAL: u64 = 3_600_000_000_000;
/// Number that may come at once.
pub(crate) const BURST: u64 = 3;

/// Buckets of a zone.
const SHARES: u64 = LIMIT_SHARES as u64;

/// Makes these the limits in force.
fn set(filter: &mut dyn Bed, limit_queries: Limit, limit_flows: Limit) {
    // Each of a zone's buckets is to be as large as one client's.
    let zone = |limit: Limit| Limit { interval: limit.interval / SHARES, ..limit };
    let (zone_queries, zone_flows) = (zone(limit_queries), zone(limit_flows));
    let change = |settings: &mut Settings| {
        *settings = Settings { limit_queries, limit_flows, zone_queries, zone_flows, ..*settings };
    };
    filter.change_settings(&change).unwrap();
}

pub(crate) fn limit(filter: &mut dyn Bed) {
    let limit = Limit { interval: INTERVAL, window: BURST * INTERVAL };
    set(filter, limit, limit);
}

/// Lets time pass for what is due.
pub(crate) fn pass(filter: &dyn Bed, time: u64) {
    let earlier = |limits: &mut Limits| {
        limits.due = limits.due.map(|due| due.saturating_sub(time));
    };
    filter.change_limits(&earlier).unwrap();
}

pub(crate) fn syn(source: IpAddr, destination: IpAddr, port: u16) -> Vec<u8> {
    Datagram::new(source, destination).tcp(port, 443, Flags::SYN).frame()
}

fn opened() -> Expected {
    expect(Policy).rule(WEB)
}

pub(crate) fn too_many() -> Expected {
    expect(FlowLimit).rule(WEB)
}

/// A number of flows of a client that pass, and one more that does not.
pub(crate) fn burst(source: IpAddr, who: &Addresses, number: u64, over: Expected) -> Vec<Row> {
    let row = |port: u64, expected| {
        from_client(format!("flow {port}"), syn(source, who.web, port as u16), expected)
    };
    (1..=number).map(|port| row(port, opened())).chain([row(number + 1, over)]).collect()
}

fn ask(source: IpAddr, who: &Addresses, id: u16) -> Vec<u8> {
    let message = query(who).id(id);
    Datagram::new(source, who.resolver).udp(40000, 53, message.octets()).frame()
}

#[test]
fn flows_are_held_to_their_own_limit_and_not_to_that_of_queries() {
    let (limit, none) = (Limit { interval: INTERVAL, window: BURST * INTERVAL }, Limit::default());
    run("", "", |filter| {
        for who in Addresses::both() {
            set(filter, none, limit);
            check_in_order(filter, &burst(who.client, &who, BURST, too_many()));
            set(filter, limit, none);
            check_in_order(filter, &burst(who.client, &who, BURST, opened()));
        }
    });
}

#[test]
fn as_many_flows_as_the_limit_says_and_the_next_is_denied_in_silence() {
    run("", "", |filter| {
        limit(filter);
        for who in Addresses::both() {
            check_in_order(filter, &burst(who.client, &who, BURST, too_many()));
            let again = |what: &str, expected| {
                from_client(what, syn(who.client, who.web, BURST as u16 + 1), expected)
            };
            check_on(
                filter,
                &[
                    again("sent again", too_many()),
                    from_client("a known flow", syn(who.client, who.web, 1), {
                        expect(Reason::Flow).rule(WEB)
                    }),
                    from_client("another client", syn(who.neighbour, who.web, 1), opened()),
                    from_client("a query", ask(who.client, &who, 1), expect(DnsQuery)),
                    from_client(
                        "what is denied anyway",
                        Datagram::new(who.client, who.web).tcp(9, 22, Flags::SYN).frame(),
                        expect(Reason::Port).rule(WEB),
                    ),
                ],
            );
            pass(filter, INTERVAL);
            check_on(filter, &[again("in its time", opened())]);
            check_on(
                filter,
                &[from_client("and another", syn(who.client, who.web, 99), too_many())],
            );
            // Whom `on_deny: reject` tells of other denials.
            check_on(filter, &burst(who.rejected, &who, BURST, too_many()));
        }
    });
}

#[test]
fn as_many_queries_as_the_limit_says() {
    run("", "", |filter| {
        limit(filter);
        for who in Addresses::both() {
            let row =
                |what: &str, id, expected| from_client(what, ask(who.client, &who, id), expected);
            let rows = [
                row("one", 1, expect(DnsQuery)),
                row("repeated", 1, expect(DnsQuery)),
                row("another", 2, expect(DnsQuery)),
                row("one too many", 3, expect(DnsLimit)),
                from_client("a neighbour's", ask(who.neighbour, &who, 3), expect(DnsQuery)),
                from_client("a flow", syn(who.client, who.web, 1), opened()),
                from_client(
                    "a name of no service",
                    Datagram::new(who.client, who.resolver)
                        .udp(40000, 53, Message::query(9, "other.example", 1).octets())
                        .frame(),
                    expect(Reason::DnsUnlisted).no_name(),
                ),
            ];
            check_in_order(filter, &rows);
            let pending = filter.queries().unwrap();
            assert_eq!(pending.len(), 3, "what is denied is not remembered");
            pass(filter, INTERVAL);
            check_on(filter, &[row("in its time", 3, expect(DnsQuery))]);
        }
    });
}

#[test]
fn queries_over_tcp_and_the_connections_for_them() {
    run("", "", |filter| {
        limit(filter);
        for who in Addresses::both() {
            // One connection, and one query.
            check_in_order(filter, &asked(&who));
            let sent = framed(&[&query(&who)]).len();
            let two = framed(&[&query(&who).id(2), &query(&who).id(3)]);
            let more = framed(&[&query(&who).id(4)]);
            let tcp = |what: &str, at, data: &[u8], expected| {
                from_client(what, segment(&who, Flags::ACK, at, data), expected)
            };
            let connect = |port, expected| {
                let datagram = Datagram::new(who.client, who.resolver);
                let frame = datagram.segment([port, 53], Flags::SYN, [7, 0], b"").frame();
                from_client(format!("connection from {port}"), frame, expected)
            };
            check_on(
                filter,
                &[
                    tcp("two queries", sent, &two, expect(DnsQuery)),
                    tcp("repeated", sent, &two, expect(DnsQuery)),
                    tcp("one too many", sent + two.len(), &more, expect(DnsLimit)),
                    from_client("over UDP too", ask(who.client, &who, 9), expect(DnsLimit)),
                    connect(1, expect(DnsQuery)),
                    connect(1, expect(DnsQuery)),
                    connect(2, expect(DnsQuery)),
                    connect(3, expect(DnsLimit)),
                    tcp("what is open goes on", sent + two.len(), b"", expect(DnsQuery)),
                ],
            );
            pass(filter, INTERVAL);
            check_on(
                filter,
                &[
                    tcp("in its time", sent + two.len(), &more, expect(DnsQuery)),
                    connect(3, expect(DnsQuery)),
                ],
            );
        }
    });
}

#[test]
fn link_local_sources_share_what_their_zone_has() {
    run("", "", |filter| {
        limit(filter);
        for who in Addresses::both() {
            let from = |source: IpAddr, id, expected| {
                let message = query(&who).id(id);
                let datagram = Datagram::new(source, who.gateway);
                let frame = datagram.udp(40000, 53, message.octets()).frame();
                from_client(format!("query {id} from {source}"), frame, expected)
            };
            let ask = |id, expected| from(who.link_local, id, expected);
            let neighbour = if who.client.is_ipv4() { "169.254.7.8" } else { "fe80:0:0:9::11" };
            let neighbour: IpAddr = neighbour.parse().unwrap();
            check_in_order(
                filter,
                &[
                    ask(1, expect(DnsQuery)),
                    from(neighbour, 2, expect(DnsQuery)),
                    ask(3, expect(DnsQuery)),
                    ask(4, expect(DnsLimit)),
                    from(neighbour, 5, expect(DnsLimit)),
                    from(who.client, 6, expect(DnsQuery)),
                ],
            );
            pass(filter, INTERVAL);
            check_on(filter, &[from(neighbour, 7, expect(DnsQuery))]);
            check_on(filter, &[ask(8, expect(DnsLimit))]);
            filter.clear().unwrap();
        }
    });
}

#[test]
fn audited_clients_are_counted_and_exempt_ones_are_not_limited() {
    run("", "", |filter| {
        limit(filter);
        for who in Addresses::both() {
            check_in_order(filter, &burst(who.audited, &who, BURST, too_many().audited()));
            let last = BURST as u16 + 1;
            let answer = Datagram::new(who.web, who.audited).tcp(443, last, Flags::SYN_ACK);
            // What passes beyond its limit takes no entry.
            let unsolicited = || expect(Reason::Unsolicited).audited();
            let mut rows = vec![to_client("its answer", answer.frame(), unsolicited())];
            for id in 1..=last {
                let expected =
                    if id < last { expect(DnsQuery) } else { expect(DnsLimit).audited() };
                rows.push(from_client("audited query", ask(who.audited, &who, id), expected));
            }
            for port in 1..=3 * last {
                let frame = syn(who.exempt, who.web, port);
                rows.push(from_client("exempt", frame, expect(Exempt)));
                let frame = ask(who.exempt, &who, port);
                rows.push(from_client("exempt query", frame, expect(DnsQuery)));
            }
            check_on(filter, &rows);
            let message = answer_to(&who).id(last);
            let answer = Datagram::new(who.resolver, who.audited).udp(53, 40000, message.octets());
            let row = to_client("the answer to the last", answer.frame(), unsolicited());
            check_on(filter, &[row]);
            assert_eq!(filter.queries().unwrap().len(), 2 * BURST as usize);
            let flows = filter.flows("NEW_FLOWS").unwrap().len();
            assert_eq!(flows, 2 * BURST as usize);
        }
    });
}

#[test]
fn what_is_let_in_has_a_limit_of_its_own() {
    run("", "", |filter| {
        limit(filter);
        for who in Addresses::both() {
            let come = |port, expected| {
                let frame = Datagram::new(who.public, who.server).tcp(port, 22, Flags::SYN).frame();
                to_client(format!("flow {port}"), frame, expected)
            };
            let other = Datagram::new(who.public, who.server).raw(47, &[0; 8]).frame();
            check_in_order(
                filter,
                &[
                    come(1, expect(Inbound)),
                    come(2, expect(Inbound)),
                    come(3, expect(Inbound)),
                    come(4, expect(FlowLimit)),
                    come(1, expect(Reason::Flow)),
                    to_client("what has no flow", other, expect(Inbound)),
                    from_client("its own", syn(who.server, who.web, 9), opened()),
                ],
            );
        }
    });
}

#[test]
fn an_address_of_several_devices_has_as_many_times_the_limit() {
    run("", "", |filter| {
        let several = changed_config("", "", |text| {
            text.replacen(
                "services: [core, time]",
                "services: [core, time]\n    devices_per_address: 5",
                1,
            )
        });
        filter.install(&several).unwrap();
        limit(filter);
        for who in Addresses::both() {
            check_in_order(filter, &burst(who.client, &who, 5 * BURST, too_many()));
            pass(filter, INTERVAL / 5);
            let another = syn(who.client, who.web, 99);
            check_on(filter, &[from_client("in a fifth of the time", another, opened())]);
        }
        filter.install(&config("", "")).unwrap();
    });
}

#[test]
fn a_reload_counts_at_once() {
    run("", "", |filter| {
        for who in Addresses::both() {
            limit(filter);
            check_in_order(filter, &burst(who.client, &who, BURST, too_many()));
            let another = |expected| from_client("another", syn(who.client, who.web, 99), expected);
            // Shorter than what is due by the old one.
            let second = 1_000_000_000;
            let shorter = Limit { interval: second, window: 2 * second };
            set(filter, shorter, shorter);
            check_on(filter, &[another(opened())]);
            filter.install(&config("", "")).unwrap();
            for port in 100..120 {
                let row = from_client("no limit", syn(who.client, who.web, port), opened());
                check_on(filter, &[row]);
            }
            filter.install(&config("", "")).unwrap();
        }
    });
}

#[test]
fn datagrams_in_fragments_have_a_limit_of_their_own() {
    run("", "", |filter| {
        limit(filter);
        for who in Addresses::both() {
            let first = |id: u16| {
                let datagram = Datagram::new(who.client, who.ntp).fragment(0, true);
                with_id(&datagram.udp(40000, 123, &[0x23; 16]), id)
            };
            let later = |id: u16| {
                let datagram = Datagram::new(who.client, who.ntp).fragment(3, false);
                with_id(&datagram.raw(17, b"8 octets"), id)
            };
            let ntp = "time/ntp";
            check_in_order(
                filter,
                &[
                    from_client("a first", first(1), expect(Policy).rule(ntp)),
                    from_client("its rest", later(1), expect(Reason::FragmentAllowed).rule(ntp)),
                    from_client("of a known flow", first(2), expect(Reason::Flow).rule(ntp)),
                    from_client("and another", first(3), expect(Reason::Flow).rule(ntp)),
                    from_client("one too many", first(4), expect(FlowLimit)),
                    from_client("its rest", later(4), expect(Reason::Fragment)),
                    from_client("the rest of another", later(3), {
                        expect(Reason::FragmentAllowed).rule(ntp)
                    }),
                ],
            );
            let denied = |id| {
                let datagram = Datagram::new(who.neighbour, who.web).fragment(0, true);
                with_id(&datagram.udp(40000, 22, &[0; 16]), id)
            };
            let entries = |filter: &dyn Bed| filter.fragments().unwrap().len();
            let before = entries(filter);
            for id in 0..100 {
                filter.judge(HookPoint::Ingress("eth1"), &denied(id)).unwrap();
            }
            filter.events();
            assert_eq!(entries(filter), before, "what is denied takes no entry");
            pass(filter, INTERVAL);
            check_on(
                filter,
                &[from_client("in its time", first(4), expect(Reason::Flow).rule(ntp))],
            );
            filter.clear().unwrap();
        }
    });
}
