//! Words of state.

use core::cell::UnsafeCell;

/// Word of state with volatile access.
#[repr(transparent)]
#[derive(Debug)]
pub struct VolatileU64(UnsafeCell<u64>);

impl VolatileU64 {
    /// Returns a word with this value.
    #[must_use]
    pub const fn new(value: u64) -> Self {
        Self(UnsafeCell::new(value))
    }

    /// Returns the value of the word.
    #[inline(always)]
    pub fn get(&self) -> u64 {
        // SAFETY: the cell is this CPU's alone while its scratch is claimed.
        unsafe { self.0.get().read_volatile() }
    }

    /// Replaces the value.
    #[inline(always)]
    pub fn set(&self, value: u64) {
        // SAFETY: as in `get`.
        unsafe { self.0.get().write_volatile(value) }
    }

    /// Adds to the value, modulo 2^64.
    #[inline(always)]
    pub fn add(&self, value: u64) {
        self.set(self.get().wrapping_add(value));
    }
}
