//! Fragments: the first one's verdict holds for the rest.

use intune_filter_ebpf::abi::{
    FragmentVerdict,
    Reason::{
        self, Destination, Exempt, Fragment, FragmentAllowed, Gateway, Policy, Port, SourceRoute,
        Unsolicited,
    },
};
use intune_filter_tests::prog_test_run::{
    Addresses, Bed, Datagram, Flags, Message, Row, check, check_in_order, check_on,
    datagram::{TAG, patched},
    expect, from_client,
    message::A,
    site::VLAN,
    to_client,
};

use crate::run;

const WEB: &str = "core/web";
const TCP: u8 = 6;
const UDP: u8 = 17;

/// A first fragment: 24 octets, of which 20 are the TCP header.
pub(crate) fn first(who: &Addresses) -> Datagram {
    Datagram::new(who.client, who.web).fragment(0, true).tcp(40000, 443, Flags::SYN)
}

/// A later one, at an offset in units of eight octets.
pub(crate) fn later(who: &Addresses, offset: u16, more: bool) -> Datagram {
    Datagram::new(who.client, who.web).fragment(offset, more).raw(TCP, &[0x55; 16])
}

fn allowed(what: &str, datagram: &Datagram) -> Row {
    from_client(what, datagram.frame(), expect(FragmentAllowed).rule(WEB))
}

fn denied(what: &str, datagram: &Datagram) -> Row {
    from_client(what, datagram.frame(), expect(Fragment))
}

fn opened(what: &str, datagram: &Datagram) -> Row {
    from_client(what, datagram.frame(), expect(Policy).rule(WEB))
}

/// The frame with another identification.
pub(crate) fn with_id(datagram: &Datagram, id: u16) -> Vec<u8> {
    let frame = datagram.frame();
    let at = if frame[14] >> 4 == 4 { 18 } else { 14 + 40 + 4 + 2 };
    patched(frame, at, &id.to_be_bytes())
}

#[test]
fn later_fragments_follow_the_first() {
    run("", "", |filter| {
        for who in Addresses::both() {
            let elsewhere = |source, destination| {
                Datagram::new(source, destination).fragment(3, false).raw(TCP, &[0x55; 16])
            };
            check_in_order(
                filter,
                &[
                    denied("one without a first", &later(&who, 3, false)),
                    opened("a first", &first(&who)),
                    allowed("the next", &later(&who, 3, true)),
                    allowed("the same again", &later(&who, 3, true)),
                    allowed("the last", &later(&who, 5, false)),
                    from_client("another datagram's", with_id(&later(&who, 3, false), 0xabcd), {
                        expect(Fragment)
                    }),
                    from_client("in another zone", later(&who, 3, false).tag(TAG, VLAN).frame(), {
                        expect(Reason::UnlistedClient)
                    }),
                    denied("to another host", &elsewhere(who.client, who.push)),
                    denied("from another client", &elsewhere(who.neighbour, who.web)),
                ],
            );
        }
    });
}

#[test]
fn fragments_that_hide_something_end_their_datagram() {
    run("", "", |filter| {
        for who in Addresses::both() {
            // The header of 20 octets ends within the third unit of eight.
            for offset in [1, 2] {
                check_in_order(
                    filter,
                    &[
                        opened("a first", &first(&who)),
                        denied("one that overwrites the header", &later(&who, offset, true)),
                        denied("one that does not", &later(&who, 3, false)),
                    ],
                );
            }
            check_in_order(
                filter,
                &[
                    opened("a first", &first(&who)),
                    denied("a second first", &first(&who)),
                    denied("a later one", &later(&who, 3, false)),
                ],
            );
        }
    });
}

