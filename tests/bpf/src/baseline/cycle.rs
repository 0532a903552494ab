//! Gives every packet of a test run to the next flow, and hands it to the measured program.
//!
//! The kernel runs a program over one packet again and again; what is measured then are caches and
//! a branch predictor that know it by heart.

use aya_ebpf::{
    bindings::{TC_ACT_SHOT, xdp_action},
    btf_maps::{Array, ProgramArray},
    macros::{btf_map, classifier, xdp},
    programs::{TcContext, XdpContext},
};
use intune_filter_bench_ebpf::FlowCycle;
use intune_filter_ebpf::abi::V6;

/// Differences between packets.
#[btf_map]
pub static FLOW_CYCLE: Array<FlowCycle, 1> = Array::new();
/// Remote addresses; those of IPv4 in the last word.
#[btf_map]
pub static REMOTES: Array<V6, 131072> = Array::new();
/// The measured program at XDP: an array takes programs of one kind.
#[btf_map]
pub static MEASURED_XDP: ProgramArray<1> = ProgramArray::new();
/// The measured program at TC.
#[btf_map]
pub static MEASURED_TC: ProgramArray<1> = ProgramArray::new();

/// Changes a packet at XDP.
#[xdp(frags)]
pub fn cycle(ctx: XdpContext) -> u32 {
    if change(ctx.data(), ctx.data_end()).is_some() {
        // SAFETY: the context is the program's.
        unsafe { MEASURED_XDP.tail_call(&ctx, 0) };
    }
    xdp_action::XDP_ABORTED
}

/// Changes a packet at TC.
#[classifier]
pub fn cycle_tc(ctx: TcContext) -> i32 {
    if change(ctx.data(), ctx.data_end()).is_some() {
        // SAFETY: the context is the program's.
        unsafe { MEASURED_TC.tail_call(&ctx, 0) };
    }
    TC_ACT_SHOT as i32
}

/// Offsets of addresses and ports: Ethernet, then IPv4 or IPv6 without options.
const SOURCE4: usize = 26;
const DESTINATION4: usize = 30;
const PORTS4: usize = 34;
const SOURCE6: usize = 22;
const DESTINATION6: usize = 38;
const PORTS6: usize = 54;

#[inline(always)]
fn change(data: usize, end: usize) -> Option<()> {
    let cycle = FLOW_CYCLE.get_ptr_mut(0)?;
    // SAFETY: one test run at a time uses the map.
    let (number, cycle) = unsafe {
        (*cycle).next = (*cycle).next.wrapping_add(1);
        ((*cycle).next, *cycle)
    };
    let flow = cycle.flow(number);
    let remote = REMOTES.get(cycle.remote(flow))?;
    let (host, port) = (FlowCycle::client(flow), FlowCycle::port(flow).to_be());
    if cycle.v6 != 0 {
        if data + PORTS6 + 4 > end {
            return None;
        }
        let (client, other, ports) = if cycle.to_client == 0 {
            (SOURCE6, DESTINATION6, PORTS6)
        } else {
            (DESTINATION6, SOURCE6, PORTS6 + 2)
        };
        // SAFETY: the octets are inside the packet.
        unsafe {
            ((data + client + 15) as *mut u8).write(host);
            ((data + other) as *mut [u32; 4]).write_unaligned(remote.0);
            ((data + ports) as *mut u16).write_unaligned(port);
        }
    } else {
        if data + PORTS4 + 4 > end {
            return None;
        }
        let (client, other, ports) = if cycle.to_client == 0 {
            (SOURCE4, DESTINATION4, PORTS4)
        } else {
            (DESTINATION4, SOURCE4, PORTS4 + 2)
        };
        // SAFETY: the octets are inside the packet.
        unsafe {
            ((data + client + 3) as *mut u8).write(host);
            ((data + other) as *mut u32).write_unaligned(remote.0[3]);
            ((data + ports) as *mut u16).write_unaligned(port);
        }
    }
    Some(())
}
