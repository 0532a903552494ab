//! Replies at XDP: the denied frame is rewritten in place, to be sent by XDP_TX.

use core::arch::asm;

use aya_ebpf::{
    helpers::generated::{
        bpf_xdp_adjust_head, bpf_xdp_adjust_tail, bpf_xdp_get_buff_len, bpf_xdp_store_bytes,
    },
    programs::XdpContext,
};

use super::message::{PREFIX, make_refusal, refusal_message};
use crate::{
    bpf::kernel::{BpfDatapath, XDP},
    datapath::WorkingMemory as _,
    packet::{ICMP, ICMPV6, TCP, UDP},
    reply::{
        ICMP_HEADER, Kind, PROHIBITED_V4, PROHIBITED_V6, QUOTED, TCP_HEADER, TIMED_HEADER,
        UDP_HEADER, V4_HEADER, V6_HEADER, checksum, fill_ip, fill_last, fill_reset, fill_udp,
        reverse_ip, sum, swap, udp_checksum,
    },
    scratch::Scratch,
};

/// Octets of the shortest frame that every driver sends.
const FRAME_MIN: u32 = 60;
/// Octets by which a refusal may be longer than its query: an SOA record, and an option of EDNS.
const REFUSAL_ROOM: usize = 64;

/// Writes the reply that the working memory describes over the denied frame, and releases the
/// memory. `None` if the frame has no room for it. A function of its own to save stack.
#[inline(never)]
pub fn write(ctx: &XdpContext, kernel: BpfDatapath<XDP>) -> Option<()> {
    // The run that denied the frame has claimed the memory.
    let scratch = BpfDatapath::<XDP>::scratch()?;
    let network = scratch.ctx.network_offset.get() as u32;
    let (kind, v6) = (Kind::from_word(scratch.reply.kind.get()), scratch.reply.v6.get() != 0);
    if kind == Kind::REFUSAL || kind == Kind::STREAM_REFUSAL {
        make_refusal(scratch, kernel, network, v6);
    }
    let written = write_kind!(scratch, (ctx, scratch, network), prohibited: [
        prohibited_v4(ctx, network),
        prohibited_v6(ctx, network)
    ]);
    kernel.release(scratch);
    written
}

/// Writes a refusal, which may be longer than its query: there is room before a frame, but not
/// always behind it.
#[inline(never)]
fn refusal<const HEADER: usize>(ctx: &XdpContext, scratch: &Scratch, network: u32) -> Option<()> {
    let (length, message) = refusal_message(scratch)?;
    open_gap::<REFUSAL_ROOM>(ctx, network)?;
    swap_ethernet(ctx)?;
    let udp_length = length as u16 + UDP_HEADER as u16;
    let query = network + REFUSAL_ROOM as u32;
    let mut ip = *octets::<HEADER>(ctx, query)?;
    let mut udp = *octets::<UDP_HEADER>(ctx, query + HEADER as u32)?;
    let pseudo = reverse_ip(&mut ip, UDP, udp_length);
    fill_udp(&mut udp, udp_length);
    let sum = sum(&udp, 0, UDP_HEADER) + message + pseudo;
    [udp[6], udp[7]] = udp_checksum(sum).to_ne_bytes();
    let transport = network + HEADER as u32;
    *octets::<HEADER>(ctx, network)? = ip;
    *octets::<UDP_HEADER>(ctx, transport)? = udp;
    let payload = transport + UDP_HEADER as u32;
    // SAFETY: the message has 4096 octets, and at most 508 are read.
    unsafe {
        let octets = scratch.message.as_mut_ptr();
        if bpf_xdp_store_bytes(ctx.ctx, payload, octets.cast(), length) != 0 {
            return None;
        }
    }
    shrink(ctx, payload + length)
}

