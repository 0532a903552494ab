//! State of the name matcher.

use crate::memory::{IndexTable, RuleCell, VolatileU64};

/// State of the loop over the patterns that a name leads to.
#[repr(C)]
#[derive(Debug)]
pub struct Matcher {
    /// 1 while it follows edges.
    pub walking: VolatileU64,
    /// labels that the edges have not led over yet.
    pub left: VolatileU64,
    /// chunk of the label.
    pub chunk: VolatileU64,
    /// node.
    pub node: VolatileU64,
    /// globs that labels are still to be compared with, as
    /// [`crate::dns`] packs them. The labels stand ever further left.
    pub globs: IndexTable,
    /// How many there are.
    pub glob_count: VolatileU64,
    /// Result: the rules of the name.
    pub rules: RuleCell,
    /// Other result: 1 if the name is one of a known server of DNS over HTTPS.
    pub over_https: VolatileU64,
}
