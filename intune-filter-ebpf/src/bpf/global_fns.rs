//! Global functions, which the verifier checks once, whatever the number of callers.
//!
//! To the verifier an exported function is a program of its own ("function by function
//! verification", Linux commit 51c39bb1d5d1): it checks the function with arguments of which it
//! knows only the types, and at a call looks only at the types. Any other function is checked again
//! for each way that leads to it. A pointer that is an argument may be null, and on older kernels
//! cannot be the key of a map: the value behind it is copied, or found anew.

use core::arch::asm;

use super::{
    atomic,
    kernel::{BpfDatapath, EXPLAIN, TC_EGRESS, TC_INGRESS, XDP},
    maps,
};
use crate::{
    abi::{
        LIMIT_KINDS, LIMIT_PROVEN, LIMIT_ROUTED, LIMIT_WAYS, LIMIT_ZONE, Limit, Limits, PROVEN_FOR,
        Standing, Taking,
    },
    datapath::RateDecision,
    dns, verdict,
};

/// Maximum number of attempts to replace a word that other CPUs replace at the same moment.
const ATTEMPTS: u32 = 4;

macro_rules! walk_patterns {
    ($name:ident, $hook:ident) => {
        /// Follows the patterns that the question's name leads to, in this hook's working memory.
        #[inline(never)]
        #[unsafe(no_mangle)]
        pub extern "C" fn $name() -> u64 {
            if let Some(scratch) = BpfDatapath::<$hook>::scratch() {
                dns::walk_patterns(scratch, BpfDatapath::<$hook>::without_context());
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
        /// Keeps or compares the octets of the segment in this hook's working memory.
        #[inline(never)]
        #[unsafe(no_mangle)]
        pub extern "C" fn $name() -> u64 {
            if let Some(scratch) = BpfDatapath::<$hook>::scratch() {
                verdict::$what(scratch, BpfDatapath::<$hook>::without_context());
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

macro_rules! note_query {
    ($name:ident, $hook:ident) => {
        /// Records the question of the query in this hook's working memory.
        #[inline(never)]
        #[unsafe(no_mangle)]
        pub extern "C" fn $name(question: u64) -> u64 {
            if let Some(scratch) = BpfDatapath::<$hook>::scratch() {
                let kernel = BpfDatapath::<$hook>::without_context();
                verdict::note_query(scratch, kernel, question);
            }
            0
        }
    };
}

note_query!(note_query_at_ingress, XDP);
note_query!(note_query_at_tc_ingress, TC_INGRESS);

macro_rules! has_token {
    ($name:ident, $hook:ident) => {
        /// Whether the limit of the client of the packet in this hook's working memory lets it begin
        /// one more.
        #[inline(never)]
        #[unsafe(no_mangle)]
        pub extern "C" fn $name(kind: u64, who: u64) -> u64 {
            let kernel = BpfDatapath::<$hook>::without_context();
            let has = |scratch| verdict::has_token(scratch, kernel, kind, who);
            u64::from(BpfDatapath::<$hook>::scratch().is_some_and(has))
        }
    };
}

has_token!(has_token_at_ingress, XDP);
has_token!(has_token_at_tc_ingress, TC_INGRESS);
has_token!(has_token_at_egress, TC_EGRESS);
has_token!(has_token_to_explain, EXPLAIN);

/// Reads the answer in the working memory, from the offset `start` behind the question on; 0 if it
/// does not parse.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn read_answer(start: u64) -> u64 {
    let read = BpfDatapath::<TC_EGRESS>::scratch().is_some_and(|scratch| {
        dns::read_answer(scratch, BpfDatapath::<TC_EGRESS>::without_context(), start)
    });
    u64::from(read)
}

/// Learns the addresses of the answer in the working memory.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn learn_addresses() -> u64 {
    if let Some(scratch) = BpfDatapath::<TC_EGRESS>::scratch() {
        dns::learn_addresses(scratch, BpfDatapath::<TC_EGRESS>::without_context());
    }
    0
}

/// Notes the answer in the working memory to a question of the pending query there.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn note_answer(question: u64) -> u64 {
    let kernel = BpfDatapath::<TC_EGRESS>::without_context();
    let standing = |scratch| verdict::note_answer(scratch, kernel, question);
    BpfDatapath::<TC_EGRESS>::scratch().map_or(Standing::UNASKED, standing).word()
}

/// Tells of the denied packet to a client in the working memory.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn tell_denial_at_egress(ends: u64) -> u64 {
    if let Some(scratch) = BpfDatapath::<TC_EGRESS>::scratch() {
        let kernel = BpfDatapath::<TC_EGRESS>::without_context();
        verdict::tell_denial(scratch, kernel, ends, false);
    }
    0
}

/// Tells of the answer in the working memory, which taught nothing.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn tell_untaught() -> u64 {
    if let Some(scratch) = BpfDatapath::<TC_EGRESS>::scratch() {
        verdict::tell_untaught(scratch, BpfDatapath::<TC_EGRESS>::without_context());
    }
    0
}

/// Takes a token from a client's bucket.
#[inline(always)]
pub fn take_token(request: &Taking) -> RateDecision {
    RateDecision::from_word(take_client_token(request))
}

#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn take_client_token(request: *const Taking) -> u64 {
    // SAFETY: null, or from a reference.
    let request = unsafe { request.as_ref() };
    request.map_or(RateDecision::EXCEEDED, take_from_bucket).word()
}

