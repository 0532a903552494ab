//! Atomic instructions on words of maps. Each orders accesses before and after.

use core::arch::asm;

pub use crate::atomic::exchange;

/// Adds to a word; returns its previous value.
///
/// # Safety
///
/// `at` points to an aligned word of a map's value.
#[inline(always)]
pub unsafe fn add(at: *mut u64, more: u64) -> u64 {
    let found: u64;
    // SAFETY: the caller's promise.
    unsafe {
        asm!("{word} = atomic_fetch_add((u64 *)({at} + 0), {word})",
            at = in(reg) at, word = inlateout(reg) more => found, options(nostack));
    }
    found
}

/// Sets bits of a word.
///
/// # Safety
///
/// `at` points to an aligned word of a map's value.
#[inline(always)]
pub unsafe fn set_bits(at: *mut u64, bits: u64) {
    // SAFETY: the caller's promise.
    unsafe {
        asm!("{word} = atomic_fetch_or((u64 *)({at} + 0), {word})",
            at = in(reg) at, word = inlateout(reg) bits => _, options(nostack));
    }
}
