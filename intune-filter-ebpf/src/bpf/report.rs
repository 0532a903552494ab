//! Records for userspace, and the allowances of each CPU for records and for replies.

use core::{arch::asm, ffi::c_void};

use aya_ebpf::{
    bindings::{BPF_RB_AVAIL_DATA, BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP, BPF_RB_RING_SIZE},
    helpers::generated,
};

use super::{kernel::BpfDatapath, maps};
use crate::{
    abi::{
        AnswerEvent, DeniedEvent, FlowEvent, Occurrence, QUESTION_CAPACITY, QueryEvent, QueryHead,
        SegmentEvent, answer_flags,
    },
    datapath::{Counters as _, NANOS_PER_SEC, Reports},
    scratch::{AllowanceKind, Scratch, TOLD},
    verdict::RESERVED,
};

/// Most records or replies of a kind that one CPU makes at once, and nanoseconds until it may make one
/// more: spread evenly, so that under a flood the records are a sample of all of it and not of the
/// beginning of each second.
const fn rate(kind: AllowanceKind) -> (u64, u64) {
    match kind {
        AllowanceKind::Denials | AllowanceKind::Queries => (3 * RESERVED, NANOS_PER_SEC / 1000),
        AllowanceKind::Flows | AllowanceKind::Replies => (1000, NANOS_PER_SEC / 1000),
        AllowanceKind::Untaught => (200, NANOS_PER_SEC / 200),
    }
}
/// Flag to wake the reader: a client waits until userspace has learned from the record, or there is
/// little room left.
pub(super) const WAKES: u64 = BPF_RB_FORCE_WAKEUP as u64;
/// Flag not to wake the reader, which finds the record when it looks the next time: to wake it
/// takes longer than to judge a packet.
pub(super) const SILENT: u64 = BPF_RB_NO_WAKEUP as u64;

impl<const HOOK: u8> BpfDatapath<HOOK> {
    /// Puts a record into a ring buffer: a head in the working memory, and the message behind it; what
    /// finds no room is counted as lost.
    #[inline(always)]
    pub(super) fn output(
        self,
        ring: *mut c_void,
        record: *mut c_void,
        head: u64,
        scratch: &Scratch,
        wakeup: u64,
        lost: Occurrence,
    ) -> bool {
        let mut length = scratch.parser.length.get().wrapping_sub(1);
        // SAFETY: the verifier wants the bound right before its use; a length is 1 to 4096.
        unsafe {
            asm!("{length} &= 4095", "{length} += 1", length = inout(reg) length,
                options(pure, nomem, nostack));
        }
        // SAFETY: the record's head and the message follow each other in the scratch memory.
        let failed = unsafe { generated::bpf_ringbuf_output(ring, record, head + length, wakeup) };
        if failed != 0 {
            self.count_occurrence(lost, 0);
        }
        failed == 0
    }

    /// Makes a record, if there is room in the ring buffer.
    ///
    /// Half of the ring buffer is for DNS answers alone: while no daemon reads, names are worth
    /// more than another denial. A record past a quarter wakes the daemon, which otherwise looks
    /// too late after a burst.
    #[inline(always)]
    pub(super) fn report<T: 'static>(self, event: impl FnOnce() -> T) {
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

    /// Makes a record of the denied query in the working memory, if there is room in its ring buffer.
    #[inline(always)]
    pub(super) fn output_query(self, scratch: &Scratch, at: u64, head: QueryHead) {
        let Some(mut entry) = maps::DNS_EVENTS.reserve_untyped::<QueryEvent>(0) else {
            self.count_occurrence(Occurrence::NameLost, 0);
            return;
        };
        let event = entry.as_mut_ptr();
        // SAFETY: the record was reserved with this size, and words of the question are aligned in it.
        unsafe {
            (&raw mut (*event).head).write(head);
            let question = (&raw mut (*event).question).cast::<u64>();
            // Unrolled: the verifier walks a loop in any case, and a copy by the compiler would be one of
            // octets.
            seq(|word| {
                question.add(word).write_volatile(scratch.message.ne64(at + 8 * word as u64));
            });
        }
        entry.submit(dns_wakeup());
    }
}

