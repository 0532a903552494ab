//! Entry points: XDP on LAN ingress, TC on LAN egress.

use aya_ebpf::{bindings::xdp_action, macros::xdp, programs::XdpContext};

/// Lets everything pass.
#[xdp]
pub fn ingress(_: XdpContext) -> u32 {
    xdp_action::XDP_PASS
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    // SAFETY: the verifier refuses a program that could get here.
    unsafe { core::hint::unreachable_unchecked() }
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
