//! What turning a frame into its own answer takes: access, checksums, new length.

use core::arch::asm;

use aya_ebpf::{
    helpers::generated::{bpf_xdp_adjust_tail, bpf_xdp_get_buff_len},
    programs::XdpContext,
};

/// The shortest frame that every driver sends.
const FRAME_MIN: u32 = 60;

/// Time to live and hop limit of answers (RFC 1700).
pub const HOP_LIMIT: u8 = 64;

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
