//! Frames in the kernel: XDP buffers and socket buffers.

use core::{arch::asm, ffi::c_void};

use aya_ebpf::{
    bindings::{__sk_buff, xdp_md},
    helpers::generated::{
        bpf_skb_load_bytes, bpf_skb_pull_data, bpf_xdp_get_buff_len, bpf_xdp_load_bytes,
    },
    programs::{TcContext, XdpContext},
};

use crate::{
    abi::ANSWER_CAPACITY,
    bytes::be16,
    memory::Message,
    packet::{ETHERNET_LENGTH, ETHERTYPE_IPV4, ETHERTYPE_IPV6, Packet, TCP, UDP},
    verdict::Arrival,
};

/// Offset before which headers end, or the packet does not parse. The verifier wants a bound.
const HEADERS: u32 = 2047;

/// Octets of headers that are made contiguous: Ethernet, tags, and the longest IPv4 header or an
/// IPv6 header with a few extensions, before the longest TCP header that is read.
const CONTIGUOUS: u32 = 256;
/// Octets of the headers of nearly every packet: Ethernet, IPv6, TCP.
const USUAL: u32 = 74;

/// Frame at XDP.
///
/// The frame holds the context itself and not a reference to the place where the program keeps it.
/// The newest kernels (seen on 7.3) find out beforehand which parts of the stack are still needed;
/// they cannot look through a pointer to the stack that lies on the stack itself, take the whole
/// stack as needed, and follow each content that it may have separately: four times as many
/// instructions.
#[derive(Clone, Copy)]
pub struct XdpFrame {
    ctx: *mut xdp_md,
    /// Length of the frame in octets, asked for once: it takes a call.
    length: u32,
}

impl XdpFrame {
    /// Returns the frame of a program's run.
    #[inline(always)]
    pub fn new(ctx: &XdpContext) -> Self {
        // SAFETY: the context is the program's.
        Self { ctx: ctx.ctx, length: unsafe { bpf_xdp_get_buff_len(ctx.ctx) as u32 } }
    }

    #[inline(always)]
    fn context(self) -> XdpContext {
        XdpContext::new(self.ctx)
    }
}

impl Packet for XdpFrame {
    #[inline(always)]
    fn length(&self) -> u32 {
        self.length
    }

    #[inline(always)]
    fn packets(&self) -> u32 {
        1
    }

    #[inline(always)]
    fn at<const N: usize>(&self, offset: u32) -> Option<&[u8; N]> {
        octets(self.context().data(), self.context().data_end(), offset)
    }

    #[inline(always)]
    fn copy(&self, offset: u32, length: u32, message: &Message) -> bool {
        let Some(length) = message_length(length) else {
            return false;
        };
        // SAFETY: the message has room for every length that `message_length` gives.
        unsafe { bpf_xdp_load_bytes(self.ctx, offset, message.as_mut_ptr().cast(), length) == 0 }
    }
}

/// Frame at TC, with an Ethernet header or, of a device without, from the IP header on.
///
/// The frame holds the context itself: see [`XdpFrame`].
#[derive(Clone, Copy)]
pub struct SkbFrame<const HAS_ETHERNET: bool> {
    skb: *mut __sk_buff,
}

impl<const HAS_ETHERNET: bool> SkbFrame<HAS_ETHERNET> {
    /// Returns the frame, with its headers made contiguous.
    #[inline(always)]
    pub fn new(ctx: &TcContext) -> Self {
        let frame = Self { skb: ctx.skb.skb };
        frame.pull(USUAL, CONTIGUOUS);
        if frame.linear() < frame.length() && !frame.has_short_headers() {
            frame.pull(HEADERS, HEADERS);
        }
        frame
    }

    #[inline(always)]
    fn context(self) -> TcContext {
        TcContext::new(self.skb)
    }

    /// Returns the number of octets that can be read directly.
    #[inline(always)]
    fn linear(&self) -> u32 {
        (self.context().data_end() - self.context().data()) as u32
    }

    /// Makes up to `wanted` octets contiguous if fewer than `needed` are.
    #[inline(always)]
    fn pull(&self, needed: u32, wanted: u32) {
        let length = self.length();
        if self.linear() < needed.min(length) {
            // SAFETY: the context is the program's. A failure leaves the packet as it was, and
            // what then cannot be read does not parse.
            unsafe { bpf_skb_pull_data(self.skb, length.min(wanted)) };
        }
    }

