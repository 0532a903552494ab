//! Denied packets whose group is told so: each answer, octet by octet.

use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use intune_filter_tests::prog_test_run::{
    Addresses, Datagram, Fate, Flags, HookPoint, IngressHook, LoadedFilter,
    datagram::{TAG, patched},
    run,
};

/// Answer of XDP to a frame.
fn answer(filter: &LoadedFilter, frame: &[u8]) -> Vec<u8> {
    match filter.judge(HookPoint::Ingress("eth1"), frame).unwrap() {
        Fate::Answered(answer) => answer,
        other => panic!("{other:?}"),
    }
}

/// Checks everything up to the transport header: turned around, checksums right.
fn check_turned(asked: &[u8], answer: &[u8]) {
    assert_eq!((&answer[..6], &answer[6..12]), (&asked[6..12], &asked[..6]));
    let (before, after) = (sliced(asked), sliced(answer));
    match (before.net.unwrap(), after.net.unwrap()) {
        (NetSlice::Ipv4(before), NetSlice::Ipv4(after)) => {
            let header = after.header();
            assert_eq!(header.source(), before.header().destination());
            assert_eq!(header.destination(), before.header().source());
            assert_eq!(header.ttl(), 64);
            assert_eq!(header.header_checksum(), header.to_header().calc_header_checksum());
        }
        (NetSlice::Ipv6(before), NetSlice::Ipv6(after)) => {
            assert_eq!(after.header().source(), before.header().destination());
            assert_eq!(after.header().destination(), before.header().source());
            assert_eq!(after.header().hop_limit(), 64);
        }
        (before, after) => panic!("{before:?} and {after:?}"),
    }
}

fn sliced(frame: &[u8]) -> SlicedPacket<'_> {
    SlicedPacket::from_ethernet(frame).unwrap()
}

fn transport(frame: &[u8]) -> TransportSlice<'_> {
    sliced(frame).transport.unwrap()
}

#[test]
fn a_reset_is_one_that_the_client_believes() {
    run("", "", |filter| {
        for who in Addresses::both() {
            for (flags, sequence, acknowledgment, acknowledges) in [
                // Four octets of data follow sequence number 1, or 6 without a SYN; SYN and FIN count one.
                (Flags::SYN, 0, 6, true),
                (Flags { fin: true, ..Flags::SYN }, 0, 7, true),
                (Flags::default(), 0, 10, true),
                (Flags::ACK, 0xdead_beef, 0, false),
                (Flags::FIN, 0xdead_beef, 0, false),
            ] {
                for tag in [false, true] {
                    let datagram = Datagram::new(who.rejected, who.public);
                    let datagram = datagram.tcp(40000, 22, flags);
                    let datagram = if tag { datagram.tag(TAG, 0) } else { datagram };
                    let at = datagram.frame().len() - 24 + 8;
                    let asked = patched(datagram.frame(), at, &0xdead_beef_u32.to_be_bytes());
                    let answer = answer(filter, &asked);
                    check_turned(&asked, &answer);
                    // As long as a reset is. XDP goes not below what drivers send, which at TC is
                    // theirs to see to, nor beyond what was there.
                    let length = asked.len() - b"data".len();
                    let length = match filter.hook() {
                        IngressHook::Xdp | IngressHook::Generic => length.max(60).min(asked.len()),
                        IngressHook::Tc | IngressHook::Layer3 => length,
                    };
                    assert_eq!(answer.len(), length);
                    let TransportSlice::Tcp(reset) = transport(&answer) else { panic!() };
                    assert_eq!((reset.source_port(), reset.destination_port()), (22, 40000));
                    assert_eq!(reset.sequence_number(), sequence);
                    assert_eq!(reset.acknowledgment_number(), acknowledgment);
                    assert_eq!((reset.rst(), reset.ack()), (true, acknowledges));
                    assert!(!reset.syn() && !reset.fin() && reset.options().is_empty());
                    let header = reset.to_header();
                    let checksum = match sliced(&answer).net.unwrap() {
                        NetSlice::Ipv4(ip) => {
                            assert_eq!(ip.payload().payload.len(), 20);
                            header.calc_checksum_ipv4(&ip.header().to_header(), &[])
                        }
                        NetSlice::Ipv6(ip) => {
                            assert_eq!(ip.payload().payload.len(), 20);
                            header.calc_checksum_ipv6(&ip.header().to_header(), &[])
                        }
                        other => panic!("{other:?}"),
                    };
                    assert_eq!(reset.checksum(), checksum.unwrap());
                }
            }
        }
    });
}

#[test]
fn an_error_quotes_what_was_denied() {
    run("", "", |filter| {
        for who in Addresses::both() {
            let to = || Datagram::new(who.rejected, who.public);
            for datagram in [to().udp(1, 2, b"x"), to().echo_request(7), to().raw(47, &[7; 40])] {
                for datagram in [datagram.clone(), datagram.tag(TAG, 0)] {
                    let asked = datagram.frame();
                    let answer = answer(filter, &asked);
                    check_turned(&asked, &answer);
                    let (kind, code, headers) = match transport(&answer) {
                        TransportSlice::Icmpv4(icmp) => {
                            let sum = icmp.header().icmp_type.calc_checksum(icmp.payload());
                            assert_eq!(icmp.checksum(), sum);
                            (icmp.type_u8(), icmp.code_u8(), 20)
                        }
                        TransportSlice::Icmpv6(icmp) => {
                            let ip = sliced(&answer).net.unwrap();
                            let ip = ip.ipv6_ref().unwrap().header();
                            assert!(icmp.is_checksum_valid(ip.source(), ip.destination()));
                            (icmp.type_u8(), icmp.code_u8(), 40)
                        }
                        other => panic!("{other:?}"),
                    };
                    let prohibited = if who.client.is_ipv4() { (3, 13) } else { (1, 1) };
                    assert_eq!((kind, code), prohibited);
                    let payload = match sliced(&answer).net.unwrap() {
                        NetSlice::Ipv4(ip) => ip.payload().payload.to_vec(),
                        NetSlice::Ipv6(ip) => ip.payload().payload.to_vec(),
                        other => panic!("{other:?}"),
                    };
                    assert_eq!(payload[4..8], [0; 4]);
                    assert_eq!(payload[8..], datagram.packet()[..headers + 8]);
                }
            }
        }
    });
}
