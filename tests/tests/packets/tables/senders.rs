//! Senders: the hardware addresses that packets come from, what each may begin, and whose flows go on
//! with another one.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use intune_filter_ebpf::abi::{
    LIMIT_PROVEN, LIMIT_SHARES, Limit, Limits, PROVEN_FOR,
    Reason::{self, DnsLimit, DnsQuery, Exempt, Flow, FlowLimit, Policy, SourceMac},
    Settings,
};
use intune_filter_tests::prog_test_run::{
    Addresses, Datagram, Expected, Flags, HookPoint, Message, Row, check_in_order, check_on,
    datagram::{CLIENT_MAC, patched},
    expect,
    fate::Fate,
    from_client,
    message::A,
    site::{changed_config, config},
    state::now,
    to_client,
};

use crate::{
    run,
    tables::{
        flows::WEB,
        limits::{BURST, INTERVAL, burst, limit, pass, syn, too_many},
    },
};

/// Another host's, and a third one's.
const OTHER: [u8; 6] = [0x02, 0, 0, 0, 0, 0x66];
const THIRD: [u8; 6] = [0x02, 0, 0, 0, 0, 0x77];

fn opened() -> Expected {
    expect(Policy).rule(WEB)
}

/// The frame from another hardware address.
fn by(mac: [u8; 6], frame: Vec<u8>) -> Vec<u8> {
    patched(frame, 6, &mac)
}

/// Addresses of the client's group, by number, that no neighbour has.
fn source(who: &Addresses, number: u16) -> IpAddr {
    if who.client.is_ipv4() {
        Ipv4Addr::new(10, 20, 0, 100 + number as u8).into()
    } else {
        Ipv6Addr::new(0xfd00, 0x20, 0, 0, 0xabcd, 0, 0, number).into()
    }
}

fn query(source: IpAddr, who: &Addresses, id: u16) -> Vec<u8> {
    let message = Message::query(id, "portal.core.example", A);
    Datagram::new(source, who.resolver).udp(40000, 53, message.octets()).frame()
}

/// Attack E.
#[test]
fn whoever_uses_anothers_address_takes_nothing_from_it() {
    run("", "", |filter| {
        limit(filter);
        for who in Addresses::both() {
            filter.clear().unwrap();
            // In the neighbour's name, far beyond its limits.
            for port in 1..=10 * BURST as u16 {
                let frames = [syn(who.neighbour, who.web, port), query(who.neighbour, &who, port)];
                for frame in frames {
                    filter.judge(HookPoint::Ingress("eth1"), &by(OTHER, frame)).unwrap();
                }
            }
            filter.events();
            check_on(
                filter,
                &[
                    from_client(
                        "the attacker's next",
                        by(OTHER, syn(who.neighbour, who.web, 99)),
                        too_many(),
                    ),
                    from_client(
                        "and its query",
                        by(OTHER, query(who.neighbour, &who, 99)),
                        expect(DnsLimit),
                    ),
                ],
            );
            let mut own = Vec::new();
            for port in 101..=100 + BURST as u16 {
                own.push(from_client("its flow", syn(who.neighbour, who.web, port), opened()));
                own.push(from_client("its query", query(who.neighbour, &who, port), {
                    expect(DnsQuery)
                }));
            }
            check_on(filter, &own);
        }
    });
}

/// Attack G, without answers to ARP.
#[test]
fn senders_that_are_not_proven_share_what_their_zone_has() {
    run("", "", |filter| {
        limit(filter);
        for who in Addresses::both() {
            let flow = |number: u16, expected| {
                let frame = syn(source(&who, number), who.web, number);
                from_client(format!("source {number}"), frame, expected)
            };
            let mut rows: Vec<Row> = (1..=BURST as u16).map(|n| flow(n, opened())).collect();
            rows.push(flow(99, too_many()));
            rows.push(from_client("a client", syn(who.client, who.web, 1), opened()));
            check_in_order(filter, &rows);
            pass(filter, INTERVAL);
            check_on(filter, &[flow(98, opened()), flow(97, too_many())]);

            // Whatever the hardware addresses, no more than all the zone's buckets have.
            filter.clear().unwrap();
            let mut passed = 0;
            for number in 0..200_u16 {
                let [high, low] = number.to_be_bytes();
                let mac = [0x02, 0, 0, 1, high, low];
                let frame = by(mac, syn(source(&who, number % 100), who.web, number + 1));
                let fate = filter.judge(HookPoint::Ingress("eth1"), &frame).unwrap();
                passed += u64::from(fate == Fate::Passed);
            }
            filter.events();
            let most = BURST * u64::from(LIMIT_SHARES);
            assert!((2 * BURST..=most).contains(&passed), "{passed} of {most}");
            check_on(filter, &[from_client("a client", syn(who.client, who.web, 2), opened())]);
        }
    });
}

