//! Slots of `KEPT_OCTETS`: their owners, and their octets.

use core::arch::asm;

use super::maps;
use crate::{abi::KEPT_CAPACITY, atomic};

/// Bit that an owner's number has, cleared while the owner writes.
const SETTLED: u64 = 1;

/// Gives a slot to an owner for writing. Returns whether the owner had the slot before; `None` if
/// another owner is writing to the slot or takes it at this moment.
#[inline(always)]
pub fn own(slot: u32, owner: u64) -> Option<bool> {
    let kept = maps::KEPT_OCTETS.get_ptr_mut(slot)?;
    // SAFETY: a word of a map's value, all access to which is atomic.
    unsafe {
        let at = &raw mut (*kept).owner;
        let before = at.read_volatile();
        // A slot that never had an owner is 0.
        if before != 0 && before & SETTLED == 0 {
            return None;
        }
        atomic::exchange(at, before, owner & !SETTLED).then_some(before == owner)
    }
}

/// Ends an owner's writing to a slot.
#[inline(always)]
pub fn settle(slot: u32, owner: u64) {
    if let Some(kept) = maps::KEPT_OCTETS.get_ptr_mut(slot) {
        // SAFETY: a word of a map's value, all access to which is atomic.
        unsafe { atomic::exchange(&raw mut (*kept).owner, owner & !SETTLED, owner) };
    }
}

/// Whether a slot belongs to an owner. Orders reads of the slot before and after.
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
    // SAFETY: the mask keeps the access inside the octets of a map's value. The owner of the slot
    // writes alone.
    unsafe {
        asm!("{at} &= {mask}", "{at} += {octets}", "*(u8 *)({at} + 0) = {octet}",
            at = inout(reg) u64::from(number) => _,
            octets = in(reg) (&raw mut (*kept).octets).cast::<u8>(),
            octet = in(reg) octet, mask = const KEPT_CAPACITY - 1, options(nostack));
    }
}

/// Returns the kept octet with this sequence number; 0 if there is no such slot.
#[inline(always)]
pub fn octet(slot: u32, number: u32) -> u64 {
    let Some(kept) = maps::KEPT_OCTETS.get_ptr_mut(slot) else {
        return 0;
    };
    let mut at = u64::from(number);
    // SAFETY: the mask keeps the access inside the octets of a map's value; a reader asks
    // afterwards for the owner of what it read.
    unsafe {
        asm!("{at} &= {mask}", "{at} += {octets}", "{at} = *(u8 *)({at} + 0)",
            at = inout(reg) at, octets = in(reg) (&raw const (*kept).octets).cast::<u8>(),
            mask = const KEPT_CAPACITY - 1, options(readonly, nostack));
    }
    at
}
