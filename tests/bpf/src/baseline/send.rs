//! Sends frames, and takes them in at the other end.
//!
//! The kernel hands the pages of live frames out again and again, with what whoever had them has
//! written into them: every frame is made anew.

use aya_ebpf::{
    bindings::xdp_action,
    btf_maps::{Array, PerCpuArray},
    helpers::bpf_redirect,
    macros::{btf_map, xdp},
    programs::XdpContext,
};
use intune_filter_bench_ebpf::{Frame, SendPlan};

/// The lists of frames, one behind the other.
#[btf_map]
pub static FRAMES: Array<Frame, 1> = Array::new();
/// Plan of the frames to send.
#[btf_map]
pub static SEND_PLAN: Array<SendPlan, 1> = Array::new();
/// Number of frames that have arrived after one hop.
#[btf_map]
pub static ARRIVED: PerCpuArray<u64, 1> = PerCpuArray::new();
/// 1 for each checked frame that has, by its number.
#[btf_map]
pub static CHECKED: Array<u32, 65536> = Array::new();

/// Makes each live frame the next one of the list, and sends it.
#[xdp]
pub fn send(ctx: XdpContext) -> u32 {
    next(ctx.data(), ctx.data_end()).unwrap_or(xdp_action::XDP_ABORTED)
}

/// Drops everything, and counts what has come over one router.
#[xdp(frags)]
pub fn sink(ctx: XdpContext) -> u32 {
    count(ctx.data(), ctx.data_end());
    xdp_action::XDP_DROP
}

/// Drops everything.
#[xdp(frags)]
pub fn discard(_: XdpContext) -> u32 {
    xdp_action::XDP_DROP
}

#[inline(always)]
fn next(data: usize, end: usize) -> Option<u32> {
    let plan = SEND_PLAN.get_ptr_mut(0)?;
    // SAFETY: one test run at a time uses the map.
    let plan = unsafe {
        let now = *plan;
        (*plan).next = if now.next + 1 < now.count { now.next + 1 } else { 0 };
        now
    };
    let frame = FRAMES.get(plan.first + plan.next)?;
    if data + Frame::LENGTH6 <= end {
        copy::<{ Frame::LENGTH6 }>(frame, data, end)?;
    } else {
        copy::<{ Frame::LENGTH4 }>(frame, data, end)?;
    }
    // SAFETY: the helper takes numbers alone.
    Some(unsafe { bpf_redirect(plan.interface, 0) } as u32)
}

/// In words, of which the last two may overlap.
#[inline(always)]
fn copy<const LENGTH: usize>(frame: &Frame, data: usize, end: usize) -> Option<()> {
    const WORD: usize = size_of::<u64>();
    if data + LENGTH > end {
        return None;
    }
    let from = frame.octets.as_ptr();
    let mut at = 0;
    while at + WORD <= LENGTH {
        // SAFETY: the word is inside the frame and the packet, both of which have LENGTH octets.
        unsafe { word(from, data, at) };
        at += WORD;
    }
    // SAFETY: as above.
    unsafe { word(from, data, LENGTH - WORD) };
    Some(())
}

#[inline(always)]
unsafe fn word(from: *const u8, to: usize, at: usize) {
    // SAFETY: the caller vouches for both places.
    unsafe {
        let word = from.add(at).cast::<u64>().read_unaligned();
        ((to + at) as *mut u64).write_unaligned(word);
    }
}

#[inline(always)]
fn count(data: usize, end: usize) -> Option<()> {
    if data + 34 > end {
        return None;
    }
    // SAFETY: the octets are inside the packet.
    let octet = |offset: usize| unsafe { ((data + offset) as *const u8).read() };
    let (class, hops, number) = match (octet(12), octet(13)) {
        (0x08, 0x00) => (octet(15), octet(22), [octet(18), octet(19)]),
        (0x86, 0xdd) => (octet(14) << 4 | octet(15) >> 4, octet(21), [octet(16), octet(17)]),
        _ => return None,
    };
    if hops != Frame::HOPS - 1 {
        return None;
    }
    if class == Frame::CHECKED {
        let seen = CHECKED.get_ptr_mut(u16::from_be_bytes(number).into())?;
        // SAFETY: every CPU writes the same.
        unsafe { *seen = 1 };
        return Some(());
    }
    let counter = ARRIVED.get_ptr_mut(0)?;
    // SAFETY: the element is this CPU's.
    unsafe { *counter += 1 };
    Some(())
}