/// The neighbour table is not asked for each flow of a sender: what it has told counts for a moment.
#[test]
fn a_proven_sender_is_asked_for_again_after_a_moment() {
    run("", "", |filter| {
        limit(filter);
        for who in Addresses::both() {
            filter.clear().unwrap();
            let flow = |what: &str, number: u16, port, expected| {
                from_client(what, by(OTHER, syn(source(&who, number), who.web, port)), expected)
            };
            filter.set_neighbour(source(&who, 1), OTHER).unwrap();
            let mut rows: Vec<Row> =
                (2..2 + BURST as u16).map(|n| flow("not proven", n, n, opened())).collect();
            rows.push(flow("not proven, too many", 99, 99, too_many()));
            rows.push(flow("proven", 1, 1, opened()));
            check_in_order(filter, &rows);
            filter.set_neighbour(source(&who, 1), THIRD).unwrap();
            // The moment begins with this.
            let note = |limits: &mut Limits| {
                let due = &mut limits.due[LIMIT_PROVEN];
                *due = if *due == 0 { 0 } else { now().unwrap() + PROVEN_FOR };
            };
            filter.change_limits(&note).unwrap();
            let frame = by(OTHER, syn(source(&who, 1), who.web, 2));
            let fate = filter.judge(HookPoint::Ingress("eth1"), &frame);
            assert_eq!(fate.unwrap(), Fate::Passed, "proven a moment ago");
            filter.events();
            pass(filter, PROVEN_FOR);
            check_on(filter, &[flow("asked for again", 1, 3, too_many())]);
            filter.set_neighbour(source(&who, 1), OTHER).unwrap();
            check_on(filter, &[flow("proven again", 1, 4, opened())]);
        }
    });
}

/// Attack G, with answers to ARP.
#[test]
fn all_addresses_of_one_hardware_address_have_a_limit_together() {
    const SOURCES: u16 = 32;
    run("", "", |filter| {
        for who in Addresses::both() {
            for number in 0..SOURCES {
                filter.set_neighbour(source(&who, number), OTHER).unwrap();
            }
            filter.set_neighbour(source(&who, SOURCES), THIRD).unwrap();
            limit(filter);
            let together = Limit { interval: INTERVAL, window: 16 * BURST * INTERVAL };
            let change = |settings: &mut Settings| settings.mac_flows = together;
            filter.change_settings(&change).unwrap();
            filter.clear().unwrap();
            let mut passed = 0;
            for number in 0..SOURCES {
                for port in 1..=2 * BURST as u16 {
                    let frame = by(OTHER, syn(source(&who, number), who.web, port));
                    let fate = filter.judge(HookPoint::Ingress("eth1"), &frame).unwrap();
                    passed += u64::from(fate == Fate::Passed);
                }
            }
            filter.events();
            assert_eq!(passed, 16 * BURST, "of {SOURCES} addresses");
            let third = source(&who, SOURCES);
            check_on(
                filter,
                &[
                    from_client("a client", syn(who.client, who.web, 1), opened()),
                    from_client("a third host", by(THIRD, syn(third, who.web, 1)), opened()),
                ],
            );
        }
    });
}

/// Innocents: a switch of layer 3, or any router, before many clients.
#[test]
fn a_router_has_no_limit_and_each_address_behind_it_has() {
    const SOURCES: u16 = 100;
    run("", "", |filter| {
        for who in Addresses::both() {
            for number in 0..SOURCES {
                filter.set_router(source(&who, number), who.neighbour).unwrap();
            }
            limit(filter);
            let together = Limit { interval: INTERVAL, window: 16 * BURST * INTERVAL };
            let change = |settings: &mut Settings| settings.mac_flows = together;
            filter.change_settings(&change).unwrap();
            filter.clear().unwrap();
            // As many as there is room for in the tables' maps.
            for number in 0..SOURCES {
                let frame = syn(source(&who, number), who.web, 1);
                let fate = filter.judge(HookPoint::Ingress("eth1"), &frame).unwrap();
                assert_eq!(fate, Fate::Passed, "source {number}");
            }
            filter.events();
            check_in_order(filter, &burst(source(&who, 0), &who, BURST, too_many()));
        }
    });
}

