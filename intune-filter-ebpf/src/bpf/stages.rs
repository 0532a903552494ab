//! Stages that are programs of their own: an entry point ends in a tail call to one, with the state
//! in the hook's working memory.
//!
//! The verifier checks a stage on its own, and a stage has the whole stack. Only entry points call
//! a stage, as the last thing they do: they have returned from every function by then, and the
//! kernel wants no more than 256 octets of stack in use where functions and tail calls meet.
//!
//! A tail call returns if its slot is empty. The caller then denies the packet, as the verdict
//! says.

use aya_ebpf::{EbpfContext, btf_maps::ProgramArray, programs::TcContext, programs::XdpContext};

use super::{
    kernel::{BpfDatapath, TC_INGRESS, XDP},
    maps::{STAGES_TC, STAGES_XDP},
};
use crate::{
    datapath::WorkingMemory as _,
    maps::{STAGE_REPLY, STAGE_SLOTS},
};

/// Calls the stage that answers a frame denied at XDP. Returns if there is no stage: the frame is
/// to be dropped.
#[inline(always)]
pub fn reply_at_xdp(ctx: &XdpContext, kernel: BpfDatapath<XDP>) {
    reply(&STAGES_XDP, ctx, kernel);
}

/// Calls the stage that answers a frame denied at TC. Returns if there is no stage: the frame is to
/// be dropped.
#[inline(always)]
pub fn reply_at_tc(ctx: &TcContext, kernel: BpfDatapath<TC_INGRESS>) {
    reply(&STAGES_TC, ctx, kernel);
}

#[inline(always)]
fn reply<const HOOK: u8>(
    stages: &ProgramArray<{ STAGE_SLOTS as usize }>,
    ctx: &impl EbpfContext,
    kernel: BpfDatapath<HOOK>,
) {
    // SAFETY: nothing of the caller's has to be dropped, and the stage is of the caller's type.
    unsafe { stages.tail_call(ctx, STAGE_REPLY) }
    if let Some(scratch) = BpfDatapath::<HOOK>::scratch() {
        kernel.release(scratch);
    }
}
