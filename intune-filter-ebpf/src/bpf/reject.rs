//! Turns a denied frame into the answer that tells its sender so: a TCP reset (RFC 9293 section
//! 3.10.7.1), or "communication administratively prohibited" (RFC 1812, RFC 4443).
//!
//! The answer comes from the address that was asked for, as a reset has to.

use aya_ebpf::{helpers::generated::bpf_xdp_adjust_head, programs::XdpContext};

use super::{
    kernel::{Kernel, XDP},
    maps,
    rewrite::{
        V4_HEADER, V6_HEADER, checksum, finish, octets, shrink, sum, swap, swap_ethernet, turn,
    },
};
use crate::{
    datapath::WorkingMemory as _,
    packet::{ICMP, ICMPV6, TCP},
    scratch::{Reply, Scratch},
    verdict::REPLY_RESET,
};

/// Octets of the denied datagram's payload that an ICMP error quotes.
pub const QUOTED: usize = 8;
/// Octets of an ICMP error's header.
pub const ICMP_HEADER: usize = 8;
/// Octets of a TCP header without options.
pub const TCP_HEADER: usize = 20;

/// Writes the answer that the working memory describes over the denied frame, and gives the
/// memory back. `None` if it cannot be. A function of its own, for the sake of its stack.
#[inline(never)]
pub fn answer(ctx: &XdpContext, kernel: Kernel<XDP>) -> Option<()> {
    let scratch = maps::SCRATCH_XDP.get_ptr(0)?;
    // SAFETY: elements of a per-CPU array live as long as the program, and the run that denied
    // the frame has claimed this one.
    let scratch = unsafe { &*scratch };
    let written = write(ctx, scratch);
    kernel.release(scratch);
    written
}

#[inline(always)]
fn write(ctx: &XdpContext, scratch: &Scratch) -> Option<()> {
    let reply = &scratch.reply;
    let network = scratch.ctx.network_offset.get() as u32;
    match (reply.kind.get() == REPLY_RESET, reply.v6.get() != 0) {
        (true, false) => reset::<V4_HEADER>(ctx, scratch, network),
        (true, true) => reset::<V6_HEADER>(ctx, scratch, network),
        (false, false) => prohibited_v4(ctx, network),
        (false, true) => prohibited_v6(ctx, network),
    }
}

#[inline(always)]
fn reset<const HEADER: usize>(ctx: &XdpContext, scratch: &Scratch, network: u32) -> Option<()> {
    let reply = &scratch.reply;
    swap_ethernet(ctx)?;
    let pseudo = turn(octets::<HEADER>(ctx, network)?, TCP, TCP_HEADER as u16);
    let header = octets::<TCP_HEADER>(ctx, network + HEADER as u32)?;
    fill_reset(header, reply);
    [header[16], header[17]] = checksum(sum(header, 0, TCP_HEADER) + pseudo).to_ne_bytes();
    shrink(ctx, network + (HEADER + TCP_HEADER) as u32)
}

/// Turns a TCP header into that of the reset to it, without a checksum.
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

/// Makes room for `ROOM` octets between the Ethernet header and what it carries.
#[inline(always)]
fn open_gap<const ROOM: usize>(ctx: &XdpContext, network: u32) -> Option<()> {
    // SAFETY: the context is the program's; pointers into the frame are taken anew below.
    if unsafe { bpf_xdp_adjust_head(ctx.ctx, -(ROOM as i32)) } != 0 {
        return None;
    }
    if network == 14 {
        let from = *octets::<14>(ctx, ROOM as u32)?;
        *octets::<14>(ctx, 0)? = from;
    } else {
        let from = *octets::<18>(ctx, ROOM as u32)?;
        *octets::<18>(ctx, 0)? = from;
    }
    Some(())
}

#[inline(always)]
fn prohibited_v4(ctx: &XdpContext, network: u32) -> Option<()> {
    const ROOM: usize = V4_HEADER + ICMP_HEADER;
    const MESSAGE: usize = ICMP_HEADER + V4_HEADER + QUOTED;
    open_gap::<ROOM>(ctx, network)?;
    swap_ethernet(ctx)?;
    let all = octets::<{ V4_HEADER + MESSAGE }>(ctx, network)?;
    let mut header = [0; V4_HEADER];
    copy::<{ V4_HEADER + MESSAGE }, V4_HEADER, ROOM, 16, 12, 4>(all, &mut header);
    copy::<{ V4_HEADER + MESSAGE }, V4_HEADER, ROOM, 12, 16, 4>(all, &mut header);
    finish(&mut header, ICMP, MESSAGE as u16);
    for (octet, value) in header.iter().enumerate() {
        all[octet] = *value;
    }
    // Destination unreachable, communication administratively prohibited.
    [all[20], all[21], all[22], all[23]] = [3, 13, 0, 0];
    [all[24], all[25], all[26], all[27]] = [0; 4];
    [all[22], all[23]] = checksum(sum(all, V4_HEADER, V4_HEADER + MESSAGE)).to_ne_bytes();
    shrink(ctx, network + (V4_HEADER + MESSAGE) as u32)
}

#[inline(always)]
fn prohibited_v6(ctx: &XdpContext, network: u32) -> Option<()> {
    const ROOM: usize = V6_HEADER + ICMP_HEADER;
    const MESSAGE: usize = ICMP_HEADER + V6_HEADER + QUOTED;
    open_gap::<ROOM>(ctx, network)?;
    swap_ethernet(ctx)?;
    let all = octets::<{ V6_HEADER + MESSAGE }>(ctx, network)?;
    let mut header = [0; V6_HEADER];
    copy::<{ V6_HEADER + MESSAGE }, V6_HEADER, ROOM, 24, 8, 16>(all, &mut header);
    copy::<{ V6_HEADER + MESSAGE }, V6_HEADER, ROOM, 8, 24, 16>(all, &mut header);
    let pseudo = finish(&mut header, ICMPV6, MESSAGE as u16);
    for (octet, value) in header.iter().enumerate() {
        all[octet] = *value;
    }
    // Destination unreachable, communication administratively prohibited.
    [all[40], all[41], all[42], all[43]] = [1, 1, 0, 0];
    [all[44], all[45], all[46], all[47]] = [0; 4];
    let total = sum(all, V6_HEADER, V6_HEADER + MESSAGE) + pseudo;
    [all[42], all[43]] = checksum(total).to_ne_bytes();
    shrink(ctx, network + (V6_HEADER + MESSAGE) as u32)
}

/// Copies an address of the quoted header, at `BASE` in the frame, into the new one.
#[inline(always)]
fn copy<
    const N: usize,
    const M: usize,
    const BASE: usize,
    const FROM: usize,
    const TO: usize,
    const LENGTH: usize,
>(
    from: &[u8; N],
    to: &mut [u8; M],
) {
    const { assert!(BASE + FROM + LENGTH <= N && TO + LENGTH <= M) };
    for octet in 0..LENGTH {
        to[TO + octet] = from[BASE + FROM + octet];
    }
}
