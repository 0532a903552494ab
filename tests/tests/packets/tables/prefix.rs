//! The judged prefix of DNS over TCP: a resolver reads what was judged, whatever a client sends.

use intune_filter_ebpf::abi::{
    FlowKey,
    Reason::{DnsAnswer, DnsQuery, DnsTransport, Unsolicited},
    Stream, V6,
};
use intune_filter_tests::prog_test_run::{
    Addresses, Bed, Datagram, Fate, Flags, HookPoint, check_in_order, check_on, expect,
    from_client, site, to_client,
};

use crate::{
    run,
    tables::{
        answers::{answer, query, teaches},
        streams::{
            CLIENT, PORT, RESOLVER, acknowledged, asked, back, came, connected, framed, out, sent,
            wait,
        },
    },
};

/// A segment of the client's with a sequence and an acknowledgment number.
fn numbered(who: &Addresses, flags: Flags, numbers: [u32; 2], data: &[u8]) -> Vec<u8> {
    Datagram::new(who.client, who.resolver).segment([PORT, 53], flags, numbers, data).frame()
}

fn streams(filter: &dyn Bed) -> Vec<(FlowKey<V6>, Stream)> {
    filter.streams().unwrap()
}

#[test]
fn nothing_urgent_passes() {
    run("", "", |filter| {
        for who in Addresses::both() {
            let data = framed(&[&query(&who)]);
            let urgent = |what: &str, flags, at, data: &[u8]| {
                from_client(what, out(&who, flags, at, data), expect(DnsTransport))
            };
            let syn = Flags { urg: true, ..Flags::SYN };
            let mut rows = vec![urgent("a SYN", syn, 0, b"")];
            rows.extend(connected(&who));
            rows.extend([
                urgent("a whole query", Flags::URG, 0, &data),
                urgent("half a length", Flags::URG, 0, &data[..1]),
                urgent("a length", Flags::URG, 0, &data[..2]),
                // A pointer to an octet that is yet to come.
                urgent("nothing", Flags::URG, 0, b""),
                urgent("a FIN", Flags { urg: true, ..Flags::FIN }, 0, b""),
                urgent("a RST", Flags { urg: true, ..Flags::RST }, 0, b""),
                sent("the query", &who, 0, &data, expect(DnsQuery)),
                urgent("repeated", Flags::URG, 0, &data),
            ]);
            check_in_order(filter, &rows);
        }
    });
}

#[test]
fn what_was_judged_is_repeated_octet_for_octet() {
    run("", "", |filter| {
        for who in Addresses::both() {
            let (first, second) = (framed(&[&query(&who)]), framed(&[&query(&who).id(9)]));
            let both = [first.clone(), second.clone()].concat();
            let mut rows = connected(&who).to_vec();
            rows.extend([
                sent("one", &who, 0, &first, expect(DnsQuery)),
                sent("another", &who, first.len(), &second, expect(DnsQuery)),
                // A sender merges what it has to send again.
                sent("all of it", &who, 0, &both, expect(DnsQuery)),
                sent("the first two", &who, 0, &first, expect(DnsQuery)),
                sent("from within", &who, 17, &both[17..], expect(DnsQuery)),
                // Where a SYN cookie might let the stream begin.
                sent("from just behind the first", &who, 2, &both[2..], expect(DnsTransport)),
                sent("nothing, there", &who, 3, b"", expect(DnsTransport)),
                sent("nothing, before", &who, usize::MAX, b"", expect(DnsTransport)),
                sent("one octet", &who, 20, &both[20..21], expect(DnsQuery)),
            ]);
            for at in [0, 1, 2, 3, first.len() - 1, first.len(), both.len() - 1] {
                let mut other = both.clone();
                other[at] ^= 0x20;
                rows.push(sent("another octet", &who, 0, &other, expect(DnsTransport)));
                let alone = &other[at..=at];
                rows.push(sent("another octet, alone", &who, at, alone, expect(DnsTransport)));
            }
            let more = [both.clone(), first.clone()].concat();
            rows.extend([
                sent("and more", &who, 0, &more, expect(DnsTransport)),
                sent("from before", &who, usize::MAX, &[&[0], &both[..]].concat(), {
                    expect(DnsTransport)
                }),
                sent("behind a hole", &who, both.len() + 1, &first, expect(DnsTransport)),
            ]);
            check_in_order(filter, &rows);
        }
    });
}

