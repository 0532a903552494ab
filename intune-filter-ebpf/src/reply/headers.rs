//! Headers of replies, made from those of the denied packet.

use super::checksum::{checksum, sum};
use crate::scratch::Reply;

/// Time to live and hop limit of replies (RFC 1700).
const HOP_LIMIT: u8 = 64;

/// Octets of an IPv4 header without options.
pub const V4_HEADER: usize = 20;
/// Octets of an IPv6 header.
pub const V6_HEADER: usize = 40;
/// Octets of a TCP header without options.
pub const TCP_HEADER: usize = 20;
/// Octets of a TCP header with timestamps alone, as they are aligned everywhere (RFC 7323 appendix A).
pub const TIMED_HEADER: usize = 32;
/// Option "timestamps" behind two octets of padding.
pub const TIMESTAMPS: [u8; 4] = [1, 1, 8, 10];
/// Octets of a UDP header.
pub const UDP_HEADER: usize = 8;
/// Octets of an ICMP error's header.
pub const ICMP_HEADER: usize = 8;
/// Octets of the denied datagram's payload that an ICMP error quotes.
pub const QUOTED: usize = 8;

/// ICMP header without a checksum: destination unreachable, communication administratively
/// prohibited.
pub const PROHIBITED_V4: [u8; ICMP_HEADER] = [3, 13, 0, 0, 0, 0, 0, 0];
/// ICMPv6 header without a checksum: destination unreachable, communication administratively
/// prohibited.
pub const PROHIBITED_V6: [u8; ICMP_HEADER] = [1, 1, 0, 0, 0, 0, 0, 0];

/// Swaps two fields of a header, `length` octets each. The arguments have to be constants: bounds
/// checks that remain after inlining would not verify.
#[inline(always)]
pub fn swap<const N: usize>(octets: &mut [u8; N], a: usize, b: usize, length: usize) {
    for index in 0..length {
        octets.swap(a + index, b + index);
    }
}

/// Turns an IP header into that of a reply with a payload of this protocol and length in octets;
/// returns the sum of the pseudo header.
#[inline(always)]
pub fn reverse_ip<const HEADER: usize>(
    header: &mut [u8; HEADER],
    protocol: u8,
    length: u16,
) -> u64 {
    if HEADER == V4_HEADER {
        swap(header, 12, 16, 4);
    } else {
        swap(header, 8, 24, 16);
    }
    fill_ip(header, protocol, length)
}

/// Fills in an IP header except for its addresses; returns the sum of the pseudo header.
#[inline(always)]
pub fn fill_ip<const HEADER: usize>(header: &mut [u8; HEADER], protocol: u8, length: u16) -> u64 {
    if HEADER == V4_HEADER {
        let total = (V4_HEADER as u16 + length).to_be_bytes();
        [header[0], header[1], header[2], header[3]] = [0x45, 0, total[0], total[1]];
        // A datagram that must not be fragmented needs no identification (RFC 6864).
        [header[4], header[5], header[6], header[7]] = [0, 0, 0x40, 0];
        [header[8], header[9], header[10], header[11]] = [HOP_LIMIT, protocol, 0, 0];
        [header[10], header[11]] = checksum(sum(header, 0, HEADER)).to_ne_bytes();
    } else {
        let total = length.to_be_bytes();
        [header[0], header[1], header[2], header[3]] = [0x60, 0, 0, 0];
        [header[4], header[5], header[6], header[7]] = [total[0], total[1], protocol, HOP_LIMIT];
    }
    pseudo_sum(header, protocol, length)
}

/// Returns the sum of the pseudo header (RFC 768, RFC 8200 section 8.1).
#[inline(always)]
pub fn pseudo_sum<const HEADER: usize>(header: &[u8; HEADER], protocol: u8, length: u16) -> u64 {
    let addresses = if HEADER == V4_HEADER { 12 } else { 8 };
    let rest = u64::from(u16::from(protocol).to_be()) + u64::from(length.to_be());
    sum(header, addresses, HEADER) + rest
}

/// Turns a TCP header into that of the reset that `reply` describes, without a checksum.
#[inline(always)]
pub fn fill_reset(header: &mut [u8; TCP_HEADER], reply: &Reply) {
    swap(header, 0, 2, 2);
    let sequence = (reply.sequence.get() as u32).to_be_bytes();
    let acknowledgment = (reply.acknowledgment.get() as u32).to_be_bytes();
    [header[4], header[5], header[6], header[7]] = sequence;
    [header[8], header[9], header[10], header[11]] = acknowledgment;
    [header[12], header[13]] = [(TCP_HEADER as u8 / 4) << 4, reply.flags.get() as u8];
    // No window, no checksum yet, no urgent pointer.
    [header[14], header[15], header[16], header[17], header[18], header[19]] = [0; 6];
}

/// Turns the TCP header of a query into that of the segment that `reply` describes, without a
/// checksum: the last of its connection, with the window that a connection has at most. The sender
/// gets back its timestamps, since a connection that has them wants them in every segment.
#[inline(always)]
pub fn fill_last<const HEADER: usize>(header: &mut [u8; HEADER], reply: &Reply) {
    swap(header, 0, 2, 2);
    let sequence = (reply.sequence.get() as u32).to_be_bytes();
    let acknowledgment = (reply.acknowledgment.get() as u32).to_be_bytes();
    [header[4], header[5], header[6], header[7]] = sequence;
    [header[8], header[9], header[10], header[11]] = acknowledgment;
    [header[12], header[13]] = [(HEADER as u8 / 4) << 4, reply.flags.get() as u8];
    [header[14], header[15]] = [u8::MAX; 2];
    [header[16], header[17], header[18], header[19]] = [0; 4];
    if HEADER == TIMED_HEADER {
        swap(header, 24, 28, 4);
    }
}

/// Turns the UDP header of a query into that of its refusal, without a checksum.
#[inline(always)]
pub fn fill_udp(header: &mut [u8; UDP_HEADER], udp_length: u16) {
    swap(header, 0, 2, 2);
    let length = udp_length.to_be_bytes();
    [header[4], header[5], header[6], header[7]] = [length[0], length[1], 0, 0];
}
