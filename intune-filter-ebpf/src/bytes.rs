//! Reads words from octets: one instruction each in the kernel, where the compiler would take an
//! unaligned load apart into octets.

/// Returns the two octets at `I` as a big-endian number.
#[inline(always)]
#[must_use]
pub fn be16<const I: usize, const N: usize>(octets: &[u8; N]) -> u16 {
    u16::from_be(ne16::<I, N>(octets))
}

/// Returns the four octets at `I` as a big-endian number.
#[inline(always)]
#[must_use]
pub fn be32<const I: usize, const N: usize>(octets: &[u8; N]) -> u32 {
    u32::from_be(ne32::<I, N>(octets))
}

/// Returns the two octets at `I` in memory order, as a native word.
#[inline(always)]
#[must_use]
pub fn ne16<const I: usize, const N: usize>(octets: &[u8; N]) -> u16 {
    const { assert!(I + 2 <= N) };
    // SAFETY: the assertion keeps the two octets inside the array.
    unsafe { load16::<I>(octets.as_ptr()) }
}

/// Returns the four octets at `I` in memory order, as a native word.
#[inline(always)]
#[must_use]
pub fn ne32<const I: usize, const N: usize>(octets: &[u8; N]) -> u32 {
    const { assert!(I + 4 <= N) };
    // SAFETY: the assertion keeps the four octets inside the array.
    unsafe { load32::<I>(octets.as_ptr()) }
}

/// Returns the sixteen octets at `I` in memory order, as four native words.
#[inline(always)]
#[must_use]
pub fn ne128<const I: usize, const N: usize>(octets: &[u8; N]) -> [u32; 4] {
    const { assert!(I + 16 <= N) };
    // SAFETY: the assertion keeps the sixteen octets inside the array.
    unsafe {
        let start = octets.as_ptr().add(I);
        [load32::<0>(start), load32::<4>(start), load32::<8>(start), load32::<12>(start)]
    }
}

#[cfg(target_arch = "bpf")]
mod word {
    use core::arch::asm;

    #[inline(always)]
    pub(super) unsafe fn load16<const I: usize>(start: *const u8) -> u16 {
        let value: u64;
        // SAFETY: the caller vouches for two readable octets; the target allows any alignment.
        unsafe {
            asm!("{value} = *(u16 *)({start} + {I})", value = out(reg) value,
                start = in(reg) start, I = const I, options(pure, readonly, nostack));
        }
        value as u16
    }

    #[inline(always)]
    pub(super) unsafe fn load32<const I: usize>(start: *const u8) -> u32 {
        let value: u64;
        // SAFETY: the caller vouches for four readable octets; the target allows any alignment.
        unsafe {
            asm!("{value} = *(u32 *)({start} + {I})", value = out(reg) value,
                start = in(reg) start, I = const I, options(pure, readonly, nostack));
        }
        value as u32
    }
}

#[cfg(not(target_arch = "bpf"))]
mod word {
    pub(super) unsafe fn load16<const I: usize>(start: *const u8) -> u16 {
        // SAFETY: the caller vouches for two readable octets.
        unsafe { start.add(I).cast::<u16>().read_unaligned() }
    }

    pub(super) unsafe fn load32<const I: usize>(start: *const u8) -> u32 {
        // SAFETY: the caller vouches for four readable octets.
        unsafe { start.add(I).cast::<u32>().read_unaligned() }
    }
}

use word::{load16, load32};

/// Mixes a word into a hash. Not a cryptographic hash: callers start from a secret value.
#[inline(always)]
pub(crate) const fn mix(hash: u64, word: u64) -> u64 {
    let x = (hash ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    x ^ (x >> 29)
}
