//! What turning a frame into its own answer takes: access, checksums, new length.

use core::arch::asm;

use aya_ebpf::{
    helpers::generated::{bpf_xdp_adjust_tail, bpf_xdp_get_buff_len},
    programs::XdpContext,
};

/// The shortest frame that every driver sends.
const FRAME_MIN: u32 = 60;

/// Time to live and hop limit of answers (RFC 1700).
const HOP_LIMIT: u8 = 64;

/// Octets of an IPv4 header without options.
pub const V4_HEADER: usize = 20;
/// Octets of an IPv6 header.
pub const V6_HEADER: usize = 40;

/// `N` octets of the frame, to be changed.
#[inline(always)]
pub fn octets<const N: usize>(ctx: &XdpContext, offset: u32) -> Option<&mut [u8; N]> {
    let mut at = u64::from(offset);
    // SAFETY: plain arithmetic, kept from the optimizer so that the verifier sees the bound.
    unsafe {
        asm!("{at} &= 2047", at = inout(reg) at, options(pure, nomem, nostack));
    }
    let start = ctx.data() + at as usize;
    if start + N > ctx.data_end() {
        return None;
    }
    // SAFETY: the octets are inside the frame, which is this run's alone.
    Some(unsafe { &mut *(start as *mut [u8; N]) })
}

/// Swaps two fields of a header, `length` octets each. Arguments are constants: what is left of
/// the bounds checks after inlining would not verify.
#[inline(always)]
pub fn swap<const N: usize>(octets: &mut [u8; N], a: usize, b: usize, length: usize) {
    for index in 0..length {
        octets.swap(a + index, b + index);
    }
}

/// Sends the frame back to who sent it.
#[inline(always)]
pub fn swap_ethernet(ctx: &XdpContext) -> Option<()> {
    swap(octets::<12>(ctx, 0)?, 0, 6, 6);
    Some(())
}

/// The sum of a header's 16-bit words, as they are in memory.
#[inline(always)]
pub fn sum<const N: usize>(octets: &[u8; N], from: usize, to: usize) -> u64 {
    let mut total = 0;
    let mut at = from;
    while at < to {
        total += u64::from(u16::from_ne_bytes([octets[at], octets[at + 1]]));
        at += 2;
    }
    total
}

/// The Internet checksum (RFC 1071) of a sum.
#[inline(always)]
pub fn checksum(mut sum: u64) -> u16 {
    for _ in 0..4 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// Turns an IP header around for a payload of this protocol and length; returns the sum of the
/// pseudo header (RFC 768, RFC 8200 section 8.1).
#[inline(always)]
pub fn turn<const HEADER: usize>(header: &mut [u8; HEADER], protocol: u8, length: u16) -> u64 {
    if HEADER == V4_HEADER {
        swap(header, 12, 16, 4);
    } else {
        swap(header, 8, 24, 16);
    }
    finish(header, protocol, length)
}

/// Fills in what follows from protocol and length; returns the sum of the pseudo header.
#[inline(always)]
pub fn finish<const HEADER: usize>(header: &mut [u8; HEADER], protocol: u8, length: u16) -> u64 {
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
    pseudo(header, protocol, length)
}

/// The sum of the pseudo header.
#[inline(always)]
pub fn pseudo<const HEADER: usize>(header: &[u8; HEADER], protocol: u8, length: u16) -> u64 {
    let addresses = if HEADER == V4_HEADER { 12 } else { 8 };
    let rest = u64::from(u16::from(protocol).to_be()) + u64::from(length.to_be());
    sum(header, addresses, HEADER) + rest
}

/// Cuts the frame to its new length.
#[inline(always)]
pub fn shrink(ctx: &XdpContext, length: u32) -> Option<()> {
    // SAFETY: the context is the program's.
    unsafe {
        let now = bpf_xdp_get_buff_len(ctx.ctx) as u32;
        let surplus = now.saturating_sub(length.max(FRAME_MIN));
        if surplus > 0 && bpf_xdp_adjust_tail(ctx.ctx, -(surplus as i32)) != 0 {
            return None;
        }
    }
    Some(())
}