#[test]
fn what_the_resolver_has_acknowledged_is_not_repeated() {
    run("", "", |filter| {
        for who in Addresses::both() {
            let (first, second) = (framed(&[&query(&who)]), framed(&[&query(&who).id(9)]));
            let both = [first.clone(), second.clone()].concat();
            let (half, whole) = (first.len(), both.len());
            let mut rows = connected(&who).to_vec();
            rows.extend([
                sent("one", &who, 0, &first, expect(DnsQuery)),
                sent("another", &who, half, &second, expect(DnsQuery)),
                // Of what nobody has sent.
                acknowledged(&who, whole + 1000),
                sent("all again", &who, 0, &both, expect(DnsQuery)),
                acknowledged(&who, half),
                sent("the first again", &who, 0, &first, expect(DnsTransport)),
                sent("all again", &who, 0, &both, expect(DnsTransport)),
                sent("the second again", &who, half, &second, expect(DnsQuery)),
                acknowledged(&who, whole),
                sent("the second again", &who, half, &second, expect(DnsTransport)),
                sent("its last octet", &who, whole - 1, &second[second.len() - 1..], {
                    expect(DnsTransport)
                }),
                sent("a keep-alive octet", &who, whole - 1, b"x", expect(DnsTransport)),
                sent("a keep-alive", &who, whole - 1, b"", expect(DnsQuery)),
                sent("a third", &who, whole, &first, expect(DnsQuery)),
            ]);
            check_in_order(filter, &rows);
        }
    });
}

#[test]
fn only_as_much_passes_unacknowledged_as_is_kept() {
    run("", "", |filter| {
        for who in Addresses::both() {
            let data = framed(&[&query(&who)]);
            let fits = 4096 / data.len();
            let mut rows = connected(&who).to_vec();
            for number in 0..fits {
                let at = number * data.len();
                rows.push(sent("one more", &who, at, &data, expect(DnsQuery)));
            }
            let at = fits * data.len();
            rows.extend([
                sent("too many", &who, at, &data, expect(DnsTransport)),
                sent("the first again", &who, 0, &data, expect(DnsQuery)),
                acknowledged(&who, data.len()),
                sent("now", &who, at, &data, expect(DnsQuery)),
                sent("the last ones again", &who, at - data.len(), &data.repeat(2), {
                    expect(DnsQuery)
                }),
            ]);
            check_in_order(filter, &rows);
        }
    });
}

/// A resolver that answers with SYN cookies would take either.
#[test]
fn another_connection_waits_until_the_first_has_ended() {
    run("", "", |filter| {
        for who in Addresses::both() {
            let far = CLIENT.wrapping_add(1 << 30);
            let syn = |what: &str, sequence, expected| {
                from_client(what, numbered(&who, Flags::SYN, [sequence, 0], b""), expected)
            };
            let other = |what: &str| syn(what, far, expect(DnsTransport));
            let mut rows = vec![
                syn("a SYN", CLIENT, expect(DnsQuery)),
                other("another, unanswered"),
                syn("the first again", CLIENT, expect(DnsQuery)),
                to_client("SYN ACK", back(&who, Flags::SYN_ACK, 0, b""), expect(DnsAnswer)),
                other("another, half open"),
            ];
            let data = framed(&[&query(&who)]);
            let reset =
                from_client("RST", out(&who, Flags::RST, data.len(), b""), expect(DnsQuery));
            let fin = to_client("FIN", back(&who, Flags::FIN, 0, b""), expect(DnsAnswer));
            rows.extend([
                sent("the query", &who, 0, &data, expect(DnsQuery)),
                other("another, open"),
                // It is no more where the connection is.
                from_client("RST elsewhere", out(&who, Flags::RST, 9999, b""), expect(DnsQuery)),
                other("another, open all the same"),
            ]);
            for end in [reset, fin] {
                check_in_order(filter, &rows);
                check_on(
                    filter,
                    &[
                        end,
                        sent("data after the end", &who, data.len(), &data, expect(DnsTransport)),
                        syn("one that is near", CLIENT.wrapping_add(500), expect(DnsTransport)),
                        syn("another", far, expect(DnsQuery)),
                        sent("data of the first", &who, data.len(), &data, expect(DnsTransport)),
                    ],
                );
            }
            check_in_order(filter, &rows);
            wait(filter, 121);
            check_on(filter, &[syn("another, after a rest", far, expect(DnsQuery))]);
        }
    });
}

