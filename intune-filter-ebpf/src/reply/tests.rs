//! Tests of the replies' headers against the library etherparse.

use etherparse::{
    IpNumber, Ipv4Header, Ipv4HeaderSlice, Ipv6Header, Ipv6HeaderSlice, TcpHeader, TcpHeaderSlice,
    UdpHeader, UdpHeaderSlice,
};

use super::*;
use crate::{
    packet::{TCP, TCP_ACK, TCP_RST, UDP},
    scratch::Scratch,
};

const CLIENT4: [u8; 4] = [192, 0, 2, 7];
const SERVER4: [u8; 4] = [198, 51, 100, 255];
const CLIENT6: [u8; 16] = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7];
const SERVER6: [u8; 16] = [0x20, 1, 0xd, 0xb8, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9];

fn denied_v4(protocol: IpNumber) -> [u8; V4_HEADER] {
    let mut header = Ipv4Header::new(40, 3, protocol, CLIENT4, SERVER4).unwrap();
    header.identification = 0x1234;
    header.to_bytes().to_vec().try_into().unwrap()
}

fn denied_v6(protocol: IpNumber) -> [u8; V6_HEADER] {
    let header = Ipv6Header {
        flow_label: 0x54321.try_into().unwrap(),
        payload_length: 40,
        next_header: protocol,
        hop_limit: 3,
        source: CLIENT6,
        destination: SERVER6,
        ..Ipv6Header::default()
    };
    header.to_bytes()
}

#[test]
fn ip_headers_are_reversed_and_whole() {
    let mut v4 = denied_v4(IpNumber::TCP);
    reverse_ip(&mut v4, UDP, 30);
    let parsed = Ipv4HeaderSlice::from_slice(&v4).unwrap().to_header();
    assert_eq!((parsed.source, parsed.destination), (SERVER4, CLIENT4));
    assert_eq!((parsed.protocol, parsed.total_len), (IpNumber::UDP, 50));
    assert_eq!((parsed.time_to_live, parsed.identification), (64, 0));
    assert!(parsed.dont_fragment);
    assert_eq!(parsed.header_checksum, parsed.calc_header_checksum());

    let mut v6 = denied_v6(IpNumber::TCP);
    reverse_ip(&mut v6, UDP, 30);
    let parsed = Ipv6HeaderSlice::from_slice(&v6).unwrap().to_header();
    assert_eq!((parsed.source, parsed.destination), (SERVER6, CLIENT6));
    assert_eq!((parsed.next_header, parsed.payload_length), (IpNumber::UDP, 30));
    assert_eq!((parsed.hop_limit, parsed.flow_label.value()), (64, 0));
}

#[test]
fn resets_have_their_numbers_and_checksum() {
    let mut denied = TcpHeader::new(40_000, 443, 0x0102_0304, 1000);
    denied.syn = true;
    let scratch = Scratch::default();
    scratch.reply.acknowledgment.set(0x0102_0305);
    scratch.reply.flags.set(u64::from(TCP_RST | TCP_ACK));
    let mut tcp: [u8; TCP_HEADER] = denied.to_bytes().to_vec().try_into().unwrap();
    fill_reset(&mut tcp, &scratch.reply);
    let (mut v4, mut v6) = (denied_v4(IpNumber::TCP), denied_v6(IpNumber::TCP));
    let sums =
        [reverse_ip(&mut v4, TCP, TCP_HEADER as u16), reverse_ip(&mut v6, TCP, TCP_HEADER as u16)];
    let written = sums.map(|pseudo| {
        let mut tcp = tcp;
        [tcp[16], tcp[17]] = checksum(sum(&tcp, 0, TCP_HEADER) + pseudo).to_ne_bytes();
        TcpHeaderSlice::from_slice(&tcp).unwrap().to_header()
    });
    let mut expected = TcpHeader::new(443, 40_000, 0, 0);
    (expected.acknowledgment_number, expected.rst, expected.ack) = (0x0102_0305, true, true);
    expected.checksum = expected.calc_checksum_ipv4_raw(SERVER4, CLIENT4, &[]).unwrap();
    assert_eq!(written[0], expected);
    expected.checksum = expected.calc_checksum_ipv6_raw(SERVER6, CLIENT6, &[]).unwrap();
    assert_eq!(written[1], expected);
}

#[test]
fn refusals_have_length_and_checksum() {
    let message = [0x12, 0x34, 0x81, 5];
    let denied = UdpHeader { source_port: 40_000, destination_port: 53, length: 99, checksum: 7 };
    let mut udp = denied.to_bytes();
    fill_udp(&mut udp, 12);
    let mut v6 = denied_v6(IpNumber::UDP);
    let pseudo = reverse_ip(&mut v6, UDP, 12);
    let total = sum(&udp, 0, UDP_HEADER) + sum(&message, 0, 4) + pseudo;
    [udp[6], udp[7]] = udp_checksum(total).to_ne_bytes();
    let mut expected =
        UdpHeader { source_port: 53, destination_port: 40_000, length: 12, checksum: 0 };
    expected.checksum = expected.calc_checksum_ipv6_raw(SERVER6, CLIENT6, &message).unwrap();
    assert_eq!(UdpHeaderSlice::from_slice(&udp).unwrap().to_header(), expected);
    // A checksum of zero would say that there is none.
    assert_eq!((checksum(0xffff), udp_checksum(0xffff)), (0, u16::MAX));
}

#[test]
fn icmp_errors_are_administratively_prohibited() {
    use etherparse::{Icmpv4Type, Icmpv6Type, icmpv4, icmpv6};
    let v4 = etherparse::Icmpv4Slice::from_slice(&PROHIBITED_V4).unwrap().icmp_type();
    let prohibited = icmpv4::DestUnreachableHeader::FilterProhibited;
    assert_eq!(v4, Icmpv4Type::DestinationUnreachable(prohibited));
    let v6 = etherparse::Icmpv6Slice::from_slice(&PROHIBITED_V6).unwrap().icmp_type();
    let prohibited = icmpv6::DestUnreachableCode::Prohibited;
    assert_eq!(v6, Icmpv6Type::DestinationUnreachable(prohibited));
}
