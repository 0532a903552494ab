//! Judged octets that the server has not acknowledged, and their comparison with repetitions.

use super::{super::Run, SEGMENT_MAX};
use crate::{
    abi::{FlowKey, KEPT_SLOTS, V6},
    bpf_loop::{self, LoopBody},
    bytes::mix,
    datapath::Datapath,
    packet::Packet,
    scratch::Scratch,
};

/// Returns the identity of a connection among those whose octets are kept: a keyed hash, never 0.
#[inline(always)]
pub(in crate::verdict) fn owner(seed: u64, key: &FlowKey<V6>, opened: u64) -> u64 {
    let pair = |a: u32, b: u32| u64::from(a) << 32 | u64::from(b);
    let ports = pair(u32::from(key.client_port), u32::from(key.zone));
    let [a, b, c, d] = key.client.0;
    let [e, f, g, h] = key.remote.0;
    let mut hash = mix(seed, opened);
    hash = mix(hash, ports);
    hash = mix(hash, pair(a, b));
    hash = mix(hash, pair(c, d));
    hash = mix(hash, pair(e, f));
    mix(hash, pair(g, h)) | 1
}

/// Returns the slot of a connection.
#[inline(always)]
const fn slot(owner: u64) -> u32 {
    (owner >> 32) as u32 & (KEPT_SLOTS - 1)
}

/// Keeps the segment's octets, which are in the message of the working memory. Returns whether the
/// octets kept before are still there; `None` if another connection takes the slot at this moment.
#[inline(always)]
pub(in crate::verdict) fn keep<W: Datapath, P: Packet>(run: &Run<'_, W, P>) -> Option<bool> {
    let segment = &run.scratch.segment;
    let owner = segment.owner.get();
    let had = run.datapath.own_kept(slot(owner), owner)?;
    segment.done.set(0);
    run.datapath.keep_octets(run.scratch);
    run.datapath.settle_kept(slot(owner), owner);
    Some(had)
}

/// Whether the segment's octets, which are in the message of the working memory, are those that are
/// kept; `None` if another connection has the slot, so that this is no longer known.
#[inline(always)]
pub(in crate::verdict) fn compare<W: Datapath, P: Packet>(run: &Run<'_, W, P>) -> Option<bool> {
    let segment = &run.scratch.segment;
    let owner = segment.owner.get();
    segment.done.set(0);
    if !run.datapath.is_kept_of(slot(owner), owner) {
        return None;
    }
    run.datapath.compare_octets(run.scratch);
    let same = segment.done.get() == segment.length.get();
    // Checked again: a connection that takes the slot says so before it writes there.
    if run.datapath.is_kept_of(slot(owner), owner) { Some(same) } else { None }
}

/// Keeps the octets of the segment in the working memory.
#[inline(always)]
pub fn keep_octets<W: Datapath>(scratch: &Scratch, datapath: W) {
    bpf_loop::run::<Keep, _>((scratch, datapath), SEGMENT_MAX);
}

/// Counts in [`crate::scratch::Segment::done`] the octets of the segment in the working memory,
/// from the first on, that are those kept.
#[inline(always)]
pub fn compare_octets<W: Datapath>(scratch: &Scratch, datapath: W) {
    bpf_loop::run::<Compare, _>((scratch, datapath), SEGMENT_MAX);
}

/// Calls `visit` with the slot, the sequence number and the value of the segment's next octet. True
/// if no octet was left, or if `visit` returns false.
#[inline(always)]
fn next_octet(scratch: &Scratch, visit: impl FnOnce(u32, u32, u64) -> bool) -> bool {
    let segment = &scratch.segment;
    let done = segment.done.get();
    if done >= segment.length.get() {
        return true;
    }
    let number = segment.sequence.get().wrapping_add(done) as u32;
    if !visit(slot(segment.owner.get()), number, scratch.message.octet(done)) {
        return true;
    }
    segment.done.set(done + 1);
    false
}

/// Loop body that keeps one octet.
struct Keep;

impl<W: Datapath> LoopBody<(&Scratch, W)> for Keep {
    #[inline(always)]
    fn step((scratch, datapath): (&Scratch, W)) -> bool {
        next_octet(scratch, |slot, number, octet| {
            datapath.keep_octet(slot, number, octet);
            true
        })
    }
}

/// Loop body that compares one octet.
struct Compare;

impl<W: Datapath> LoopBody<(&Scratch, W)> for Compare {
    #[inline(always)]
    fn step((scratch, datapath): (&Scratch, W)) -> bool {
        next_octet(scratch, |slot, number, octet| datapath.kept_octet(slot, number) == octet)
    }
}
