//! Records for userspace, and how many of them and of answers to denied packets a CPU makes.

use core::{arch::asm, ffi::c_void};

use aya_ebpf::{
    bindings::{BPF_RB_AVAIL_DATA, BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP, BPF_RB_RING_SIZE},
    helpers::generated,
};

use super::{kernel::Kernel, maps};
use crate::{
    abi::Occurrence,
    datapath::{Counters as _, NANOS_PER_SEC},
    scratch::Scratch,
};

/// Records of denials, of flows, and answers to denied packets: as many of each has one CPU at
/// once, and then one more for each [`REFILL`].
const ALLOWANCE: u64 = 1000;
/// A thousand a second, spread evenly: under a flood, what is reported is a sample of all of it
/// and not of the beginning of each second.
const REFILL: u64 = NANOS_PER_SEC / 1000;
/// A record that is read at once: a client waits until userspace has learned from it, or there is
/// little room left.
pub(super) const WAKES: u64 = BPF_RB_FORCE_WAKEUP as u64;
/// One that is found when userspace looks the next time: to wake it takes longer than to judge a
/// packet.
pub(super) const SILENT: u64 = BPF_RB_NO_WAKEUP as u64;

impl<const HOOK: u8> Kernel<HOOK> {
    /// Puts a record into the ring: a head in the scratch memory, and the message behind it.
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

    /// Makes a record, if the allowance and the room in the ring buffer permit. Half of the ring is
    /// for DNS answers alone: while no daemon reads, names are worth more than another denial. What
    /// goes past a quarter wakes the daemon, which else looks too late after a burst.
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

/// Whether there is room for a record without a waiting reader.
#[inline(always)]
fn has_room() -> bool {
    events(BPF_RB_AVAIL_DATA) <= events(BPF_RB_RING_SIZE) / 2
}

/// How a record that nobody waits for is submitted. It asks for itself what waits in the ring: what
/// [`has_room`] has found, kept until then, cost the verifier of Linux 6.1 a seventh more.
#[inline(never)]
fn wakeup() -> u64 {
    let (waiting, size) = (events(BPF_RB_AVAIL_DATA), events(BPF_RB_RING_SIZE));
    // Wider than one record: other CPUs make some at the same time.
    let (quarter, width) = (size / 4, size / 256);
    let mut below = waiting.wrapping_sub(quarter);
    let mut within = waiting.wrapping_sub(quarter + width);
    // SAFETY: plain arithmetic, kept from the optimizer, which would branch: before Linux 6.4 the
    // verifier follows each number that a branch leads to on its own. Differences of numbers far
    // below 2^63 have its bit set if they are negative.
    unsafe {
        asm!("{below} >>= 63", "{within} >>= 63",
            below = inout(reg) below, within = inout(reg) within,
            options(pure, nomem, nostack));
    }
    SILENT + (WAKES - SILENT) * (within & !below)
}

/// Octets of the ring buffer: what waits in it, or all.
#[inline(always)]
fn events(what: u32) -> u64 {
    let ring = (&raw const maps::EVENTS).cast_mut().cast();
    // SAFETY: the ring buffer lives as long as the program.
    unsafe { generated::bpf_ringbuf_query(ring, u64::from(what)) }
}

/// Takes one from an allowance of this CPU's; false if nothing is left of it.
#[inline(always)]
pub(super) fn take(allowance: u32, now: u64) -> bool {
    let Some(allowance) = maps::SCRATCH_ALLOWANCE.get_ptr_mut(allowance) else {
        return false;
    };
    // SAFETY: the element is this CPU's; a nested run can at worst report a few more.
    unsafe {
        // A run that is interrupted comes back with an older time.
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