#[inline(always)]
fn take_from_bucket(request: &Taking) -> RateDecision {
    let Some(due) = bucket(request, claim) else {
        return RateDecision::NO_BUCKET;
    };
    let at = of_kind(due, request.kind);
    let limit = Limit { interval: request.interval, window: request.window };
    for _ in 0..ATTEMPTS {
        // SAFETY: a word of a map's value, all access to which is atomic.
        unsafe {
            let due = at.read_volatile();
            let next = limit.next_due(due, request.now);
            if next == 0 {
                return RateDecision::EXCEEDED;
            }
            if atomic::exchange(at, due, next) {
                return RateDecision::CONFORMING;
            }
        }
    }
    // Other CPUs were faster each time: the client sends more than it may on all of them.
    RateDecision::EXCEEDED
}

/// Notes in a client's bucket, if one is free, that its sender is proven.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn note_proof(request: *const Taking) -> u64 {
    // SAFETY: null, or from a reference.
    if let Some(request) = unsafe { request.as_ref() }
        && let Some(due) = bucket(request, claim)
    {
        // SAFETY: a word of a map's value, all access to which is atomic.
        unsafe { of_kind(due, request.kind).write_volatile(request.now + PROVEN_FOR) };
    }
    0
}

/// Returns the decision of a client's bucket, without taking a token.
#[inline(always)]
pub fn peek_limit(request: &Taking) -> RateDecision {
    let Some(due) = bucket(request, |_, _, _| true) else {
        return RateDecision::NO_BUCKET;
    };
    // SAFETY: as above.
    let due = unsafe { of_kind(due, request.kind).read_volatile() };
    let limit = Limit { interval: request.interval, window: request.window };
    if limit.next_due(due, request.now) == 0 {
        RateDecision::EXCEEDED
    } else {
        RateDecision::CONFORMING
    }
}

/// Makes a bucket another owner's, unless its owner has changed.
#[inline(always)]
fn claim(owner: *mut u64, old: u64, new: u64) -> bool {
    // SAFETY: a word of a map's value.
    unsafe { atomic::exchange(owner, old, new) }
}

/// Returns what was noted in a client's bucket of its sender, as [`Taking::proof`]. Only reads.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn proof_of(request: *const Taking) -> u64 {
    // SAFETY: null, or from a reference.
    let proof = unsafe { request.as_ref() }.and_then(|request| {
        let (owners, due, owner) = buckets(request)?;
        let way = way_of(owners, owner);
        if way == NO_WAY {
            return None;
        }
        let due = of_way(due, way);
        // SAFETY: words of a map's value, all access to which is atomic.
        let [proven, routed] = [LIMIT_PROVEN, LIMIT_ROUTED]
            .map(|kind| unsafe { of_kind(due, kind as u64).read_volatile() });
        Some(request.proof(proven, routed))
    });
    proof.unwrap_or(0) as u64
}

