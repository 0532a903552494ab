//! Messages: octets of a packet that loops go over.
//!
//! Offsets are masked with the capacity. In the kernel, mask, addition and access are one block of
//! assembly: the compiler would drop a mask that it considers superfluous, and split unaligned
//! words.

use core::cell::UnsafeCell;

use crate::abi::ANSWER_CAPACITY;

/// Octets behind a message that a load near its end may touch.
const SLACK: usize = 64;

/// DNS message, or other octets of a packet. Offsets wrap at the capacity, so that no load leaves
/// the message.
#[repr(transparent)]
#[derive(Debug)]
pub struct Message(UnsafeCell<[u8; ANSWER_CAPACITY + SLACK]>);

impl Message {
    /// Returns the octet at `offset`.
    #[inline(always)]
    pub fn octet(&self, offset: u64) -> u64 {
        access::octet(self.0.get().cast(), offset)
    }

    /// Returns the two octets at `offset` as a big-endian number.
    #[inline(always)]
    pub fn be16(&self, offset: u64) -> u64 {
        u64::from(u16::from_be(access::word16(self.0.get().cast(), offset)))
    }

    /// Returns the four octets at `offset` in memory order.
    #[inline(always)]
    pub fn ne32(&self, offset: u64) -> u32 {
        access::word32(self.0.get().cast(), offset)
    }

    /// Returns the eight octets at `offset` in memory order.
    #[inline(always)]
    pub fn ne64(&self, offset: u64) -> u64 {
        access::word64(self.0.get().cast(), offset)
    }

    /// Replaces the two octets at `offset` by a big-endian number.
    #[inline(always)]
    pub fn set_be16(&self, offset: u64, value: u16) {
        access::store16(self.0.get().cast(), offset, value.to_be());
    }

    /// Replaces the octet at `offset`.
    #[inline(always)]
    pub fn set_octet(&self, offset: u64, value: u8) {
        access::store8(self.0.get().cast(), offset, value);
    }

    /// Returns the address of the octets.
    #[inline(always)]
    pub fn as_mut_ptr(&self) -> *mut u8 {
        self.0.get().cast()
    }

    /// Replaces the message by `octets`; false if there are too many.
    #[cfg(not(target_arch = "bpf"))]
    pub fn fill(&self, octets: &[u8]) -> bool {
        if octets.len() > ANSWER_CAPACITY {
            return false;
        }
        // SAFETY: the capacity was checked, and the message is the caller's alone.
        unsafe {
            core::ptr::copy_nonoverlapping(octets.as_ptr(), self.as_mut_ptr(), octets.len());
        }
        true
    }
}

#[cfg(target_arch = "bpf")]
mod access {
    use core::arch::asm;

    macro_rules! load {
        ($name:ident, $size:literal, $type:ty) => {
            #[inline(always)]
            pub(super) fn $name(base: *const u8, offset: u64) -> $type {
                let mut at = offset;
                // SAFETY: the mask keeps the access inside the message and its slack.
                unsafe {
                    asm!("{at} &= 4095", "{at} += {base}",
                        concat!("{at} = *(", $size, " *)({at} + 0)"),
                        at = inout(reg) at, base = in(reg) base, options(readonly, nostack));
                }
                at as $type
            }
        };
    }
    load!(octet, "u8", u64);
    load!(word16, "u16", u16);
    load!(word32, "u32", u32);
    load!(word64, "u64", u64);

    #[inline(always)]
    pub(super) fn store16(base: *mut u8, offset: u64, value: u16) {
        let value = u64::from(value);
        // SAFETY: the mask keeps the access inside the message and its slack.
        unsafe {
            asm!("{at} &= 4095", "{at} += {base}", "*(u16 *)({at} + 0) = {value}",
                at = inout(reg) offset => _, base = in(reg) base, value = in(reg) value,
                options(nostack));
        }
    }

    #[inline(always)]
    pub(super) fn store8(base: *mut u8, offset: u64, value: u8) {
        let value = u64::from(value);
        // SAFETY: the mask keeps the access inside the message and its slack.
        unsafe {
            asm!("{at} &= 4095", "{at} += {base}", "*(u8 *)({at} + 0) = {value}",
                at = inout(reg) offset => _, base = in(reg) base, value = in(reg) value,
                options(nostack));
        }
    }
}

#[cfg(not(target_arch = "bpf"))]
mod access {
    const MASK: u64 = 4095;

    macro_rules! load {
        ($name:ident, $type:ty, $result:ty) => {
            pub(super) fn $name(base: *const u8, offset: u64) -> $result {
                let at = base.wrapping_add((offset & MASK) as usize).cast::<$type>();
                // SAFETY: the mask keeps the access inside the message and its slack.
                let value = unsafe { at.read_unaligned() };
                <$result>::from(value)
            }
        };
    }
    load!(octet, u8, u64);
    load!(word16, u16, u16);
    load!(word32, u32, u32);
    load!(word64, u64, u64);

    pub(super) fn store16(base: *mut u8, offset: u64, value: u16) {
        // SAFETY: the mask keeps the access inside the message and its slack.
        unsafe { base.add((offset & MASK) as usize).cast::<u16>().write_unaligned(value) }
    }

    pub(super) fn store8(base: *mut u8, offset: u64, value: u8) {
        // SAFETY: the mask keeps the access inside the message and its slack.
        unsafe { base.add((offset & MASK) as usize).write(value) }
    }
}
