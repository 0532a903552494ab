//! Refused DNS queries: the answer that the kernel sends, octet by octet.

use std::net::IpAddr;

use etherparse::{NetHeaders, PacketHeaders, TransportHeader};
use intune_filter_tests::prog_test_run::{
    Addresses, Bed, Datagram, Fate, Flags, HookPoint, Message, check,
    datagram::TAG,
    from_client,
    message::{self, A, AAAA, QUESTION, Section},
};

use crate::{
    run,
    tables::{
        nxdomain::{self, NXDOMAIN},
        queries::{ask, refused},
        streams::{CLIENT, PORT, RESOLVER, connected, framed},
    },
};

/// Checks every octet of the frame that answers a query.
#[test]
fn refusals_are_answers_to_their_queries() {
    run(", unlisted: refuse", "", |filter| {
        check_octets(filter, "ElseWhere.example", 0x8085, false);
    });
    run(NXDOMAIN, "", |filter| {
        check_octets(filter, "ElseWhere.example", 0x8083, true);
        check_octets(filter, "CoRe.example", 0x8080, true);
        check_octets(filter, "", 0x8080, true);
    });
}

/// Checks the answers to queries for a name: their flags, and whether they say for how long.
fn check_octets(filter: &mut dyn Bed, name: &str, flags: u16, negative: bool) {
    // The primary server, `nobody.invalid`, and five numbers.
    let data = [
        &QUESTION[..],
        &message::name("nobody.invalid"),
        &[0, 0, 0, 1, 0, 0, 14, 16, 0, 0, 4, 176, 0, 9, 58, 128, 0, 0, 0, 10],
    ]
    .concat();
    // Blocked.
    let why: &[u8] = if negative { &[0, 15, 0, 2, 0, 15] } else { &[] };
    for who in Addresses::both() {
        let plain = |flags| Message::query(0x1234, name, AAAA).flags(flags);
        let refused = |more: u16| {
            let answer = plain(flags | more);
            if negative {
                answer.record(Section::Authority, &QUESTION, 6, 10, &data)
            } else {
                answer
            }
        };
        let cookie = [0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8];
        let key = |message: Message| message.record(Section::Additional, &[0], 250, 0, &[0; 30]);
        let cases = [
            ("plain", plain(0x0100), refused(0x0100)),
            ("no recursion", plain(0), refused(0)),
            ("checking disabled", plain(0x0110), refused(0x0110)),
            ("authentic data", plain(0x0120), refused(0x0100)),
            ("EDNS", plain(0x0100).edns(512, 0, &[]), refused(0x0100).edns(1232, 0, why)),
            (
                "DNSSEC",
                plain(0x0100).edns(4096, 0x8000, &[]),
                refused(0x0100).edns(1232, 0x8000, why),
            ),
            ("a cookie", plain(0x0100).edns(1232, 0, &cookie), refused(0x0100).edns(1232, 0, why)),
            ("a signature", key(plain(0x0100)), refused(0x0100)),
            (
                "EDNS and a signature",
                key(plain(0x0100).edns(9, 0, &[])),
                refused(0x0100).edns(1232, 0, why),
            ),
            ("something behind", plain(0x0100).followed_by(&[7; 50]), refused(0x0100)),
            ("much behind", plain(0x0100).followed_by(&[7; 1000]), refused(0x0100)),
            (
                "half an EDNS record",
                plain(0x0100).count(10, 1).followed_by(&[0, 0, 41]),
                refused(0x0100),
            ),
        ];
        for (what, query, refusal) in cases {
            for resolver in [who.gateway, who.resolver] {
                for tag in [false, true] {
                    let tagged =
                        |datagram: Datagram| if tag { datagram.tag(TAG, 0) } else { datagram };
                    let asked = Datagram::new(who.client, resolver).udp(40000, 53, query.octets());
                    let asked = tagged(asked).frame();
                    let answer =
                        Datagram::new(resolver, who.client).udp(53, 40000, refusal.octets());
                    let mut answer = tagged(answer).frame();
                    let (to, from) = answer[..12].split_at_mut(6);
                    to.swap_with_slice(from);
                    let Fate::Answered(got) =
                        filter.judge(HookPoint::Ingress("eth1"), &asked).unwrap()
                    else {
                        panic!("{what}: not answered");
                    };
                    assert_eq!(got, answer, "{} {name:?} {what}", who.family());
                }
            }
        }
    }
}

