//! Loads and stores in the scratch memory that cannot leave it.
//!
//! Offsets into a message are masked with its capacity, indices with the number of slots. In the
//! kernel mask, addition and access are one block of assembly: the compiler would drop a mask
//! that it thinks superfluous, and take unaligned words apart.

#[cfg(target_arch = "bpf")]
pub(super) use bpf::*;
#[cfg(not(target_arch = "bpf"))]
pub(super) use host::*;

#[cfg(target_arch = "bpf")]
mod bpf {
    use core::arch::asm;

    macro_rules! load {
        ($name:ident, $size:literal, $type:ty) => {
            #[inline(always)]
            pub(in crate::dns) fn $name(base: *const u8, offset: u64) -> $type {
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
    pub(in crate::dns) fn store16(base: *mut u8, offset: u64, value: u16) {
        let value = u64::from(value);
        // SAFETY: the mask keeps the access inside the message and its slack.
        unsafe {
            asm!("{at} &= 4095", "{at} += {base}", "*(u16 *)({at} + 0) = {value}",
                at = inout(reg) offset => _, base = in(reg) base, value = in(reg) value,
                options(nostack));
        }
    }

    #[inline(always)]
    pub(in crate::dns) fn store8(base: *mut u8, offset: u64, value: u8) {
        let value = u64::from(value);
        // SAFETY: the mask keeps the access inside the message and its slack.
        unsafe {
            asm!("{at} &= 4095", "{at} += {base}", "*(u8 *)({at} + 0) = {value}",
                at = inout(reg) offset => _, base = in(reg) base, value = in(reg) value,
                options(nostack));
        }
    }

    #[inline(always)]
    pub(in crate::dns) fn slot(base: *const u8, index: u64) -> u64 {
        let mut at = index;
        // SAFETY: the mask keeps the access inside the 128 words.
        unsafe {
            asm!("{at} &= 127", "{at} <<= 3", "{at} += {base}", "{at} = *(u64 *)({at} + 0)",
                at = inout(reg) at, base = in(reg) base, options(readonly, nostack));
        }
        at
    }

    #[inline(always)]
    pub(in crate::dns) fn store_slot(base: *mut u8, index: u64, value: u64) {
        // SAFETY: the mask keeps the access inside the 128 words.
        unsafe {
            asm!("{at} &= 127", "{at} <<= 3", "{at} += {base}", "*(u64 *)({at} + 0) = {value}",
                at = inout(reg) index => _, base = in(reg) base, value = in(reg) value,
                options(nostack));
        }
    }
}

#[cfg(not(target_arch = "bpf"))]
mod host {
    const MASK: u64 = 4095;

    macro_rules! load {
        ($name:ident, $type:ty, $result:ty) => {
            pub(in crate::dns) fn $name(base: *const u8, offset: u64) -> $result {
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

    pub(in crate::dns) fn store16(base: *mut u8, offset: u64, value: u16) {
        // SAFETY: the mask keeps the access inside the message and its slack.
        unsafe { base.add((offset & MASK) as usize).cast::<u16>().write_unaligned(value) }
    }

    pub(in crate::dns) fn store8(base: *mut u8, offset: u64, value: u8) {
        // SAFETY: the mask keeps the access inside the message and its slack.
        unsafe { base.add((offset & MASK) as usize).write(value) }
    }

    pub(in crate::dns) fn slot(base: *const u8, index: u64) -> u64 {
        // SAFETY: the mask keeps the access inside the 128 words.
        unsafe { base.cast::<u64>().add((index & 127) as usize).read() }
    }

    pub(in crate::dns) fn store_slot(base: *mut u8, index: u64, value: u64) {
        // SAFETY: the mask keeps the access inside the 128 words.
        unsafe { base.cast::<u64>().add((index & 127) as usize).write(value) }
    }
}