impl<const HOOK: u8> Reports for BpfDatapath<HOOK> {
    #[inline(always)]
    fn allowance(self, kind: AllowanceKind, now: u64) -> u64 {
        refill(kind, now)
    }

    #[inline(always)]
    fn is_crowded(self) -> bool {
        is_crowded()
    }

    #[inline(always)]
    fn spend(self, kind: AllowanceKind) {
        spend(kind);
    }

    #[inline(always)]
    fn was_told(self, what: u64, now: u64) -> bool {
        was_told(what, now)
    }

    #[inline(always)]
    fn note_told(self, what: u64, now: u64) {
        note_told(what, now);
    }

    #[inline(always)]
    fn report_denied(self, event: impl FnOnce() -> DeniedEvent) {
        self.report(event);
    }

    #[inline(always)]
    fn report_query(self, scratch: &Scratch, at: u64, head: impl FnOnce() -> QueryHead) {
        self.output_query(scratch, at, head());
    }

    #[inline(always)]
    fn report_flow(self, time: u64, event: impl FnOnce() -> FlowEvent) {
        if Self::READ_ONLY {
            return;
        }
        if take(AllowanceKind::Flows, time) {
            self.report(event);
        } else {
            self.count_occurrence(Occurrence::EventSuppressed, 0);
        }
    }

    #[inline(always)]
    fn report_untaught(self, scratch: &Scratch) {
        let (head, event) = (size_of::<AnswerEvent>() as u64, scratch.answer_event());
        let (ring, lost) = (dns_events(), Occurrence::NameLost);
        self.output(ring, event.cast(), head, scratch, dns_wakeup(), lost);
    }

    #[inline(always)]
    fn report_answer(self, scratch: &Scratch) {
        if Self::READ_ONLY {
            return;
        }
        let head = size_of::<AnswerEvent>() as u64;
        let event = scratch.answer_event();
        // The client may want one of the addresses that are left to userspace, or use one that is to be
        // taken back.
        // SAFETY: the record's head was written in this run.
        let urgent = answer_flags::DEFERRED | answer_flags::CONFLICT;
        let waited_for = unsafe { (*event).flags } & urgent != 0;
        let (ring, lost) = (ring(), Occurrence::EventLost);
        let wakeup = if waited_for { WAKES } else { SILENT };
        self.output(ring, event.cast(), head, scratch, wakeup, lost);
    }

    #[inline(always)]
    fn report_segment(self, scratch: &Scratch) -> bool {
        let head = size_of::<SegmentEvent>() as u64;
        let (ring, event, lost) = (ring(), scratch.segment_event().cast(), Occurrence::EventLost);
        !Self::READ_ONLY && self.output(ring, event, head, scratch, WAKES, lost)
    }
}

