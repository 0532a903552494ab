//! Compare-and-exchange of a word that other CPUs may write. Orders accesses before and after.

/// Puts `new` in the place of `old`; whether that was there.
///
/// # Safety
///
/// `at` points to an aligned word that lives as long as the call, all concurrent access to which is
/// atomic; in the kernel, to one of a map's value or of the stack.
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

/// Puts `new` in the place of `old`; whether that was there.
///
/// # Safety
///
/// `at` points to an aligned word that lives as long as the call, all concurrent access to which is
/// atomic.
#[cfg(not(target_arch = "bpf"))]
pub unsafe fn exchange(at: *mut u64, old: u64, new: u64) -> bool {
    use core::sync::atomic::{AtomicU64, Ordering::SeqCst};
    // SAFETY: the caller's promise.
    unsafe { AtomicU64::from_ptr(at) }.compare_exchange(old, new, SeqCst, SeqCst).is_ok()
}
