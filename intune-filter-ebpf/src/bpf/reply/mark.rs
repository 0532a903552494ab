//! One-time mark of a reply at TC, by which the egress program passes that frame and no other.
//!
//! A reply passes the egress program of its interface, which would deny the frame as unsolicited;
//! its mark tells it apart. A fixed mark would pass every frame to which a firewall's rule gives
//! the mark. Each reply therefore has a mark of its own, good once, on the CPU that draws it, for a
//! frame that leaves on the interface that it came in on. The kernel runs the egress program before
//! it returns to the CPU's next frame: at most one mark is outstanding.

use aya_ebpf::{
    bindings::TC_ACT_SHOT,
    helpers::generated::{bpf_get_prandom_u32, bpf_redirect},
    programs::TcContext,
};

use crate::bpf::maps;

/// Redirects the frame out of its interface, marked; returns the program's return value.
#[inline(always)]
pub fn redirect(ctx: &TcContext) -> i32 {
    let Some(drawn) = maps::SCRATCH_REPLY_MARK.get_ptr_mut(0) else {
        return TC_ACT_SHOT;
    };
    // SAFETY: the element is this CPU's, and the fields of the context may be used so.
    unsafe {
        // Zero is no mark.
        let mark = bpf_get_prandom_u32() | 1;
        drawn.write_volatile(mark);
        let skb = ctx.skb.skb;
        (*skb).mark = mark;
        bpf_redirect((*skb).ifindex, 0) as i32
    }
}

/// Whether the frame is a reply that [`redirect`] has marked. Uses the mark up.
#[inline(always)]
pub fn consume(ctx: &TcContext) -> bool {
    // SAFETY: the element is this CPU's, and the fields of the context may be used so.
    unsafe {
        let skb = ctx.skb.skb;
        let mark = (*skb).mark;
        if mark == 0 || (*skb).ingress_ifindex != (*skb).ifindex {
            return false;
        }
        let Some(drawn) = maps::SCRATCH_REPLY_MARK.get_ptr_mut(0) else {
            return false;
        };
        if drawn.read_volatile() != mark {
            return false;
        }
        drawn.write_volatile(0);
        (*skb).mark = 0;
    }
    true
}
