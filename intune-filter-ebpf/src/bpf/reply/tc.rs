//! Replies at TC: the denied frame is rewritten, to be redirected with a mark.
//!
//! Frames are written with the helper: for a program that writes to frames directly, the kernel
//! copies each frame that has another holder too, such as each frame that a local socket has sent.
//! Each kind of reply is a function of its own to save stack.

use aya_ebpf::{
    helpers::generated::{bpf_skb_change_tail, bpf_skb_store_bytes},
    programs::TcContext,
};

use super::message::{PREFIX, make_refusal, refusal_message};
use crate::{
    bpf::{
        frame::octets,
        kernel::{BpfDatapath, TC_INGRESS},
    },
    datapath::WorkingMemory as _,
    packet::{ICMP, ICMPV6, TCP, UDP},
    reply::{
        ICMP_HEADER, Kind, PROHIBITED_V4, PROHIBITED_V6, QUOTED, TCP_HEADER, TIMED_HEADER,
        UDP_HEADER, V4_HEADER, V6_HEADER, checksum, fill_ip, fill_last, fill_reset, fill_udp,
        pseudo_sum, reverse_ip, sum, swap, udp_checksum,
    },
    scratch::Scratch,
};

/// Writes the reply that the working memory describes over the denied frame, and releases the
/// memory. `None` if the frame cannot be written.
#[inline(always)]
pub fn write(ctx: &TcContext, kernel: BpfDatapath<TC_INGRESS>) -> Option<()> {
    // The run that denied the frame has claimed the memory.
    let scratch = BpfDatapath::<TC_INGRESS>::scratch()?;
    let network = scratch.ctx.network_offset.get() as u32;
    let (kind, v6) = (Kind::from_word(scratch.reply.kind.get()), scratch.reply.v6.get() != 0);
    if kind == Kind::REFUSAL || kind == Kind::STREAM_REFUSAL {
        make_refusal(scratch, kernel, network, v6);
    }
    let written = write_kind!(scratch, (ctx, scratch, network), prohibited: [
        prohibited::<V4_HEADER>(ctx, scratch, network),
        prohibited::<V6_HEADER>(ctx, scratch, network)
    ]);
    kernel.release(scratch);
    written
}

#[inline(never)]
fn refusal<const HEADER: usize>(ctx: &TcContext, scratch: &Scratch, network: u32) -> Option<()> {
    let (length, message) = refusal_message(scratch)?;
    let transport = scratch.reply.transport_offset.get() as u32;
    let mut ip = load::<HEADER>(ctx, network)?;
    let mut udp = load::<UDP_HEADER>(ctx, transport)?;
    let unfinished = is_unfinished(&ip, UDP, transport_length::<HEADER>(scratch), &udp, 6);
    let udp_length = length as u16 + UDP_HEADER as u16;
    let pseudo = reverse_ip(&mut ip, UDP, udp_length);
    fill_udp(&mut udp, udp_length);
    let total = sum(&udp, 0, UDP_HEADER) + message + pseudo;
    let own = if unfinished { !checksum(pseudo) } else { udp_checksum(total) };
    [udp[6], udp[7]] = own.to_ne_bytes();
    let payload = transport + UDP_HEADER as u32;
    resize(ctx, payload + length)?;
    turn_ethernet(ctx, network)?;
    store(ctx, network, &ip)?;
    store(ctx, transport, &udp)?;
    // SAFETY: the message has 4096 octets, and its length is below.
    let stored = unsafe {
        let octets = scratch.message.as_mut_ptr();
        bpf_skb_store_bytes(ctx.skb.skb, payload, octets.cast_const().cast(), length, 0)
    };
    (stored == 0).then_some(())
}

