//! BPF object: entry points, each of which turns a verdict into its hook's return value.
#![no_std]
#![no_main]

#[expect(unsafe_code, reason = "functions that the kernel finds by name")]
mod denied_log;
#[expect(unsafe_code, reason = "what the kernel's loader reads is put into sections by name")]
mod object;

use aya_ebpf::{
    bindings::{TC_ACT_SHOT, xdp_action},
    macros::{classifier, xdp},
    programs::{TcContext, XdpContext},
};
use intune_filter_ebpf::{
    bpf::{
        amend,
        frame::{SkbFrame, XdpFrame},
        kernel::{BpfDatapath, EXPLAIN, TC_EGRESS, TC_INGRESS, XDP},
        reply::{self, mark},
        stages,
    },
    datapath::WorkingMemory as _,
    verdict::{self, Action, Arrival},
};

/// Goes on with the next program on the hook (TCX_NEXT, and TC_ACT_UNSPEC of cls_bpf).
const TC_NEXT: i32 = -1;

/// Judges frames that come in on a LAN interface.
#[xdp(frags)]
fn ingress(ctx: XdpContext) -> u32 {
    let kernel = BpfDatapath::<XDP>::new(&ctx);
    let verdict = verdict::ingress(&XdpFrame::new(&ctx), kernel, arrival(&ctx));
    if verdict.reason.denies() {
        denied_log::log_denied_at_ingress(verdict.reason as u64);
    }
    match verdict.action {
        Action::Pass => xdp_action::XDP_PASS,
        Action::Drop => xdp_action::XDP_DROP,
        Action::Refuse | Action::Reject => {
            stages::reply_at_xdp(&ctx, kernel);
            xdp_action::XDP_DROP
        }
    }
}

/// Turns the frame that `ingress` has denied into its reply. A stage: entered by a tail call.
#[xdp(frags)]
fn reply(ctx: XdpContext) -> u32 {
    match reply::xdp::write(&ctx, BpfDatapath::<XDP>::new(&ctx)) {
        Some(()) => xdp_action::XDP_TX,
        None => xdp_action::XDP_DROP,
    }
}

/// Judges a packet without changing a map. Never attached: the command `explain` runs the program.
#[xdp(frags)]
fn explain(ctx: XdpContext) -> u32 {
    let kernel = BpfDatapath::<EXPLAIN>::new(&ctx);
    let verdict = verdict::ingress(&XdpFrame::new(&ctx), kernel, arrival(&ctx));
    if verdict.action.is_answered()
        && let Some(scratch) = BpfDatapath::<EXPLAIN>::scratch()
    {
        kernel.release(scratch);
    }
    verdict.explanation()
}

/// Updates a learned address as the `HostUpdate` in the frame says, and returns an `UpdateStatus`. Never
/// attached: userspace runs the program.
#[xdp]
fn amend(ctx: XdpContext) -> u32 {
    amend::amend(&ctx) as u32
}

#[inline(always)]
fn arrival(ctx: &XdpContext) -> Arrival {
    let ifindex = ctx.ingress_ifindex() as u32;
    Arrival { ifindex, stripped_tag: None, came_by: ifindex }
}

/// Judges frames that come in on a LAN interface with `mode: tc`.
#[classifier]
fn tc_ingress(ctx: TcContext) -> i32 {
    judge_at_tc::<true>(&ctx)
}

/// Judges packets that come in on a LAN interface of layer 3: they have no Ethernet header.
#[classifier]
fn tc_ingress_l3(ctx: TcContext) -> i32 {
    judge_at_tc::<false>(&ctx)
}

#[inline(always)]
fn judge_at_tc<const HAS_ETHERNET: bool>(ctx: &TcContext) -> i32 {
    let kernel = BpfDatapath::<TC_INGRESS>::new(ctx);
    let frame = SkbFrame::<HAS_ETHERNET>::new(ctx);
    let verdict = verdict::ingress(&frame, kernel, frame.arrival());
    if verdict.reason.denies() {
        denied_log::log_denied_at_ingress(verdict.reason as u64);
    }
    match verdict.action {
        Action::Pass => TC_NEXT,
        Action::Drop => TC_ACT_SHOT,
        Action::Refuse | Action::Reject => {
            stages::reply_at_tc(ctx, kernel);
            TC_ACT_SHOT
        }
    }
}

/// Turns the frame that `tc_ingress` or `tc_ingress_l3` has denied into its reply. A stage: entered by a tail call.
#[classifier]
fn tc_reply(ctx: TcContext) -> i32 {
    match reply::tc::write(&ctx, BpfDatapath::<TC_INGRESS>::new(&ctx)) {
        Some(()) => mark::redirect(&ctx),
        None => TC_ACT_SHOT,
    }
}

/// Judges frames that leave on a LAN interface, and learns from DNS answers.
#[classifier]
fn egress(ctx: TcContext) -> i32 {
    judge_at_egress::<true>(&ctx)
}

/// Judges packets that leave on a LAN interface of layer 3, and learns from DNS answers.
#[classifier]
fn egress_l3(ctx: TcContext) -> i32 {
    judge_at_egress::<false>(&ctx)
}

#[inline(always)]
fn judge_at_egress<const HAS_ETHERNET: bool>(ctx: &TcContext) -> i32 {
    if mark::consume(ctx) {
        return TC_NEXT;
    }
    let frame = SkbFrame::<HAS_ETHERNET>::new(ctx);
    let verdict = verdict::egress(&frame, BpfDatapath::<TC_EGRESS>::new(ctx), frame.arrival());
    if verdict.reason.denies() {
        denied_log::log_denied_at_egress(verdict.reason as u64);
    }
    match verdict.action {
        Action::Pass => TC_NEXT,
        // Packets to clients get no reply.
        Action::Drop | Action::Refuse | Action::Reject => TC_ACT_SHOT,
    }
}
