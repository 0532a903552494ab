//! Diagnostics of denied frames. Functions of their own, which the verifier goes over once: it would
//! follow each way that leads to a denial through the making of a record.

use aya_log_ebpf::debug;

/// Tells of a frame that is denied on ingress.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn log_denied_at_ingress(reason: u64) -> u64 {
    // Where a context is expected, which nothing is read from.
    debug!((), "ingress: denied, reason {}", reason);
    0
}

/// Tells of a frame that is denied on egress.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn log_denied_at_egress(reason: u64) -> u64 {
    debug!((), "egress: denied, reason {}", reason);
    0
}