/// Writes a refusal over TCP, behind a TCP header of `LENGTH` octets.
#[inline(never)]
fn last<const HEADER: usize, const LENGTH: usize>(
    ctx: &TcContext,
    scratch: &Scratch,
    network: u32,
) -> Option<()> {
    let (length, message) = refusal_message(scratch)?;
    let transport = network + HEADER as u32;
    let mut ip = load::<HEADER>(ctx, network)?;
    let mut tcp = load::<LENGTH>(ctx, transport)?;
    let unfinished = is_unfinished(&ip, TCP, transport_length::<HEADER>(scratch), &tcp, 16);
    let prefix = length as u16;
    let pseudo = reverse_ip(&mut ip, TCP, (LENGTH + PREFIX) as u16 + prefix);
    fill_last(&mut tcp, &scratch.reply);
    let total = sum(&tcp, 0, LENGTH) + u64::from(prefix.to_be()) + message + pseudo;
    let own = if unfinished { !checksum(pseudo) } else { checksum(total) };
    [tcp[16], tcp[17]] = own.to_ne_bytes();
    let payload = transport + LENGTH as u32;
    let begin = payload + PREFIX as u32;
    resize(ctx, begin + length)?;
    turn_ethernet(ctx, network)?;
    store(ctx, network, &ip)?;
    store(ctx, transport, &tcp)?;
    store(ctx, payload, &prefix.to_be_bytes())?;
    // SAFETY: the message has 4096 octets, and its length is below.
    let stored = unsafe {
        let octets = scratch.message.as_mut_ptr();
        bpf_skb_store_bytes(ctx.skb.skb, begin, octets.cast_const().cast(), length, 0)
    };
    (stored == 0).then_some(())
}

#[inline(never)]
fn reset<const HEADER: usize>(ctx: &TcContext, scratch: &Scratch, network: u32) -> Option<()> {
    let transport = network + HEADER as u32;
    let mut ip = load::<HEADER>(ctx, network)?;
    let mut tcp = load::<TCP_HEADER>(ctx, transport)?;
    let unfinished = is_unfinished(&ip, TCP, transport_length::<HEADER>(scratch), &tcp, 16);
    let pseudo = reverse_ip(&mut ip, TCP, TCP_HEADER as u16);
    fill_reset(&mut tcp, &scratch.reply);
    let total = sum(&tcp, 0, TCP_HEADER) + pseudo;
    let own = if unfinished { !checksum(pseudo) } else { checksum(total) };
    [tcp[16], tcp[17]] = own.to_ne_bytes();
    resize(ctx, transport + TCP_HEADER as u32)?;
    turn_ethernet(ctx, network)?;
    store(ctx, network, &ip)?;
    store(ctx, transport, &tcp)
}

/// ICMP error. Put together in the memory of messages: on Linux 6.1 the stack has no room for it
/// beside the program's own.
#[repr(C)]
struct Draft<const HEADER: usize> {
    ip: [u8; HEADER],
    icmp: [u8; ICMP_HEADER],
    quoted_ip: [u8; HEADER],
    quoted: [u8; QUOTED],
}

