//! Lets by at egress what the ingress program at TC sends back, and nothing else.
//!
//! What is sent back passes the egress program of its interface, which would deny it: nobody was
//! allowed to be answered. It is told by its mark. A mark that is always the same would let by
//! whatever a firewall's rule gives the same mark, so every answer has one of its own, which is good
//! once, on the CPU that draws it, and for what came in on the interface that it leaves on. The
//! kernel runs the egress program before it returns to the CPU's next frame: there is never more
//! than one to be remembered.

use aya_ebpf::{
    bindings::TC_ACT_SHOT,
    helpers::generated::{bpf_get_prandom_u32, bpf_redirect},
    programs::TcContext,
};

use super::maps;

/// Sends the frame back out of its interface; returns what the program has to return.
#[inline(always)]
pub fn send_back(ctx: &TcContext) -> i32 {
    let Some(ticket) = maps::SCRATCH_TICKET.get_ptr_mut(0) else {
        return TC_ACT_SHOT;
    };
    // SAFETY: the element is this CPU's, and the fields of the context may be used so.
    unsafe {
        // Zero is no mark.
        let mark = bpf_get_prandom_u32() | 1;
        ticket.write_volatile(mark);
        let skb = ctx.skb.skb;
        (*skb).mark = mark;
        bpf_redirect((*skb).ifindex, 0) as i32
    }
}

/// Whether the frame is one that was sent back. Its mark is used up.
#[inline(always)]
pub fn take(ctx: &TcContext) -> bool {
    // SAFETY: the element is this CPU's, and the fields of the context may be used so.
    unsafe {
        let skb = ctx.skb.skb;
        let mark = (*skb).mark;
        if mark == 0 || (*skb).ingress_ifindex != (*skb).ifindex {
            return false;
        }
        let Some(ticket) = maps::SCRATCH_TICKET.get_ptr_mut(0) else {
            return false;
        };
        if ticket.read_volatile() != mark {
            return false;
        }
        ticket.write_volatile(0);
        (*skb).mark = 0;
    }
    true
}
