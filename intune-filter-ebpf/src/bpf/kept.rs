//! The slots of `KEPT_OCTETS`: whose one is, and its octets.

use core::arch::asm;

use intune_filter_ebpf::{abi::KEPT_CAPACITY, atomic};

use super::maps;

/// Gives a slot to an owner: whether it was the owner's before, `None` if another takes it at this
/// moment.
#[inline(always)]
pub fn own(slot: u32, owner: u64) -> Option<bool> {
    let kept = maps::KEPT_OCTETS.get_ptr_mut(slot)?;
    // SAFETY: a word of a map's value, all access to which is atomic.
    unsafe {
        let at = &raw mut (*kept).owner;
        let before = at.read_volatile();
        atomic::exchange(at, before, owner).then_some(before == owner)
    }
}

/// Whether a slot is an owner's. Orders what is read of the slot before and after.
#[inline(always)]
pub fn is_of(slot: u32, owner: u64) -> bool {
    let Some(kept) = maps::KEPT_OCTETS.get_ptr_mut(slot) else {
        return false;
    };
    // SAFETY: a word of a map's value, all access to which is atomic. It is replaced by itself.
    unsafe { atomic::exchange(&raw mut (*kept).owner, owner, owner) }
}

/// Keeps the octet with this sequence number.
#[inline(always)]
pub fn keep(slot: u32, number: u32, octet: u64) {
    let Some(kept) = maps::KEPT_OCTETS.get_ptr_mut(slot) else {
        return;
    };
    // SAFETY: the mask keeps the access inside the octets of a map's value. Whoever has the slot
    // writes alone.
    unsafe {
        asm!("{at} &= {mask}", "{at} += {octets}", "*(u8 *)({at} + 0) = {octet}",
            at = inout(reg) u64::from(number) => _,
            octets = in(reg) (&raw mut (*kept).octets).cast::<u8>(),
            octet = in(reg) octet, mask = const KEPT_CAPACITY - 1, options(nostack));
    }
}

/// The kept octet with this sequence number; 0 if there is no such slot.
#[inline(always)]
pub fn octet(slot: u32, number: u32) -> u64 {
    let Some(kept) = maps::KEPT_OCTETS.get_ptr_mut(slot) else {
        return 0;
    };
    let mut at = u64::from(number);
    // SAFETY: the mask keeps the access inside the octets of a map's value; who reads them asks
    // afterwards whose they were.
    unsafe {
        asm!("{at} &= {mask}", "{at} += {octets}", "{at} = *(u8 *)({at} + 0)",
            at = inout(reg) at, octets = in(reg) (&raw const (*kept).octets).cast::<u8>(),
            mask = const KEPT_CAPACITY - 1, options(readonly, nostack));
    }
    at
}
