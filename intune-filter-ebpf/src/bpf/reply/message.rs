//! DNS message of a refusal, as both writers send it.

use core::arch::asm;

use aya_ebpf::helpers::generated::bpf_csum_diff;

use crate::{
    datapath::Datapath,
    dns,
    reply::{V4_HEADER, V6_HEADER},
    scratch::Scratch,
};

/// Longest message of a refusal: before Linux 6.13, the helper sums at most 512 octets at a time.
const MESSAGE_MAX: u32 = 500;

/// Octets of the length before a message over TCP (RFC 1035 section 4.2.2).
pub const PREFIX: usize = 2;

/// Makes the refusal's message, and puts its length into the working memory: 0 if the query's IP
/// header at `network` has options or extensions, which a reply does not copy. A function of its own
/// to save stack.
#[inline(never)]
pub fn make_refusal<W: Datapath>(scratch: &Scratch, datapath: W, network: u32, v6: bool) {
    let reply = &scratch.reply;
    reply.length.set(0);
    let transport = reply.transport_offset.get() as u32;
    if transport.wrapping_sub(network) != if v6 { V6_HEADER as u32 } else { V4_HEADER as u32 } {
        return;
    }
    let refusal = dns::choose_refusal(scratch);
    let length = dns::refuse(scratch, datapath, reply.question_end.get(), refusal);
    for past in 0..3 {
        scratch.message.set_octet(length + past, 0);
    }
    reply.length.set(length);
}

/// Returns length and sum of the message in the working memory; `None` if it has none.
#[inline(always)]
pub fn refusal_message(scratch: &Scratch) -> Option<(u32, u64)> {
    let length = bounded(scratch.reply.length.get() as u32)?;
    let octets = scratch.message.as_mut_ptr();
    // SAFETY: the message has 4096 octets, and at most 508 are read.
    let sum = unsafe { bpf_csum_diff(core::ptr::null_mut(), 0, octets.cast(), padded(length), 0) };
    Some((length, u64::from(u32::try_from(sum).ok()?)))
}

/// Returns the length of a message, bounded for the verifier; `None` if the message is too long.
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

/// Returns the length of a message, rounded up to words of four octets.
#[inline(always)]
fn padded(length: u32) -> u32 {
    let mut padded = u64::from(length) + 3;
    // SAFETY: plain arithmetic, kept from the optimizer so that the verifier sees the bound.
    unsafe {
        asm!("{padded} &= 508", padded = inout(reg) padded, options(pure, nomem, nostack));
    }
    padded as u32
}
