//! State of the name matcher.

use crate::memory::{IndexTable, RuleCell, VolatileU64};

/// State of the loop over the patterns that a name leads to.
#[repr(C)]
#[derive(Debug)]
pub struct Matcher {
    /// 1 while the walk follows edges.
    pub walking: VolatileU64,
    /// Labels that the walk has not passed yet.
    pub left: VolatileU64,
    /// Chunk of the label that comes next.
    pub chunk: VolatileU64,
    /// Node that the walk has reached.
    pub node: VolatileU64,
    /// Globs that labels are still to be compared with, as [`crate::dns`] packs them. From entry to
    /// entry, the labels are further left. Afterwards, state of the hash of a target.
    pub globs: IndexTable,
    /// Number of entries in `globs`.
    pub glob_count: VolatileU64,
    /// Result: the rules of the name.
    pub rules: RuleCell,
    /// Other result: the rules of the name, and of all names below it.
    pub under: RuleCell,
    /// Other result: when the name is no target any more, if that alone gives it rules; CLOCK_BOOTTIME,
    /// nanoseconds.
    pub target_until: VolatileU64,
    /// Other result: what else the name is, bits of [`crate::abi::name_marks`].
    pub marks: VolatileU64,
}
