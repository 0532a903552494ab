//! Atomic instructions on words of maps. All of them order what comes before and after.

use core::arch::asm;

/// Puts `new` in the place of `old`; whether that was there.
///
/// # Safety
///
/// `at` points to an aligned word of a map's value.
#[inline(always)]
pub unsafe fn exchange(at: *mut u64, old: u64, new: u64) -> bool {
    let found: u64;
    // SAFETY: the caller's promise.
    unsafe {
        asm!("r0 = cmpxchg_64({at} + 0, r0, {new})",
            at = in(reg) at, new = in(reg) new, inlateout("r0") old => found, options(nostack));
    }
    found == old
}

/// Adds to a word; returns what was there before.
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