/// Attack I, and the group's own devices.
#[test]
fn a_group_that_lists_hardware_addresses_has_no_other_senders() {
    run("", "", |filter| {
        for (mode, who_of) in [("exempt", 0), ("enforce", 1)] {
            let listing = changed_config("", "", |text| {
                let macs = "macs: ['02:00:00:00:00:66', '02:00:00:00:00:77']";
                if mode == "exempt" {
                    text.replacen("mode: exempt\n", &format!("mode: exempt\n    {macs}\n"), 1)
                } else {
                    text.replacen(
                        "services: [core, time]\n",
                        &format!("services: [core, time]\n    {macs}\n"),
                        1,
                    )
                }
            });
            filter.install(&listing).unwrap();
            for who in Addresses::both() {
                let member = [who.exempt, who.client][who_of];
                let passes = if mode == "exempt" { expect(Exempt) } else { opened() };
                let denied =
                    if mode == "exempt" { expect(SourceMac) } else { expect(SourceMac).rule(WEB) };
                let mut rows = vec![
                    from_client("the taken address", syn(member, who.web, 1), denied),
                    from_client("its query", query(member, &who, 1), expect(SourceMac)),
                ];
                for mac in [OTHER, THIRD] {
                    let flow = by(mac, syn(member, who.web, u16::from(mac[5])));
                    rows.push(from_client("a listed one", flow, passes.clone()));
                    let query = by(mac, query(member, &who, 2));
                    rows.push(from_client("its query", query, expect(DnsQuery)));
                }
                // Others are not asked for.
                rows.push(from_client("another group", syn(who.server, who.web, 1), opened()));
                check_in_order(filter, &rows);
            }
        }
        filter.install(&config("", "")).unwrap();
    });
}

/// The neighbour table is written by whoever answers first; a list is not.
#[test]
fn a_listed_sender_needs_no_neighbour() {
    run("", "", |filter| {
        let listing = changed_config("", "", |text| {
            text.replacen(
                "services: [core, time]\n",
                "services: [core, time]\n    macs: ['02:00:00:00:00:66']\n",
                1,
            )
        });
        filter.install(&listing).unwrap();
        limit(filter);
        for who in Addresses::both() {
            // The zone's buckets are used up.
            for port in 1..=10 * BURST as u16 {
                let frame = by(OTHER, syn(who.server, who.web, port));
                filter.judge(HookPoint::Ingress("eth1"), &frame).unwrap();
            }
            filter.events();
            let rows = [from_client("listed", by(OTHER, syn(who.client, who.web, 1)), opened())];
            check_on(filter, &rows);
            filter.clear().unwrap();
        }
        filter.install(&config("", "")).unwrap();
    });
}

/// A known flow of the client's, in both directions.
fn known(who: &Addresses) -> [Row; 3] {
    let answer = Datagram::new(who.web, who.client).tcp(443, 1, Flags::SYN_ACK).frame();
    [
        from_client("a flow", syn(who.client, who.web, 1), opened()),
        to_client("its answer", answer, expect(Flow).rule(WEB)),
        from_client("more of it", more(who), expect(Flow).rule(WEB)),
    ]
}

fn more(who: &Addresses) -> Vec<u8> {
    Datagram::new(who.client, who.web).tcp(1, 443, Flags::ACK).frame()
}

/// Innocents: failover of routers, roaming, extenders.
#[test]
fn a_flow_goes_on_with_another_hardware_address() {
    run("", "", |filter| {
        limit(filter);
        for who in Addresses::both() {
            let flow = || expect(Flow).rule(WEB);
            check_in_order(filter, &known(&who));
            // The neighbour table does not know the new one yet.
            let moved: Vec<Row> = (0..20)
                .map(|number| from_client(format!("moved {number}"), by(OTHER, more(&who)), flow()))
                .collect();
            check_on(filter, &moved);
            let flows = filter.flows("FLOWS").unwrap();
            assert!(flows.iter().all(|flow| flow.client_mac == OTHER), "{flows:?}");
            assert!(flows.iter().all(|flow| flow.client_packets == 22), "{flows:?}");
            check_on(filter, &[from_client("back again", more(&who), flow())]);
            let flows = filter.flows("FLOWS").unwrap();
            assert!(flows.iter().all(|flow| flow.client_mac == CLIENT_MAC), "{flows:?}");
            filter.clear().unwrap();
        }
    });
}