#[inline(never)]
fn prohibited<const HEADER: usize>(ctx: &TcContext, scratch: &Scratch, network: u32) -> Option<()> {
    // SAFETY: the working memory is this run's alone, holds no message for this kind of reply, and
    // has more room for one than the draft needs; any content of octets is valid.
    let draft = unsafe { &mut *scratch.message.as_mut_ptr().cast::<Draft<HEADER>>() };
    draft.quoted_ip = load::<HEADER>(ctx, network)?;
    draft.quoted = load::<QUOTED>(ctx, network + HEADER as u32)?;
    let udp = draft.quoted_ip[if HEADER == V6_HEADER { 6 } else { 9 }] == UDP;
    let length = transport_length::<HEADER>(scratch);
    let unfinished = udp && is_unfinished(&draft.quoted_ip, UDP, length, &draft.quoted, 6);
    draft.ip = draft.quoted_ip;
    if HEADER == V6_HEADER {
        swap(&mut draft.ip, 8, 24, 16);
    } else {
        swap(&mut draft.ip, 12, 16, 4);
    }
    let protocol = if HEADER == V6_HEADER { ICMPV6 } else { ICMP };
    let pseudo = fill_ip(&mut draft.ip, protocol, (ICMP_HEADER + HEADER + QUOTED) as u16);
    draft.icmp = if HEADER == V6_HEADER { PROHIBITED_V6 } else { PROHIBITED_V4 };
    if HEADER == V6_HEADER && unfinished {
        // The device still computes the checksum that UDP would want, and puts it here, into a
        // field that no receiver reads. The value that is here before makes the checksum of the
        // message right before and after. ICMP for IPv4 needs no such value: its checksum has no
        // pseudo header.
        [draft.icmp[6], draft.icmp[7]] = (!checksum(pseudo)).to_ne_bytes();
    }
    let quoted = sum(&draft.quoted_ip, 0, HEADER) + sum(&draft.quoted, 0, QUOTED);
    let message = sum(&draft.icmp, 0, ICMP_HEADER) + quoted;
    let total = if HEADER == V6_HEADER { message + pseudo } else { message };
    [draft.icmp[2], draft.icmp[3]] = checksum(total).to_ne_bytes();
    let length = size_of::<Draft<HEADER>>() as u32;
    resize(ctx, network + length)?;
    turn_ethernet(ctx, network)?;
    // SAFETY: the context is the program's, and the draft has that many octets.
    let stored =
        unsafe { bpf_skb_store_bytes(ctx.skb.skb, network, (&raw const *draft).cast(), length, 0) };
    (stored == 0).then_some(())
}

/// Whether the sender has left the transport checksum to the device that sends the frame, which
/// then still expects to compute it: the field has the sum of the pseudo header.
#[inline(always)]
fn is_unfinished<const HEADER: usize, const N: usize>(
    ip: &[u8; HEADER],
    protocol: u8,
    length: u16,
    transport: &[u8; N],
    at: usize,
) -> bool {
    let field = u16::from_ne_bytes([transport[at], transport[at + 1]]);
    field == !checksum(pseudo_sum(ip, protocol, length))
}

/// Returns the octets of the denied datagram behind its IP header.
#[inline(always)]
fn transport_length<const HEADER: usize>(scratch: &Scratch) -> u16 {
    // SAFETY: the headers were read in this run.
    let length = unsafe {
        if HEADER == V6_HEADER {
            (*scratch.headers.datagram6.get()).transport_length
        } else {
            (*scratch.headers.datagram4.get()).transport_length
        }
    };
    length as u16
}

/// Returns octets of the frame, copied: every change of the frame invalidates pointers into it.
#[inline(always)]
fn load<const N: usize>(ctx: &TcContext, offset: u32) -> Option<[u8; N]> {
    octets(ctx.data(), ctx.data_end(), offset).copied()
}

#[inline(always)]
fn store<const N: usize>(ctx: &TcContext, offset: u32, octets: &[u8; N]) -> Option<()> {
    // SAFETY: the context is the program's, and the octets are as many as stated.
    let stored =
        unsafe { bpf_skb_store_bytes(ctx.skb.skb, offset, octets.as_ptr().cast(), N as u32, 0) };
    (stored == 0).then_some(())
}

/// Swaps the Ethernet addresses of a frame that has them: its IP header is not at the beginning.
#[inline(always)]
fn turn_ethernet(ctx: &TcContext, network: u32) -> Option<()> {
    if network == 0 {
        return Some(());
    }
    let mut addresses = load::<12>(ctx, 0)?;
    swap(&mut addresses, 0, 6, 6);
    store(ctx, 0, &addresses)
}

/// Gives the frame the length of a single packet: an aggregate is none any more. The frame ends
/// where the reply does, since a device that finishes a checksum goes on to the end of the frame.
#[inline(always)]
fn resize(ctx: &TcContext, length: u32) -> Option<()> {
    // SAFETY: the context is the program's.
    (unsafe { bpf_skb_change_tail(ctx.skb.skb, length, 0) } == 0).then_some(())
}
