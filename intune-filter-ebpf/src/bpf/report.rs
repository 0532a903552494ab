//! Records for userspace, and the allowances of each CPU for records and for replies.

use core::{arch::asm, ffi::c_void};

use aya_ebpf::{
    bindings::{BPF_RB_AVAIL_DATA, BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP, BPF_RB_RING_SIZE},
    helpers::generated,
};

use super::{kernel::BpfDatapath, maps};
use crate::{
    abi::Occurrence,
    datapath::{Counters as _, NANOS_PER_SEC},
    scratch::Scratch,
};

/// Most records of denials, records of flows, or replies to denied packets that one CPU makes at
/// once; each kind then gets one more every [`REFILL`].
const ALLOWANCE: u64 = 1000;
/// Nanoseconds per record or reply: a thousand a second, spread evenly. Under a flood, the reports
/// are then a sample of all of it and not of the beginning of each second.
const REFILL: u64 = NANOS_PER_SEC / 1000;
/// Flag to wake the reader: a client waits until userspace has learned from the record, or there is
/// little room left.
pub(super) const WAKES: u64 = BPF_RB_FORCE_WAKEUP as u64;
/// Flag not to wake the reader, which finds the record when it looks the next time: to wake it
/// takes longer than to judge a packet.
pub(super) const SILENT: u64 = BPF_RB_NO_WAKEUP as u64;

impl<const HOOK: u8> BpfDatapath<HOOK> {
    /// Puts a record into the ring buffer: a head in the working memory, and the message behind it.
    #[inline(always)]
    pub(super) fn output(
        self,
        record: *mut c_void,
        head: u64,
        scratch: &Scratch,
        wakeup: u64,
    ) -> bool {
        let mut length = scratch.parser.length.get().wrapping_sub(1);
        // SAFETY: the verifier wants the bound right before its use; a length is 1 to 4096.
        unsafe {
            asm!("{length} &= 4095", "{length} += 1", length = inout(reg) length,
                options(pure, nomem, nostack));
        }
        // SAFETY: the record's head and the message follow each other in the scratch memory.
        let failed = unsafe {
            let ring = (&raw const maps::EVENTS).cast_mut().cast();
            generated::bpf_ringbuf_output(ring, record, head + length, wakeup)
        };
        if failed != 0 {
            self.count_occurrence(Occurrence::EventLost, 0);
        }
        failed == 0
    }

    /// Makes a record, if the allowance and the room in the ring buffer permit.
    ///
    /// Half of the ring buffer is for DNS answers alone: while no daemon reads, names are worth
    /// more than another denial. A record past a quarter wakes the daemon, which otherwise looks
    /// too late after a burst.
    #[inline(always)]
    pub(super) fn report<T: 'static>(self, allowance: u32, time: u64, event: impl FnOnce() -> T) {
        if Self::READ_ONLY {
            return;
        }
        if !take(allowance, time) {
            self.count_occurrence(Occurrence::EventSuppressed, 0);
            return;
        }
        if !has_room() {
            self.count_occurrence(Occurrence::EventLost, 0);
            return;
        }
        let Some(mut entry) = maps::EVENTS.reserve_untyped::<T>(0) else {
            self.count_occurrence(Occurrence::EventLost, 0);
            return;
        };
        entry.write(event());
        entry.submit(wakeup());
    }
}

/// Whether the ring buffer has room for a record that no client waits for.
#[inline(always)]
fn has_room() -> bool {
    events(BPF_RB_AVAIL_DATA) <= events(BPF_RB_RING_SIZE) / 2
}

/// Returns the flag to submit a record with that no client waits for.
///
/// The function asks again for what waits in the ring buffer: to keep the numbers of [`has_room`]
/// until here costs the verifier of Linux 6.1 a seventh more instructions.
#[inline(never)]
fn wakeup() -> u64 {
    let (waiting, size) = (events(BPF_RB_AVAIL_DATA), events(BPF_RB_RING_SIZE));
    // Wider than one record: other CPUs make some at the same time.
    let (quarter, width) = (size / 4, size / 256);
    let mut below = waiting.wrapping_sub(quarter);
    let mut within = waiting.wrapping_sub(quarter + width);
    // SAFETY: plain arithmetic, hidden from the optimizer, which would branch: before Linux 6.4 the
    // verifier follows each number behind a branch separately. A difference of numbers far below
    // 2^63 has the bit 63 set if it is negative.
    unsafe {
        asm!("{below} >>= 63", "{within} >>= 63",
            below = inout(reg) below, within = inout(reg) within,
            options(pure, nomem, nostack));
    }
    SILENT + (WAKES - SILENT) * (within & !below)
}

/// Returns octets of the ring buffer: those that wait in it, or its size.
#[inline(always)]
fn events(what: u32) -> u64 {
    let ring = (&raw const maps::EVENTS).cast_mut().cast();
    // SAFETY: the ring buffer lives as long as the program.
    unsafe { generated::bpf_ringbuf_query(ring, u64::from(what)) }
}

/// Takes one from an allowance of this CPU; false if nothing is left.
#[inline(always)]
pub(super) fn take(allowance: u32, now: u64) -> bool {
    let Some(allowance) = maps::SCRATCH_ALLOWANCE.get_ptr_mut(allowance) else {
        return false;
    };
    // SAFETY: the element is this CPU's; a nested run can at worst report a few more.
    unsafe {
        // A run that was interrupted comes back with an older time.
        let due = now.saturating_sub((*allowance).until) / REFILL;
        if due > 0 {
            (*allowance).until = now;
            (*allowance).left = ((*allowance).left + due).min(ALLOWANCE);
        }
        if (*allowance).left == 0 {
            return false;
        }
        (*allowance).left -= 1;
    }
    true
}