/// Calls `copy` with the number of each word of a question.
#[inline(always)]
fn seq(mut copy: impl FnMut(usize)) {
    for word in 0..QUESTION_CAPACITY / 8 {
        copy(word);
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
    wakeup_past(events(BPF_RB_AVAIL_DATA), events(BPF_RB_RING_SIZE))
}

/// Whether the ring buffer of queries and answers that taught nothing is more than half full.
#[inline(always)]
pub(super) fn is_crowded() -> bool {
    dns_ring(BPF_RB_AVAIL_DATA) > dns_ring(BPF_RB_RING_SIZE) / 2
}

/// As [`wakeup`], for the ring buffer of queries and answers that taught nothing.
#[inline(never)]
pub(super) fn dns_wakeup() -> u64 {
    wakeup_past(dns_ring(BPF_RB_AVAIL_DATA), dns_ring(BPF_RB_RING_SIZE))
}

/// Returns octets of that ring buffer: those that wait in it, or its size.
#[inline(always)]
fn dns_ring(what: u32) -> u64 {
    // SAFETY: the ring buffer lives as long as the program.
    unsafe { generated::bpf_ringbuf_query(dns_events(), u64::from(what)) }
}

/// Returns the flag to wake the reader if a little more than a quarter of a ring buffer is full.
#[inline(always)]
fn wakeup_past(waiting: u64, size: u64) -> u64 {
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

/// Returns the ring buffer of what a client may wait for, of denials and of flows.
#[inline(always)]
pub(super) fn ring() -> *mut c_void {
    (&raw const maps::EVENTS).cast_mut().cast()
}

/// Returns the ring buffer of denied queries and of answers that taught nothing.
#[inline(always)]
pub(super) fn dns_events() -> *mut c_void {
    (&raw const maps::DNS_EVENTS).cast_mut().cast()
}

/// Returns octets of the ring buffer: those that wait in it, or its size.
#[inline(always)]
fn events(what: u32) -> u64 {
    // SAFETY: the ring buffer lives as long as the program.
    unsafe { generated::bpf_ringbuf_query(ring(), u64::from(what)) }
}

/// Takes one from an allowance of this CPU; false if nothing is left.
#[inline(always)]
pub(super) fn take(kind: AllowanceKind, now: u64) -> bool {
    let left = refill(kind, now);
    if left != 0 {
        spend(kind);
    }
    left != 0
}

/// Adds to an allowance of this CPU what has come due; returns how much is left.
#[inline(always)]
pub(super) fn refill(kind: AllowanceKind, now: u64) -> u64 {
    let (most, interval) = rate(kind);
    let Some(allowance) = maps::SCRATCH_ALLOWANCE.get_ptr_mut(kind as u32) else {
        return 0;
    };
    // SAFETY: the element is this CPU's; a nested run can at worst report a few more.
    unsafe {
        // A run that was interrupted comes back with an older time.
        let due = now.saturating_sub((*allowance).until) / interval;
        if due > 0 {
            (*allowance).until = now;
            // What is above the clients' part comes back ten times as slowly, and not in a flood: it is
            // whose that sends most.
            let before = (*allowance).left;
            let reserved = if most > 2 * RESERVED { before.max(RESERVED) } else { most };
            let after = before + due;
            let beyond = after.saturating_sub(reserved) / 10;
            (*allowance).left = (after.min(reserved) + beyond).min(most);
        }
        (*allowance).left
    }
}

/// Takes one from an allowance of this CPU of which something is left.
#[inline(always)]
pub(super) fn spend(kind: AllowanceKind) {
    if let Some(allowance) = maps::SCRATCH_ALLOWANCE.get_ptr_mut(kind as u32) {
        // SAFETY: as in `refill`.
        unsafe { (*allowance).left = (*allowance).left.saturating_sub(1) };
    }
}

/// Word of `SCRATCH_TOLD` for a denial with this hash, and that of now: a part of the hash that does not
/// choose the element, and the time in quarters of a second.
#[inline(always)]
fn told(what: u64, now: u64) -> (Option<*mut u64>, u64) {
    let at = maps::SCRATCH_TOLD.get_ptr_mut(what as u32 % TOLD);
    (at, what >> 32 << 32 | now >> 28 & 0xffff_ffff)
}

/// Whether a denial with this hash was told of within the last second.
#[inline(always)]
pub(super) fn was_told(what: u64, now: u64) -> bool {
    let (Some(at), word) = told(what, now) else { return false };
    // SAFETY: a word of a map's value, read at once.
    let before = unsafe { at.read_volatile() };
    // The same hash, and at most three quarters later.
    word.wrapping_sub(before) < 4
}

/// Notes that a denial with this hash is told of now. Another one with the same element is forgotten.
#[inline(always)]
pub(super) fn note_told(what: u64, now: u64) {
    if let (Some(at), word) = told(what, now) {
        // SAFETY: a word of a map's value, written at once.
        unsafe { at.write_volatile(word) };
    }
}
