//! Turns a DNS query's frame into the frame of its refusal, to be sent back where it came from.

use core::arch::asm;

use aya_ebpf::{
    helpers::generated::{bpf_csum_diff, bpf_xdp_store_bytes},
    programs::XdpContext,
};
use intune_filter_ebpf::{dns::Scratch, packet::UDP, world::World as _};

use super::{
    kernel::{Kernel, XDP},
    maps,
    rewrite::{HOP_LIMIT, checksum, octets, shrink, sum, swap, swap_ethernet},
};

const UDP_HEADER: u32 = 8;
/// The helper sums at most 512 octets at a time on kernels before 6.13.
const MESSAGE_MAX: u32 = 500;

/// Writes the refusal that the working memory holds over its query, and gives the memory back.
/// `None` if it cannot be. A function of its own, for the sake of its stack.
#[inline(never)]
pub fn answer(ctx: &XdpContext, kernel: Kernel<XDP>) -> Option<()> {
    let scratch = maps::SCRATCH_XDP.get_ptr(0)?;
    // SAFETY: elements of a per-CPU array live as long as the program, and the run that made the
    // refusal has claimed this one.
    let scratch = unsafe { &*scratch };
    let written = write(ctx, scratch);
    kernel.release(scratch);
    written
}

#[inline(always)]
fn write(ctx: &XdpContext, scratch: &Scratch) -> Option<()> {
    let message = &scratch.message;
    let network_offset = scratch.refusal.network_offset.get() as u32;
    let transport_offset = scratch.refusal.transport_offset.get() as u32;
    let length = scratch.refusal.length.get() as u32;
    let header = transport_offset.wrapping_sub(network_offset);
    // Options and extension headers are not copied into an answer.
    if length > MESSAGE_MAX || (header != 40 && header != 20) {
        return None;
    }
    let length = bounded(length)?;
    for past in 0..3 {
        message.set_octet(u64::from(length) + past, 0);
    }
    let padded = padded(length);
    let payload_at = transport_offset + UDP_HEADER;
    // SAFETY: both helpers read at most 508 octets of the message, which has 4096.
    let sum = unsafe {
        let octets = message.as_mut_ptr();
        if bpf_xdp_store_bytes(ctx.ctx, payload_at, octets.cast(), length) != 0 {
            return None;
        }
        bpf_csum_diff(core::ptr::null_mut(), 0, octets.cast(), padded, 0)
    };
    let sum = u32::try_from(sum).ok()?;
    swap_ethernet(ctx)?;
    let udp_length = (length + UDP_HEADER) as u16;
    let pseudo = if header == 40 {
        rewrite_v6(ctx, network_offset, udp_length)?
    } else {
        rewrite_v4(ctx, network_offset, udp_length)?
    };
    rewrite_udp(ctx, transport_offset, udp_length, u64::from(sum) + pseudo)?;
    shrink(ctx, payload_at + length)
}

/// The message's length, as the verifier wants to see it.
#[inline(always)]
fn bounded(length: u32) -> Option<u32> {
    let mut below = u64::from(length.wrapping_sub(1));
    if below >= u64::from(MESSAGE_MAX) {
        return None;
    }
    // SAFETY: adds one, after a no-op. Before Linux 6.8 the verifier learns from a comparison with
    // zero nothing about a range, and the helper refuses a length that may be zero.
    unsafe {
        asm!("{below} &= 511", "{below} += 1", below = inout(reg) below,
            options(pure, nomem, nostack));
    }
    Some(below as u32)
}

/// The length rounded up to words.
#[inline(always)]
fn padded(length: u32) -> u32 {
    let mut padded = u64::from(length) + 3;
    // SAFETY: plain arithmetic, kept from the optimizer so that the verifier sees the bound.
    unsafe {
        asm!("{padded} &= 508", padded = inout(reg) padded, options(pure, nomem, nostack));
    }
    padded as u32
}

/// Turns the IPv4 header around, and returns the sum of the pseudo header (RFC 768).
#[inline(always)]
fn rewrite_v4(ctx: &XdpContext, offset: u32, udp_length: u16) -> Option<u64> {
    let header = octets::<20>(ctx, offset)?;
    let total = (20 + udp_length).to_be_bytes();
    [header[1], header[2], header[3]] = [0, total[0], total[1]];
    // A datagram that must not be fragmented needs no identification (RFC 6864).
    [header[4], header[5], header[6], header[7]] = [0, 0, 0x40, 0];
    [header[8], header[10], header[11]] = [HOP_LIMIT, 0, 0];
    swap(header, 12, 16, 4);
    let own = checksum(sum(header, 0, 20)).to_ne_bytes();
    [header[10], header[11]] = own;
    Some(sum(header, 12, 20) + pseudo(udp_length))
}

/// Turns the IPv6 header around, and returns the sum of the pseudo header (RFC 8200 section 8.1).
#[inline(always)]
fn rewrite_v6(ctx: &XdpContext, offset: u32, udp_length: u16) -> Option<u64> {
    let header = octets::<40>(ctx, offset)?;
    let length = udp_length.to_be_bytes();
    [header[4], header[5], header[7]] = [length[0], length[1], HOP_LIMIT];
    swap(header, 8, 24, 16);
    Some(sum(header, 8, 40) + pseudo(udp_length))
}

#[inline(always)]
fn pseudo(udp_length: u16) -> u64 {
    u64::from(u16::from(UDP).to_be()) + u64::from(udp_length.to_be())
}

#[inline(always)]
fn rewrite_udp(ctx: &XdpContext, offset: u32, udp_length: u16, rest: u64) -> Option<()> {
    let header = octets::<8>(ctx, offset)?;
    swap(header, 0, 2, 2);
    let length = udp_length.to_be_bytes();
    [header[4], header[5], header[6], header[7]] = [length[0], length[1], 0, 0];
    // Zero stands for "none", so a sum of zero is sent as its other form (RFC 768).
    let own = match checksum(sum(header, 0, 8) + rest) {
        0 => u16::MAX,
        own => own,
    };
    [header[6], header[7]] = own.to_ne_bytes();
    Some(())
}
