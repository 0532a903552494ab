//! What the verifier reads once, however many callers it has.
//!
//! To the verifier an exported function is a program of its own ("function by function
//! verification", Linux commit 51c39bb1d5d1): it goes over it with arguments of which it knows no
//! more than their types, and at a call only looks at the types. Any other function it goes over
//! again for each way that leads to it. A pointer that is an argument may be null there, and on
//! older kernels is no key of a map: what it points to is copied, or found anew.

use core::mem;

use intune_filter_ebpf::{
    abi::{Flow, Limit, LimitKey, Limits},
    dns,
    verdict::{self, Direction},
    world::Taken,
};

use super::{
    atomic,
    kernel::{EXPLAIN, Kernel, TC_EGRESS, TC_INGRESS, XDP},
    maps,
};

/// How often a word is tried to be replaced that other CPUs replace at the same time.
const ATTEMPTS: u32 = 4;
/// What [`take_client_limit`] returns for [`Taken::Refused`].
const REFUSED: u64 = 0;
/// The same for [`Taken::Done`].
const DONE: u64 = 1;
/// The same for [`Taken::Unknown`].
const UNKNOWN: u64 = 2;

macro_rules! walk_patterns {
    ($name:ident, $hook:ident) => {
        /// Follows the patterns that the question's name leads to, in this hook's working memory.
        #[inline(never)]
        #[unsafe(no_mangle)]
        pub extern "C" fn $name() -> u64 {
            if let Some(scratch) = Kernel::<$hook>::scratch() {
                dns::walk_patterns(scratch, Kernel::<$hook>::without_context());
            }
            0
        }
    };
}

walk_patterns!(walk_patterns_at_ingress, XDP);
walk_patterns!(walk_patterns_at_tc_ingress, TC_INGRESS);
walk_patterns!(walk_patterns_at_egress, TC_EGRESS);
walk_patterns!(walk_patterns_to_explain, EXPLAIN);

macro_rules! kept_octets {
    ($name:ident, $hook:ident, $what:ident) => {
        /// Goes over the octets of the segment in this hook's working memory.
        #[inline(never)]
        #[unsafe(no_mangle)]
        pub extern "C" fn $name() -> u64 {
            if let Some(scratch) = Kernel::<$hook>::scratch() {
                verdict::$what(scratch, Kernel::<$hook>::without_context());
            }
            0
        }
    };
}

kept_octets!(keep_octets_at_ingress, XDP, keep_octets);
kept_octets!(keep_octets_at_tc_ingress, TC_INGRESS, keep_octets);
kept_octets!(compare_octets_at_ingress, XDP, compare_octets);
kept_octets!(compare_octets_at_tc_ingress, TC_INGRESS, compare_octets);
kept_octets!(compare_octets_to_explain, EXPLAIN, compare_octets);

/// Reads the answer in the working memory that starts behind the question; 0 if it does not parse.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn read_answer(start: u64) -> u64 {
    let read = Kernel::<TC_EGRESS>::scratch().is_some_and(|scratch| {
        dns::read_answer(scratch, Kernel::<TC_EGRESS>::without_context(), start)
    });
    u64::from(read)
}

/// Learns the addresses that the answer in the working memory gives.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn learn_addresses() -> u64 {
    if let Some(scratch) = Kernel::<TC_EGRESS>::scratch() {
        dns::learn_addresses(scratch, Kernel::<TC_EGRESS>::without_context());
    }
    0
}

macro_rules! note_segment {
    ($name:ident, $hook:ident, $direction:ident) => {
        /// Notes in a flow what the segment in this hook's working memory, with these flags, says of
        /// its connection; the flags by which it ends a side.
        #[inline(never)]
        #[unsafe(no_mangle)]
        pub extern "C" fn $name(flow: *mut Flow, flags: u64) -> u64 {
            // SAFETY: null, or from a reference.
            let (Some(flow), Some(scratch)) =
                (unsafe { flow.as_mut() }, Kernel::<$hook>::scratch())
            else {
                return 0;
            };
            let ends = verdict::note_segment(flow, scratch, flags as u8, Direction::$direction);
            u64::from(ends)
        }
    };
}

note_segment!(note_segment_at_ingress, XDP, FromClient);
note_segment!(note_segment_at_tc_ingress, TC_INGRESS, FromClient);
note_segment!(note_segment_at_egress, TC_EGRESS, ToClient);
note_segment!(note_segment_to_explain, EXPLAIN, FromClient);

/// Takes one of a kind from what a client may begin.
#[inline(always)]
pub fn take_limit(key: &LimitKey, kind: usize, limit: Limit, now: u64) -> Taken {
    match take_client_limit(key, kind as u64, limit.interval, limit.window, now) {
        DONE => Taken::Done,
        UNKNOWN => Taken::Unknown,
        _ => Taken::Refused,
    }
}

#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn take_client_limit(
    key: *const LimitKey,
    kind: u64,
    interval: u64,
    window: u64,
    now: u64,
) -> u64 {
    // SAFETY: null, or from a reference.
    let Some(&key) = (unsafe { key.as_ref() }) else {
        return UNKNOWN;
    };
    let Some(at) = due(&key, kind as usize) else {
        return UNKNOWN;
    };
    let limit = Limit { interval, window };
    for _ in 0..ATTEMPTS {
        // SAFETY: a word of a map's value, all access to which is atomic.
        unsafe {
            let due = at.read_volatile();
            let next = limit.next_due(due, now);
            if next == 0 {
                return REFUSED;
            }
            if atomic::exchange(at, due, next) {
                return DONE;
            }
        }
    }
    // Other CPUs were faster each time: the client sends more than it may on all of them.
    REFUSED
}

/// The same, taking nothing.
#[inline(always)]
pub fn look_at_limit(key: &LimitKey, kind: usize, limit: Limit, now: u64) -> Taken {
    let Some(at) = due(key, kind) else {
        return Taken::Unknown;
    };
    // SAFETY: as above.
    let due = unsafe { at.read_volatile() };
    if limit.next_due(due, now) == 0 { Taken::Refused } else { Taken::Done }
}

/// When the next one of a kind is due; `None` if nothing is known of the client.
#[inline(always)]
fn due(key: &LimitKey, kind: usize) -> Option<*mut u64> {
    const KINDS: usize = mem::size_of::<Limits>() / mem::size_of::<u64>();
    const { assert!(KINDS.is_power_of_two()) };
    let limits = maps::CLIENT_LIMITS.get_ptr_mut(key)?;
    // SAFETY: within the map's value.
    Some(unsafe { (&raw mut (*limits).due).cast::<u64>().add(kind % KINDS) })
}