#[test]
fn the_first_fragment_is_judged_like_a_whole_datagram() {
    run("", "", |filter| {
        for who in Addresses::both() {
            let first = |source, destination, port| {
                let datagram = Datagram::new(source, destination).fragment(0, true);
                datagram.udp(40000, port, b"8 octets").frame()
            };
            let later = |source, destination| {
                let datagram = Datagram::new(source, destination).fragment(2, false);
                datagram.raw(UDP, b"8 octets").frame()
            };
            let pair = |what: &str, source, destination, port, one, two| {
                [
                    from_client(what, first(source, destination, port), one),
                    from_client(what, later(source, destination), two),
                ]
            };
            let rows = [
                pair(
                    "another port",
                    who.client,
                    who.web,
                    443,
                    expect(Port).rule(WEB),
                    expect(Fragment),
                ),
                pair("no rule", who.client, who.public, 1, expect(Destination), expect(Fragment)),
                pair(
                    "UDP",
                    who.client,
                    who.ntp,
                    123,
                    expect(Policy).rule("time/ntp"),
                    expect(FragmentAllowed).rule("time/ntp"),
                ),
                pair(
                    "audited",
                    who.audited,
                    who.public,
                    1,
                    expect(Destination).audited(),
                    expect(FragmentAllowed).audited(),
                ),
                pair("exempt", who.exempt, who.public, 1, expect(Exempt), expect(FragmentAllowed)),
                pair("to the gateway", who.client, who.gateway, 1, expect(Gateway), {
                    expect(FragmentAllowed)
                }),
            ];
            for pair in rows {
                check_in_order(filter, &pair);
            }
        }
    });
}

/// A query whose listed name is in what follows its first fragment in the frame, or in what a later
/// one overwrites, would reach the resolver with another name.
#[test]
fn no_query_passes_in_fragments() {
    run("", "", |filter| {
        for who in Addresses::both() {
            let message = Message::query(1, "portal.core.example", A);
            let whole = Datagram::new(who.client, who.resolver).udp(40000, 53, message.octets());
            let payload = whole.packet()[if who.client.is_ipv4() { 20 } else { 40 }..].to_vec();
            let fragment = |offset, more, octets: &[u8]| {
                let datagram = Datagram::new(who.client, who.resolver).fragment(offset, more);
                datagram.raw(UDP, octets).frame()
            };
            let (head, tail) = payload.split_at(24);
            let hidden = [fragment(0, true, head), tail.to_vec()].concat();
            let length = payload.len() / 8 * 8;
            for (what, first, offset) in [
                ("the name behind the datagram", hidden, 3),
                ("the name to be overwritten", fragment(0, true, &payload[..length]), 2),
            ] {
                check_in_order(
                    filter,
                    &[
                        from_client(what, first, expect(Reason::DnsMalformed)),
                        denied("its rest", &{
                            let datagram = Datagram::new(who.client, who.resolver);
                            datagram.fragment(offset, false).raw(UDP, b"elsewhere.example")
                        }),
                    ],
                );
            }
        }
    });
}