/// Writes a refusal over TCP, behind a TCP header of `LENGTH` octets.
#[inline(never)]
fn last<const HEADER: usize, const LENGTH: usize>(
    ctx: &XdpContext,
    scratch: &Scratch,
    network: u32,
) -> Option<()> {
    let (length, message) = refusal_message(scratch)?;
    open_gap::<REFUSAL_ROOM>(ctx, network)?;
    swap_ethernet(ctx)?;
    let prefix = length as u16;
    let tcp_length = (LENGTH + PREFIX) as u16 + prefix;
    let query = network + REFUSAL_ROOM as u32;
    let mut ip = *octets::<HEADER>(ctx, query)?;
    let mut tcp = *octets::<LENGTH>(ctx, query + HEADER as u32)?;
    let pseudo = reverse_ip(&mut ip, TCP, tcp_length);
    fill_last(&mut tcp, &scratch.reply);
    let sum = sum(&tcp, 0, LENGTH) + u64::from(prefix.to_be()) + message + pseudo;
    [tcp[16], tcp[17]] = checksum(sum).to_ne_bytes();
    let transport = network + HEADER as u32;
    *octets::<HEADER>(ctx, network)? = ip;
    *octets::<LENGTH>(ctx, transport)? = tcp;
    let payload = transport + LENGTH as u32;
    *octets::<PREFIX>(ctx, payload)? = prefix.to_be_bytes();
    let begin = payload + PREFIX as u32;
    // SAFETY: the message has 4096 octets, and at most 508 are read.
    unsafe {
        let octets = scratch.message.as_mut_ptr();
        if bpf_xdp_store_bytes(ctx.ctx, begin, octets.cast(), length) != 0 {
            return None;
        }
    }
    shrink(ctx, begin + length)
}

#[inline(never)]
fn reset<const HEADER: usize>(ctx: &XdpContext, scratch: &Scratch, network: u32) -> Option<()> {
    swap_ethernet(ctx)?;
    let pseudo = reverse_ip(octets::<HEADER>(ctx, network)?, TCP, TCP_HEADER as u16);
    let header = octets::<TCP_HEADER>(ctx, network + HEADER as u32)?;
    fill_reset(header, &scratch.reply);
    [header[16], header[17]] = checksum(sum(header, 0, TCP_HEADER) + pseudo).to_ne_bytes();
    shrink(ctx, network + (HEADER + TCP_HEADER) as u32)
}

/// Makes room for `ROOM` octets behind the Ethernet header.
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

#[inline(never)]
fn prohibited_v4(ctx: &XdpContext, network: u32) -> Option<()> {
    const ROOM: usize = V4_HEADER + ICMP_HEADER;
    const MESSAGE: usize = ICMP_HEADER + V4_HEADER + QUOTED;
    open_gap::<ROOM>(ctx, network)?;
    swap_ethernet(ctx)?;
    let all = octets::<{ V4_HEADER + MESSAGE }>(ctx, network)?;
    let mut header = [0; V4_HEADER];
    copy::<{ V4_HEADER + MESSAGE }, V4_HEADER, ROOM, 16, 12, 4>(all, &mut header);
    copy::<{ V4_HEADER + MESSAGE }, V4_HEADER, ROOM, 12, 16, 4>(all, &mut header);
    fill_ip(&mut header, ICMP, MESSAGE as u16);
    for (octet, value) in header.iter().enumerate() {
        all[octet] = *value;
    }
    [all[20], all[21], all[22], all[23], all[24], all[25], all[26], all[27]] = PROHIBITED_V4;
    [all[22], all[23]] = checksum(sum(all, V4_HEADER, V4_HEADER + MESSAGE)).to_ne_bytes();
    shrink(ctx, network + (V4_HEADER + MESSAGE) as u32)
}

#[inline(never)]
fn prohibited_v6(ctx: &XdpContext, network: u32) -> Option<()> {
    const ROOM: usize = V6_HEADER + ICMP_HEADER;
    const MESSAGE: usize = ICMP_HEADER + V6_HEADER + QUOTED;
    open_gap::<ROOM>(ctx, network)?;
    swap_ethernet(ctx)?;
    let all = octets::<{ V6_HEADER + MESSAGE }>(ctx, network)?;
    let mut header = [0; V6_HEADER];
    copy::<{ V6_HEADER + MESSAGE }, V6_HEADER, ROOM, 24, 8, 16>(all, &mut header);
    copy::<{ V6_HEADER + MESSAGE }, V6_HEADER, ROOM, 8, 24, 16>(all, &mut header);
    let pseudo = fill_ip(&mut header, ICMPV6, MESSAGE as u16);
    for (octet, value) in header.iter().enumerate() {
        all[octet] = *value;
    }
    [all[40], all[41], all[42], all[43], all[44], all[45], all[46], all[47]] = PROHIBITED_V6;
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

/// Returns `N` octets of the frame for writing; `None` if the frame ends before.
#[inline(always)]
fn octets<const N: usize>(ctx: &XdpContext, offset: u32) -> Option<&mut [u8; N]> {
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

/// Swaps the Ethernet addresses.
#[inline(always)]
fn swap_ethernet(ctx: &XdpContext) -> Option<()> {
    swap(octets::<12>(ctx, 0)?, 0, 6, 6);
    Some(())
}

/// Cuts the frame to the length of the reply.
#[inline(always)]
fn shrink(ctx: &XdpContext, length: u32) -> Option<()> {
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