/// Checks the segment that answers a query over TCP, and ends the connection.
#[test]
fn over_tcp_a_refusal_is_a_sound_segment() {
    let timed = [1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8];
    run(NXDOMAIN, "", |filter| {
        // The length of the name makes that of the message odd, and even.
        for name in ["elsewhere.example", "elsewher.example"] {
            let query = Message::query(0x1234, name, A).edns(1232, 0, &[]);
            for (who, options) in
                Addresses::both().into_iter().flat_map(|who| [(who, &[][..]), (who, &timed[..])])
            {
                filter.clear().unwrap();
                for row in connected(&who) {
                    assert_eq!(filter.judge(row.point, &row.frame).unwrap(), Fate::Passed);
                }
                let data = framed(&[&query]);
                let frame = nxdomain::segment(&who, options, Flags::ACK, 0, 0, &data);
                let fate = filter.judge(HookPoint::Ingress("eth1"), &frame).unwrap();
                let Fate::Answered(got) = fate else { panic!("{name}: not answered") };
                let asked = PacketHeaders::from_ethernet_slice(&frame).unwrap();
                let headers = PacketHeaders::from_ethernet_slice(&got).unwrap();
                let (link, from) = (headers.link.clone(), asked.link.clone());
                let (link, from) = (link.unwrap().ethernet2().unwrap(), from.unwrap());
                assert_eq!(link.destination, from.ethernet2().unwrap().source);
                let Some(TransportHeader::Tcp(tcp)) = headers.transport else { panic!("{got:?}") };
                assert_eq!((tcp.source_port, tcp.destination_port), (53, PORT));
                let begin = CLIENT.wrapping_add(1);
                assert_eq!(tcp.acknowledgment_number, begin.wrapping_add(data.len() as u32));
                assert_eq!(tcp.sequence_number, RESOLVER.wrapping_add(1));
                assert!(tcp.fin && tcp.psh && tcp.ack && !tcp.syn && !tcp.rst && !tcp.urg);
                assert_eq!(tcp.window_size, u16::MAX);
                let echoed = match options {
                    [] => vec![],
                    _ => vec![1, 1, 8, 10, 5, 6, 7, 8, 1, 2, 3, 4],
                };
                assert_eq!(tcp.options.as_slice(), echoed);
                let payload = headers.payload.slice();
                let expected = match headers.net.unwrap() {
                    NetHeaders::Ipv4(ip, _) => {
                        assert_eq!(ip.header_checksum, ip.calc_header_checksum());
                        assert_eq!(IpAddr::from(ip.source), who.resolver);
                        tcp.calc_checksum_ipv4(&ip, payload)
                    }
                    NetHeaders::Ipv6(ip, _) => {
                        assert_eq!(IpAddr::from(ip.source), who.resolver);
                        tcp.calc_checksum_ipv6(&ip, payload)
                    }
                    other => panic!("{other:?}"),
                };
                assert_eq!(tcp.checksum, expected.unwrap());
                let (length, answer) = payload.split_at(2);
                assert_eq!(length, (answer.len() as u16).to_be_bytes());
                assert_eq!(answer.len(), query.octets().len() + 50 + 6);
                assert_eq!(answer[2..4], 0x8183_u16.to_be_bytes());
            }
        }
    });
}

#[test]
fn a_query_whose_refusal_cannot_be_made_is_dropped() {
    run("", "", |filter| {
        let unlisted = Message::query(1, "elsewhere.example", A);
        for who in Addresses::both() {
            let query = || Datagram::new(who.client, who.resolver);
            let queries = if who.client.is_ipv4() {
                // Twenty octets make the header as long as that of IPv6.
                vec![query().options(&[1; 4]), query().options(&[1; 20])]
            } else {
                vec![query().extension(60, &[0, 1, 4, 0, 0, 0, 0])]
            };
            for query in queries {
                let frame = query.udp(40000, 53, unlisted.octets()).frame();
                assert_eq!(
                    filter.judge(HookPoint::Ingress("eth1"), &frame).unwrap(),
                    Fate::Dropped
                );
                // The working memory was given back.
                let frame = ask(who.client, who.resolver, &unlisted);
                check(filter, &[from_client("the next", frame, refused())]);
            }
        }
    });
}
