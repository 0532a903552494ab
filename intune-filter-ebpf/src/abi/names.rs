//! Trie of name patterns: layouts of its edges, nodes and globs.
//!
//! A name is walked label by label from the right. A label longer than [`CHUNK`] octets takes
//! several edges, one a chunk, so that keys stay short and every label is compared exactly.

use super::{RuleMask, layout};

/// Octets of a label that one edge holds.
pub const CHUNK: usize = 24;

/// Octets of a label at most (RFC 1035 section 2.3.4).
pub const LABEL_MAX: usize = 63;

/// The node that the walk starts from.
pub const ROOT: u32 = 0;

/// Edges and globs that one name is held against at most, and one more to find out that there are
/// no others: the compiler of policies sees to it that no name takes more.
pub const MATCH_STEPS: u32 = 256;

/// Number of edges of a label of `length` octets.
#[inline(always)]
#[must_use]
pub const fn chunks_of(length: usize) -> usize {
    length.div_ceil(CHUNK)
}

/// Lower-cases the ASCII letters among eight octets at once.
#[inline(always)]
#[must_use]
pub const fn lower(word: u64) -> u64 {
    const ALL: u64 = 0x0101_0101_0101_0101;
    let low = word & (0x7f * ALL);
    let from_a = low.wrapping_add((0x80 - b'A' as u64) * ALL);
    let past_z = low.wrapping_add((0x7f - b'Z' as u64) * ALL);
    let upper = from_a & !past_z & !word & (0x80 * ALL);
    word | (upper >> 2)
}

/// Key of `EDGES`: from which node, over which chunk of which label.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct EdgeKey {
    /// The node that the edge leaves.
    pub parent: u32,
    /// Length of the whole label, so that `ab` never matches a chunk of `abc`.
    pub length: u16,
    /// Number of the chunk in the label, from 0 at its left end.
    pub chunk: u16,
    /// The chunk's octets, ASCII letters in lower case, filled up with zeros; each word is eight
    /// octets read in native order.
    pub octets: [u64; 3],
}
layout!(EdgeKey, 32, u32, u16, u16, [u64; 3]);

/// Value of `EDGES`: the node that the edge leads to. Nodes between two chunks of a label carry
/// an id only. The root stands in [`super::Settings`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NameNode {
    /// The node's number.
    pub id: u32,
    /// Index in `GLOBS` of the first glob that hangs on this node.
    pub first_glob: u32,
    /// Number of its globs, at most [`Glob::PER_NODE`].
    pub globs: u16,
    /// Number of them, from the first, that may stand for a label that is not a name's leftmost.
    pub inner: u16,
    /// 1 if edges leave it.
    pub edges: u16,
    /// 1 if a name that ends at this node or goes on below it is one of a known server of DNS over
    /// HTTPS.
    pub over_https: u16,
    /// Rules of a name that ends at this node.
    pub exact: RuleMask,
    /// Rules of a name that goes on below this node.
    pub below: RuleMask,
}
layout!(NameNode, 64, u32, u32, u16, u16, u16, u16, RuleMask, RuleMask);

/// Element of `GLOBS`: a label with one `*` in it, such as `payloadprod*`, or `*` alone.
///
/// It matches a label of at least `prefix_length + suffix_length` octets that begins and ends so.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Glob {
    /// The node that it leads to.
    pub node: NameNode,
    /// Octets before the `*`.
    pub prefix_length: u32,
    /// Octets after the `*`.
    pub suffix_length: u32,
    /// What stands before the `*`, in lower case, filled up with zeros on the right; words as in
    /// [`EdgeKey::octets`].
    pub prefix: [u64; 8],
    /// What stands after the `*`, in lower case, filled up with zeros on the left: its last octet
    /// is the last octet of the last word.
    pub suffix: [u64; 8],
}
layout!(Glob, 200, NameNode, u32, u32, [u64; 8], [u64; 8]);

impl Glob {
    /// Globs that can hang on one node.
    pub const PER_NODE: usize = 32;
}
