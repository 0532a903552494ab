//! Updates of learned addresses for userspace: only the kernel can make them beside the programs
//! that learn.

use aya_ebpf::{helpers::generated::bpf_ktime_get_boot_ns, programs::XdpContext};

use super::hosts;
use crate::abi::{HostUpdate, UpdateStatus, V4};

const IPV4: u32 = 4;

/// Carries out the update in the frame, and writes the result into it. Returns an [`UpdateStatus`].
#[inline(always)]
pub fn amend(ctx: &XdpContext) -> u64 {
    let start = ctx.data();
    if start + size_of::<HostUpdate>() > ctx.data_end() {
        return UpdateStatus::Absent as u64;
    }
    // SAFETY: the frame has as many octets, any of which are an amendment, and is aligned to eight
    // at its beginning, as is the memory that it lies in.
    let frame = unsafe { &mut *(start as *mut HostUpdate) };
    let mut amendment = *frame;
    // SAFETY: the helper has no arguments.
    let now = unsafe { bpf_ktime_get_boot_ns() };
    let outcome = if amendment.family == IPV4 {
        hosts::v4::amend(&V4(amendment.address.0[3]), &mut amendment, now)
    } else {
        let address = amendment.address;
        hosts::v6::amend(&address, &mut amendment, now)
    };
    frame.expected = amendment.expected;
    frame.host = amendment.host;
    outcome
}