/// The client's first acknowledgement tells a resolver that keeps no state which SYN it was.
#[test]
fn a_client_acknowledges_what_the_resolver_has_sent() {
    run("", "", |filter| {
        for who in Addresses::both() {
            let data = framed(&[&query(&who)]);
            let message = answer(&who);
            let length = framed(&[&message]).len() as u32;
            let ack = |what: &str, octets: u32, data: &[u8], expected| {
                let first = RESOLVER.wrapping_add(1);
                let numbers = [CLIENT.wrapping_add(1), first.wrapping_add(octets)];
                from_client(what, numbered(&who, Flags::ACK, numbers, data), expected)
            };
            let mut rows = connected(&who).to_vec();
            for octets in [1, 1000, u32::MAX, 1 << 31] {
                rows.push(ack("of nothing", octets, b"", expect(DnsTransport)));
                rows.push(ack("of nothing, with data", octets, &data, expect(DnsTransport)));
            }
            rows.extend([
                sent("the query", &who, 0, &data, expect(DnsQuery)),
                came("its answer", &who, 0, &framed(&[&message]), teaches(&message)),
                ack("of the answer", length, b"", expect(DnsQuery)),
                ack("of a part", 1, b"", expect(DnsQuery)),
                ack("of more", length + 1, b"", expect(DnsTransport)),
                to_client("FIN", back(&who, Flags::FIN, length as usize, b""), expect(DnsAnswer)),
                ack("of the FIN", length + 1, b"", expect(DnsQuery)),
                ack("of more", length + 2, b"", expect(DnsTransport)),
            ]);
            check_in_order(filter, &rows);
        }
    });
}

/// Nothing of the resolver's is known then; numbers that are 0 are no acknowledgement of it.
#[test]
fn nothing_is_acknowledged_before_the_resolver_has_answered() {
    run("", "", |filter| {
        for who in Addresses::both() {
            let data = framed(&[&query(&who)]);
            let ack = |what: &str, number: u32, data: &[u8]| {
                let numbers = [CLIENT.wrapping_add(1), number];
                let frame = numbered(&who, Flags::ACK, numbers, data);
                from_client(what, frame, expect(DnsTransport))
            };
            let syn = from_client("a SYN", out(&who, Flags::SYN, 0, b""), expect(DnsQuery));
            check_in_order(
                filter,
                &[
                    syn,
                    ack("an acknowledgement of 0", 0, b""),
                    ack("a query that acknowledges 0", 0, &data),
                    ack("an acknowledgement of a guess", RESOLVER.wrapping_add(1), b""),
                    ack("a query that acknowledges a guess", RESOLVER.wrapping_add(1), &data),
                ],
            );
        }
    });
}

