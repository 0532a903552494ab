//! The slots of `KEPT_OCTETS`: whose one is, and its octets.

use core::arch::asm;

use super::maps;
use crate::{abi::KEPT_CAPACITY, atomic};

/// The bit that an owner's number has, and that is taken off while the owner writes.
const SETTLED: u64 = 1;

/// Gives a slot to an owner for writing: whether it was the owner's before, `None` if another has
/// or takes it at this moment.
#[inline(always)]
pub fn own(slot: u32, owner: u64) -> Option<bool> {
    let kept = maps::KEPT_OCTETS.get_ptr_mut(slot)?;
    // SAFETY: a word of a map's value, all access to which is atomic.
    unsafe {
        let at = &raw mut (*kept).owner;
        let before = at.read_volatile();
        // A slot that nobody has had is 0.
        if before != 0 && before & SETTLED == 0 {
            return None;
        }
        atomic::exchange(at, before, owner & !SETTLED).then_some(before == owner)
    }
}

/// Ends an owner's writing.
#[inline(always)]
pub fn settle(slot: u32, owner: u64) {
    if let Some(kept) = maps::KEPT_OCTETS.get_ptr_mut(slot) {
        // SAFETY: a word of a map's value, all access to which is atomic.
        unsafe { atomic::exchange(&raw mut (*kept).owner, owner & !SETTLED, owner) };
    }
}

/// Whether a slot is an owner's. Orders reads of the slot before and after.
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
