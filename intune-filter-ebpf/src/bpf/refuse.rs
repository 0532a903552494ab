//! Turns a DNS query's frame into the frame of its refusal, to be sent back where it came from.

use core::arch::asm;

use aya_ebpf::{
    helpers::generated::{bpf_csum_diff, bpf_xdp_store_bytes},
    programs::XdpContext,
};

use super::{
    kernel::{Kernel, XDP},
    maps,
    rewrite::{V4_HEADER, V6_HEADER, checksum, octets, shrink, sum, swap, swap_ethernet, turn},
};
use crate::{datapath::WorkingMemory as _, packet::UDP, scratch::Scratch};

/// Octets of a UDP header.
pub const UDP_HEADER: usize = 8;
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
    let network = scratch.refusal.network_offset.get() as u32;
    let transport = scratch.refusal.transport_offset.get() as u32;
    let v6 = octets::<1>(ctx, network)?[0] >> 4 == 6;
    let (length, message) = message(scratch, transport.wrapping_sub(network), v6)?;
    let payload_at = transport + UDP_HEADER as u32;
    // SAFETY: the message has 4096 octets, and at most 508 are read.
    unsafe {
        let octets = scratch.message.as_mut_ptr();
        if bpf_xdp_store_bytes(ctx.ctx, payload_at, octets.cast(), length) != 0 {
            return None;
        }
    }
    swap_ethernet(ctx)?;
    let udp_length = length as u16 + UDP_HEADER as u16;
    let pseudo = if v6 {
        turn(octets::<V6_HEADER>(ctx, network)?, UDP, udp_length)
    } else {
        turn(octets::<V4_HEADER>(ctx, network)?, UDP, udp_length)
    };
    let header = octets::<UDP_HEADER>(ctx, transport)?;
    fill_header(header, udp_length);
    let sum = sum(header, 0, UDP_HEADER) + message + pseudo;
    [header[6], header[7]] = udp_checksum(sum).to_ne_bytes();
    shrink(ctx, payload_at + length)
}

/// The refusal's length, and the sum of its octets; `None` if it is too long, or if the query's IP
/// header, of `header` octets, has options or extensions: they are not copied into an answer.
#[inline(always)]
pub fn message(scratch: &Scratch, header: u32, v6: bool) -> Option<(u32, u64)> {
    if header != if v6 { V6_HEADER as u32 } else { V4_HEADER as u32 } {
        return None;
    }
    let length = bounded(scratch.refusal.length.get() as u32)?;
    for past in 0..3 {
        scratch.message.set_octet(u64::from(length) + past, 0);
    }
    let octets = scratch.message.as_mut_ptr();
    // SAFETY: the message has 4096 octets, and at most 508 are read.
    let sum = unsafe { bpf_csum_diff(core::ptr::null_mut(), 0, octets.cast(), padded(length), 0) };
    Some((length, u64::from(u32::try_from(sum).ok()?)))
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

/// Turns the query's UDP header into the refusal's, without a checksum.
#[inline(always)]
pub fn fill_header(header: &mut [u8; UDP_HEADER], udp_length: u16) {
    swap(header, 0, 2, 2);
    let length = udp_length.to_be_bytes();
    [header[4], header[5], header[6], header[7]] = [length[0], length[1], 0, 0];
}

/// The checksum of a datagram with this sum. Zero stands for "none", so a checksum of zero is sent
/// as its other form (RFC 768).
#[inline(always)]
pub fn udp_checksum(sum: u64) -> u16 {
    match checksum(sum) {
        0 => u16::MAX,
        own => own,
    }
}