/// Who sends in another's name pays for it, and makes it pay nothing.
#[test]
fn each_move_of_a_sender_that_is_not_proven_counts_and_no_other() {
    run("", "", |filter| {
        limit(filter);
        for who in Addresses::both() {
            let flow = || expect(Flow).rule(WEB);
            check_in_order(filter, &known(&who));
            for number in 0..BURST {
                check_on(
                    filter,
                    &[
                        from_client(format!("forged {number}"), by(OTHER, more(&who)), flow()),
                        from_client(format!("its own {number}"), more(&who), flow()),
                    ],
                );
            }
            let one_more = by(OTHER, more(&who));
            let rows = [
                from_client("one too many", one_more, too_many()),
                from_client("its own", more(&who), flow()),
            ];
            check_on(filter, &rows);
            // One of its tokens is gone, for the flow itself.
            let left: Vec<Row> = (2..=BURST as u16)
                .map(|port| from_client("a new flow", syn(who.client, who.web, port), opened()))
                .collect();
            check_on(filter, &left);
            filter.clear().unwrap();
        }
    });
}

#[test]
fn a_flow_of_a_listing_group_goes_on_with_listed_ones_alone() {
    run("", "", |filter| {
        let listing = changed_config("", "", |text| {
            text.replacen(
                "services: [core, time]\n",
                "services: [core, time]\n    macs: ['02:00:00:00:00:10', '02:00:00:00:00:66']\n",
                1,
            )
        });
        filter.install(&listing).unwrap();
        for who in Addresses::both() {
            let flow = || expect(Flow).rule(WEB);
            check_in_order(filter, &known(&who));
            let refused = expect(SourceMac).rule(WEB);
            let rows = [
                from_client("another's", by(THIRD, more(&who)), refused),
                from_client("the second", by(OTHER, more(&who)), flow()),
                from_client("the first", more(&who), flow()),
            ];
            check_on(filter, &rows);
        }
        filter.install(&config("", "")).unwrap();
    });
}

/// An address without a lasting name, and a policy that no longer has the rule.
#[test]
fn a_moved_flow_outlives_its_destinations_name_but_not_its_rule() {
    run("", "", |filter| {
        for who in Addresses::both() {
            filter.clear().unwrap();
            filter.learn(who.public, WEB, 60).unwrap();
            let out = |flags| Datagram::new(who.client, who.public).tcp(1, 443, flags).frame();
            let answer = Datagram::new(who.public, who.client).tcp(443, 1, Flags::SYN_ACK).frame();
            let flow = || expect(Flow).rule(WEB);
            check_on(
                filter,
                &[
                    from_client("a flow", out(Flags::SYN), opened().by_name()),
                    to_client("its answer", answer, flow()),
                ],
            );
            filter.forget_addresses().unwrap();
            check_on(filter, &[from_client("moved", by(OTHER, out(Flags::ACK)), flow())]);
            let without = changed_config("", "", |text| text.replacen("[core, time]", "[time]", 1));
            filter.install(&without).unwrap();
            let frame = out(Flags::ACK);
            let denied = expect(Reason::Destination);
            check_on(filter, &[from_client("revoked", frame, denied)]);
            filter.install(&config("", "")).unwrap();
        }
    });
}

#[test]
fn limits_of_fragments_go_by_the_sender_too() {
    run("", "", |filter| {
        limit(filter);
        for who in Addresses::both() {
            filter.clear().unwrap();
            let first = |id: u16| {
                let datagram = Datagram::new(who.neighbour, who.ntp).identification(id);
                datagram.fragment(0, true).udp(40000, 123, &[0x23; 16]).frame()
            };
            for id in 0..10 * BURST as u16 {
                filter.judge(HookPoint::Ingress("eth1"), &by(OTHER, first(id))).unwrap();
            }
            filter.events();
            let rows = [
                from_client("the attacker's", by(OTHER, first(99)), expect(FlowLimit)),
                from_client("its own", first(100), expect(Flow).rule("time/ntp")),
            ];
            check_on(filter, &rows);
        }
    });
}
