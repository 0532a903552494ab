//! Tables of numbers by index.
//!
//! Indices are masked with the number of slots. In the kernel, mask, addition and access are one
//! block of assembly: the compiler would drop a mask that it considers superfluous.

use core::cell::UnsafeCell;

/// Number of slots of a table: the most labels of a name, and twice the most records of an answer
/// that are read, rounded up to a power of two.
const SLOTS: usize = 128;

/// Numbers by index, such as the offsets of labels. Indices wrap.
#[repr(transparent)]
#[derive(Debug)]
pub struct IndexTable(UnsafeCell<[u64; SLOTS]>);

impl IndexTable {
    /// Returns the number at `index`.
    #[inline(always)]
    pub fn get(&self, index: u64) -> u64 {
        access::slot(self.0.get().cast(), index)
    }

    /// Replaces the number at `index`.
    #[inline(always)]
    pub fn set(&self, index: u64, value: u64) {
        access::store_slot(self.0.get().cast(), index, value);
    }
}

#[cfg(target_arch = "bpf")]
mod access {
    use core::arch::asm;

    #[inline(always)]
    pub(super) fn slot(base: *const u8, index: u64) -> u64 {
        let mut at = index;
        // SAFETY: the mask keeps the access inside the 128 words.
        unsafe {
            asm!("{at} &= 127", "{at} <<= 3", "{at} += {base}", "{at} = *(u64 *)({at} + 0)",
                at = inout(reg) at, base = in(reg) base, options(readonly, nostack));
        }
        at
    }

    #[inline(always)]
    pub(super) fn store_slot(base: *mut u8, index: u64, value: u64) {
        // SAFETY: the mask keeps the access inside the 128 words.
        unsafe {
            asm!("{at} &= 127", "{at} <<= 3", "{at} += {base}", "*(u64 *)({at} + 0) = {value}",
                at = inout(reg) index => _, base = in(reg) base, value = in(reg) value,
                options(nostack));
        }
    }
}

#[cfg(not(target_arch = "bpf"))]
mod access {
    pub(super) fn slot(base: *const u8, index: u64) -> u64 {
        // SAFETY: the mask keeps the access inside the 128 words.
        unsafe { base.cast::<u64>().add((index & 127) as usize).read() }
    }

    pub(super) fn store_slot(base: *mut u8, index: u64, value: u64) {
        // SAFETY: the mask keeps the access inside the 128 words.
        unsafe { base.cast::<u64>().add((index & 127) as usize).write(value) }
    }
}
