//! Records for userspace, and the allowances for them, as the logic sees them.

use crate::{
    abi::{DeniedEvent, FlowEvent, QueryHead},
    scratch::{AllowanceKind, Scratch},
};

/// Records for userspace.
pub trait Reports: Copy {
    /// Returns how much is left of this CPU's allowance for records of a kind.
    fn allowance(self, kind: AllowanceKind, now: u64) -> u64;
    /// Whether the ring buffer of denied queries is more than half full.
    fn is_crowded(self) -> bool;
    /// Takes one from an allowance of which something is left.
    fn spend(self, kind: AllowanceKind);
    /// Whether a denial with this keyed hash was told of within the last second.
    fn was_told(self, what: u64, now: u64) -> bool;
    /// Notes that a denial with this keyed hash is told of now.
    fn note_told(self, what: u64, now: u64);
    /// Reports a denied packet, for which the allowance was spent.
    fn report_denied(self, event: impl FnOnce() -> DeniedEvent);
    /// Reports the denied query in the working memory, whose question is at an offset in the message; the
    /// allowance was spent. The record's head is complete but for the question.
    fn report_query(self, scratch: &Scratch, at: u64, head: impl FnOnce() -> QueryHead);
    /// Reports the beginning or end of a flow, unless the rate of reports is exceeded.
    fn report_flow(self, time: u64, event: impl FnOnce() -> FlowEvent);
    /// Reports the answer in the working memory.
    fn report_answer(self, scratch: &Scratch);
    /// Reports the answer in the working memory as one that taught nothing; the allowance was spent.
    fn report_untaught(self, scratch: &Scratch);
    /// Reports the part of a segment that is in the working memory; false if there was no room.
    fn report_segment(self, scratch: &Scratch) -> bool;
}