#[test]
fn fragments_have_to_be_possible() {
    run("", "", |filter| {
        for who in Addresses::both() {
            let of = |offset, more, protocol, octets: &[u8]| {
                let datagram = Datagram::new(who.client, who.web).fragment(offset, more);
                datagram.raw(protocol, octets)
            };
            let segment = Datagram::new(who.client, who.web).tcp(1, 443, Flags::SYN).packet();
            let segment = &segment[if who.client.is_ipv4() { 20 } else { 40 }..];
            let long = patched(segment.to_vec(), 12, &[0xf0]);
            let mut rows = vec![
                denied("half a TCP header", &of(0, true, TCP, &segment[..16])),
                denied("eight octets of TCP", &of(0, true, TCP, &segment[..8])),
                denied("a TCP header that goes on", &of(0, true, TCP, &long)),
                denied("no octets", &of(0, true, TCP, &[])),
                denied("no octets, later", &of(4, false, TCP, &[])),
                denied("a first of an odd length", &of(0, true, UDP, &[0; 15])),
                denied("a later one of an odd length", &of(4, true, UDP, &[0; 15])),
                denied("a first of half a block more", &of(0, true, UDP, &[0; 12])),
                denied("beyond the greatest datagram", &of(8191, false, UDP, &[0; 16])),
            ];
            if who.client.is_ipv6() {
                let behind = |datagram: Datagram, kind| {
                    let datagram = datagram.extension(kind, &[0, 1, 4, 0, 0, 0, 0]);
                    datagram.tcp(1, 443, Flags::SYN)
                };
                let first = || Datagram::new(who.client, who.web).fragment(0, true);
                rows.push(opened("options behind the fragment header", &behind(first(), 60)));
                rows.push(from_client(
                    "a routing header behind it",
                    behind(first(), 43).frame(),
                    expect(SourceRoute),
                ));
                rows.push(denied(
                    "options and no TCP",
                    &first().extension(60, &[0, 1, 4, 0, 0, 0, 0]).raw(TCP, &[]),
                ));
                rows.push(from_client(
                    "a fragment of a fragment",
                    first().fragment(0, true).tcp(1, 443, Flags::SYN).frame(),
                    expect(Reason::Malformed),
                ));
            }
            check(filter, &rows);
        }
    });
}

/// The options are part of what a later fragment may not overwrite.
#[test]
fn headers_before_tcp_are_guarded_too() {
    let [_, who] = Addresses::both();
    run("", "", |filter| {
        let first = Datagram::new(who.client, who.web).fragment(0, true);
        let first = first.extension(60, &[0, 1, 4, 0, 0, 0, 0]).tcp(40000, 443, Flags::SYN);
        for (offset, overwrites) in [(3, true), (4, false)] {
            check_in_order(filter, &[opened("a first with options", &first)]);
            let later = later(&who, offset, false);
            let row =
                if overwrites { denied("over TCP", &later) } else { allowed("behind", &later) };
            check_on(filter, &[row]);
        }
    });
}

#[test]
fn a_fragment_is_not_waited_for_forever() {
    run("", "", |filter| {
        for who in Addresses::both() {
            check_in_order(filter, &[opened("a first", &first(&who))]);
            let age = |filter: &dyn Bed, seconds: u64| {
                let change =
                    |verdict: &mut FragmentVerdict| verdict.seen -= seconds * 1_000_000_000;
                filter.change_fragments(&change).unwrap();
            };
            age(filter, 29);
            check_on(filter, &[allowed("in time", &later(&who, 3, true))]);
            age(filter, 2);
            check_on(filter, &[denied("too late", &later(&who, 3, true))]);
        }
    });
}

#[test]
fn fragments_come_back() {
    run("", "", |filter| {
        for who in Addresses::both() {
            let answer = Datagram::new(who.web, who.client);
            let first = answer.clone().fragment(0, true).tcp(443, 40000, Flags::ACK).frame();
            let later = answer.clone().fragment(3, false).raw(TCP, &[0x55; 16]).frame();
            let short = answer.fragment(0, true).raw(TCP, &[0x55; 8]).frame();
            let syn = Datagram::new(who.client, who.web).tcp(40000, 443, Flags::SYN).frame();
            check_in_order(
                filter,
                &[
                    to_client("a first", first.clone(), expect(Unsolicited)),
                    to_client("a later one", later.clone(), expect(Fragment)),
                ],
            );
            check_in_order(
                filter,
                &[
                    to_client("later", later.clone(), expect(Fragment)),
                    from_client("SYN", syn, expect(Policy).rule(WEB)),
                    to_client("first", first.clone(), expect(Reason::Flow).rule(WEB)),
                    to_client("later", later.clone(), expect(FragmentAllowed).rule(WEB)),
                    to_client("first again", first, expect(Fragment)),
                    to_client("later", later, expect(Fragment)),
                    to_client("too short", short, expect(Fragment).silent()),
                ],
            );
        }
    });
}