/// Returns the address of the due times in the client's bucket, or in a free one that `claim` makes the
/// client's; `None` if no bucket is free.
///
/// Without a branch for each bucket: the verifier would follow each, and all that comes behind.
#[inline(always)]
fn bucket(request: &Taking, claim: impl Fn(*mut u64, u64, u64) -> bool) -> Option<*mut u64> {
    if request.key.bits == LIMIT_ZONE {
        let limits = maps::ZONE_LIMITS.get_ptr_mut(request.key.zone)?;
        // SAFETY: within the map's value.
        return Some(unsafe { (&raw mut (*limits).due).cast::<u64>() });
    }
    let (owners, due, owner) = buckets(request)?;
    let mut way = way_of(owners, owner);
    if way == NO_WAY {
        for candidate in 0..LIMIT_WAYS {
            let mut spent = u64::MAX;
            for other in 0..LIMIT_KINDS {
                // SAFETY: within the map's value.
                let due = unsafe { due.add(candidate * LIMIT_KINDS + other).read_volatile() };
                spent &= Limits::spent(due, request.now, request.horizon);
            }
            way = choose(way, !spent, candidate);
        }
        if way == NO_WAY {
            return None;
        }
        // SAFETY: as above.
        unsafe {
            let whose = owners.add(way as usize % LIMIT_WAYS);
            if !claim(whose, whose.read_volatile(), owner) {
                return None;
            }
        }
    }
    Some(of_way(due, way))
}

/// Returns the addresses of the owners and of the due times of the set in which a client's bucket is, and
/// the word of its owner.
#[inline(always)]
fn buckets(request: &Taking) -> Option<(*mut u64, *mut u64, u64)> {
    let owner = request.key.owner(maps::ACTIVE.get(0)?.seed);
    let set = maps::CLIENT_LIMITS.get_ptr_mut((owner & request.sets.wrapping_sub(1)) as u32)?;
    // SAFETY: within the map's value.
    unsafe {
        let owners = (&raw mut (*set).owners).cast::<u64>();
        Some((owners, (&raw mut (*set).limits).cast::<u64>(), owner))
    }
}

/// Returns the number of an owner's bucket in its set, or [`NO_WAY`].
#[inline(always)]
fn way_of(owners: *const u64, owner: u64) -> u64 {
    let mut way = NO_WAY;
    for candidate in 0..LIMIT_WAYS {
        // SAFETY: within the map's value.
        let other = unsafe { owners.add(candidate).read_volatile() } ^ owner;
        // The highest bit is set unless both are equal.
        way = choose(way, other | other.wrapping_neg(), candidate);
    }
    way
}

/// Returns the address of the due times of a bucket, of those of its set.
#[inline(always)]
fn of_way(due: *mut u64, way: u64) -> *mut u64 {
    const { assert!(LIMIT_WAYS.is_power_of_two()) };
    // SAFETY: within the map's value.
    unsafe { due.add(way as usize % LIMIT_WAYS * LIMIT_KINDS) }
}

/// Returns the address of a kind's due time, of those of a bucket.
#[inline(always)]
fn of_kind(due: *mut u64, kind: u64) -> *mut u64 {
    const { assert!(LIMIT_KINDS.is_power_of_two()) };
    // SAFETY: within the map's value.
    unsafe { due.add(kind as usize % LIMIT_KINDS) }
}

/// Value for "no bucket of the set".
const NO_WAY: u64 = u64::MAX;

/// Returns the candidate, unless the highest bit of `refused` is set. Hidden from the optimizer,
/// which would branch.
#[inline(always)]
fn choose(way: u64, refused: u64, candidate: usize) -> u64 {
    let mut mask = refused;
    // SAFETY: plain arithmetic: all ones if the highest bit is set.
    unsafe { asm!("{mask} s>>= 63", mask = inout(reg) mask, options(pure, nomem, nostack)) };
    way & mask | candidate as u64 & !mask
}