    /// Whether nothing but TCP or UDP follows an IP header without options or extensions.
    #[inline(always)]
    fn has_short_headers(&self) -> bool {
        let network = if HAS_ETHERNET { ETHERNET_LENGTH } else { 0 };
        let Some(head) = self.at::<10>(network) else {
            return false;
        };
        let ethertype = if HAS_ETHERNET {
            self.at::<2>(ETHERNET_LENGTH - 2).map_or(0, be16::<0, 2>)
        } else {
            self.ethertype()
        };
        let protocol = match ethertype {
            ETHERTYPE_IPV4 if head[0] == 0x45 => head[9],
            ETHERTYPE_IPV6 => head[6],
            _ => return false,
        };
        protocol == TCP || protocol == UDP
    }

    /// Returns the interface, tag and origin of the frame.
    #[inline(always)]
    pub fn arrival(&self) -> Arrival {
        // SAFETY: the fields of the context are readable.
        let (ifindex, ingress, present, tag) = unsafe {
            let skb = &*self.skb;
            (skb.ifindex, skb.ingress_ifindex, skb.vlan_present, skb.vlan_tci)
        };
        Arrival { ifindex, stripped_tag: (present != 0).then_some(tag as u16), came_by: ingress }
    }
}

impl<const ETHERNET: bool> Packet for SkbFrame<ETHERNET> {
    const HAS_ETHERNET: bool = ETHERNET;

    #[inline(always)]
    fn ethertype(&self) -> u16 {
        // SAFETY: the field of the context is readable.
        u16::from_be(unsafe { (*self.skb).protocol } as u16)
    }

    #[inline(always)]
    fn length(&self) -> u32 {
        self.context().len()
    }

    #[inline(always)]
    fn counted_length(&self) -> u32 {
        const TAG: u32 = 4;
        // SAFETY: the field of the context is readable; it is 0 or 1.
        self.length() + TAG * unsafe { (*self.skb).vlan_present }
    }

    #[inline(always)]
    fn packets(&self) -> u32 {
        // SAFETY: the fields of the context are readable.
        let (segments, size) = unsafe { ((*self.skb).gso_segs, (*self.skb).gso_size) };
        if segments != 0 {
            segments
        } else if size != 0 {
            // For an aggregate made by a virtual machine, the kernel knows only the size of a
            // packet.
            (self.length() + size - 1) / size
        } else {
            1
        }
    }

    #[inline(always)]
    fn at<const N: usize>(&self, offset: u32) -> Option<&[u8; N]> {
        octets(self.context().data(), self.context().data_end(), offset)
    }

    #[inline(always)]
    fn copy(&self, offset: u32, length: u32, message: &Message) -> bool {
        let Some(length) = message_length(length) else {
            return false;
        };
        // SAFETY: the message has room for every length that `message_length` gives.
        unsafe {
            bpf_skb_load_bytes(
                self.skb.cast_const().cast(),
                offset,
                message.as_mut_ptr().cast::<c_void>(),
                length,
            ) == 0
        }
    }
}

/// Returns `N` octets of the linear part of a frame; `None` if that ends before.
#[inline(always)]
pub(super) fn octets<'p, const N: usize>(
    data: usize,
    end: usize,
    offset: u32,
) -> Option<&'p [u8; N]> {
    if offset > HEADERS - N as u32 {
        return None;
    }
    let mut at = u64::from(offset);
    // SAFETY: a no-op after the test above, which the verifier cannot carry over to this register.
    unsafe {
        asm!("{at} &= 2047", at = inout(reg) at, options(pure, nomem, nostack));
    }
    let start = data + at as usize;
    if start + N > end {
        return None;
    }
    // SAFETY: the octets are inside the frame, and octets have no alignment.
    Some(unsafe { &*(start as *const [u8; N]) })
}

/// Returns the length of a message to be copied, bounded for the verifier; `None` if there is no
/// room.
#[inline(always)]
fn message_length(length: u32) -> Option<u32> {
    let mut below = u64::from(length.wrapping_sub(1));
    if below >= ANSWER_CAPACITY as u64 {
        return None;
    }
    // SAFETY: adds one, after a no-op. Before Linux 6.8 the verifier learns from a comparison with
    // zero nothing about a range, and the helpers refuse a length that may be zero.
    unsafe {
        asm!("{below} &= 4095", "{below} += 1", below = inout(reg) below,
            options(pure, nomem, nostack));
    }
    Some(below as u32)
}
