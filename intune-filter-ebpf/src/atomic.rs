//! Compare-and-exchange of a word that other CPUs may write. Orders accesses before and after.

/// Replaces `old` by `new`; returns whether `old` was there.
///
/// # Safety
///
/// `at` points to an aligned word that outlives the call and is accessed atomically everywhere; in
/// the kernel, to a word of a map's value or of the stack.
#[cfg(target_arch = "bpf")]
#[inline(always)]
pub unsafe fn exchange(at: *mut u64, old: u64, new: u64) -> bool {
    let found: u64;
    // SAFETY: the caller's promise.
    unsafe {
        core::arch::asm!("r0 = cmpxchg_64({at} + 0, r0, {new})",
            at = in(reg) at, new = in(reg) new, inlateout("r0") old => found, options(nostack));
    }
    found == old
}

/// Replaces `old` by `new`; returns whether `old` was there.
///
/// # Safety
///
/// `at` points to an aligned word that outlives the call and is accessed atomically everywhere.
#[cfg(not(target_arch = "bpf"))]
pub unsafe fn exchange(at: *mut u64, old: u64, new: u64) -> bool {
    use core::sync::atomic::{AtomicU64, Ordering::SeqCst};
    // SAFETY: the caller's promise.
    unsafe { AtomicU64::from_ptr(at) }.compare_exchange(old, new, SeqCst, SeqCst).is_ok()
}