/// Octets that passed unjudged may have ended anywhere.
#[test]
fn a_connection_of_an_audited_group_carries_nothing_once_it_is_enforced() {
    run("", "", |filter| {
        for who in Addresses::both() {
            filter.install(&site::config("", "")).unwrap();
            let who = Addresses { client: who.audited, ..who };
            let data = framed(&[&query(&who)]);
            let mut rows = connected(&who).to_vec();
            rows.push(sent("nothing", &who, 0, &data[..5], expect(DnsTransport).audited()));
            check_in_order(filter, &rows);
            let enforced = |text: String| text.replace("mode: audit", "mode: enforce");
            filter.install(&site::changed_config("", "", enforced)).unwrap();
            check_on(filter, &[sent("a query", &who, 0, &data, expect(DnsTransport).rejected())]);
            assert_eq!(streams(filter).len(), 1);
        }
        filter.install(&site::config("", "")).unwrap();
    });
}

/// Octets that passed while the group was audited may have ended anywhere, too.
#[test]
fn a_connection_that_was_left_unjudged_carries_nothing_afterwards() {
    run("", "", |filter| {
        for who in Addresses::both() {
            filter.install(&site::config("", "")).unwrap();
            let data = framed(&[&query(&who)]);
            let mut rows = connected(&who).to_vec();
            rows.push(sent("a query", &who, 0, &data, expect(DnsQuery)));
            check_in_order(filter, &rows);
            let lenient = site::changed_config("", "", |text| {
                text.replacen("on_deny: drop", "on_deny: drop\n    mode: audit", 1)
            });
            filter.install(&lenient).unwrap();
            let rest = out(&who, Flags::ACK, data.len(), &data[..5]);
            let place = HookPoint::Ingress("eth1");
            assert_eq!(filter.judge(place, &rest).unwrap(), Fate::Passed);
            filter.events();
            filter.install(&site::config("", "")).unwrap();
            check_on(filter, &[sent("then", &who, data.len(), &data, expect(DnsTransport))]);
        }
    });
}

/// Octets of Multipath TCP have numbers of their own.
#[test]
fn no_resolver_agrees_to_multipath() {
    const MULTIPATH: [u8; 12] = [30, 12, 1, 0, 1, 2, 3, 4, 5, 6, 7, 8];
    const SIZE: [u8; 4] = [2, 4, 5, 0xb4];
    run("", "", |filter| {
        for who in Addresses::both() {
            let answer = |what: &str, options: &[u8], expected| {
                let numbers = [RESOLVER, CLIENT.wrapping_add(1)];
                let datagram = Datagram::new(who.resolver, who.client);
                let ports = [53, PORT];
                let segment = datagram.segment_with(options, ports, Flags::SYN_ACK, numbers, b"");
                to_client(what, segment.frame(), expected)
            };
            let denied = || expect(DnsTransport);
            let whole = [&SIZE[..], &[1, 1], &MULTIPATH[..]].concat();
            check_in_order(
                filter,
                &[
                    from_client("SYN", out(&who, Flags::SYN, 0, b""), expect(DnsQuery)),
                    answer("multipath", &MULTIPATH, denied()),
                    answer("behind others", &whole, denied()),
                    answer("what is none", &[2, 0, 0, 0], denied()),
                    sent("a query", &who, 0, &framed(&[&query(&who)]), denied()),
                    answer("none", &SIZE, expect(DnsAnswer)),
                    sent("a query", &who, 0, &framed(&[&query(&who)]), expect(DnsQuery)),
                ],
            );
        }
    });
}

#[test]
fn an_answer_in_parts_without_a_query_does_not_pass() {
    run("", "", |filter| {
        for who in Addresses::both() {
            let data = framed(&[&answer(&who)]);
            let mut rows = connected(&who).to_vec();
            rows.extend([
                came("a part", &who, 0, &data[..20], expect(Unsolicited)),
                came("a later part", &who, 20, &data[20..], expect(Unsolicited)),
            ]);
            check_in_order(filter, &rows);
            let whole = came("the answer", &who, 0, &data, teaches(&answer(&who)));
            check_in_order(filter, &asked(&who));
            check_on(
                filter,
                &[
                    whole,
                    came("a part of another", &who, data.len(), &data[..20], expect(Unsolicited)),
                ],
            );
            filter.forget_addresses().unwrap();
        }
    });
}
