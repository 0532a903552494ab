//! Trie of name patterns: layouts of its edges, nodes and globs.
//!
//! The walk follows a name label by label from the right. A label longer than [`CHUNK`] octets
//! takes several edges, one for each chunk, so that keys stay short and every label is compared
//! exactly.

use super::{RuleMask, layout};

/// Octets of a label that one edge holds.
pub const CHUNK: usize = 24;

/// Longest label in octets (RFC 1035 section 2.3.4).
pub const LABEL_MAX: usize = 63;

/// Node that the walk starts from.
pub const ROOT: u32 = 0;

/// Maximum number of edges and globs that one name is compared with, and one more step to find that
/// there are no others. The policy compiler makes sure that no name takes more.
pub const MATCH_STEPS: u32 = 256;

/// Returns the number of edges of a label of `length` octets.
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

/// Key of `EDGES`: a node, and the chunk of a label that leads on from it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct EdgeKey {
    /// Node that the edge leaves.
    pub parent: u32,
    /// Length of the whole label in octets, so that `ab` never matches a chunk of `abc`.
    pub length: u16,
    /// Number of the chunk in the label, from 0 at its left end.
    pub chunk: u16,
    /// Octets of the chunk, ASCII letters in lower case, padded with zeros; each word is eight
    /// octets read in native byte order.
    pub octets: [u64; 3],
}
layout!(EdgeKey, 32, u32, u16, u16, [u64; 3]);

/// Bits of [`NameNode::marks`].
pub mod name_marks {
    /// A name that ends at or below the node is one of a known server of DNS over HTTPS.
    pub const OVER_HTTPS: u16 = 1;
    /// The name that ends at the node is the one by whose addresses clients find their NAT64 prefix
    /// (RFC 7050).
    pub const NAT64_DISCOVERY: u16 = 2;
}

/// Value of `EDGES`: the node that the edge leads to. Nodes between two chunks of a label carry an
/// id only. The root is in [`super::Settings`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NameNode {
    /// Number of the node.
    pub id: u32,
    /// Index in `GLOBS` of the node's first glob.
    pub first_glob: u32,
    /// Number of the node's globs, at most [`Glob::PER_NODE`].
    pub globs: u16,
    /// Number of the node's globs, from the first on, that may stand for a label other than a
    /// name's leftmost.
    pub inner: u16,
    /// 1 if edges leave the node.
    pub edges: u16,
    /// Bits of [`name_marks`] of the names that end at or below this node.
    pub marks: u16,
    /// Rules of a name that ends at this node.
    pub exact: RuleMask,
    /// Rules of a name that goes on below this node.
    pub below: RuleMask,
    /// Rules of all names that end at this node, or below it.
    pub under: RuleMask,
}
layout!(NameNode, 88, u32, u32, u16, u16, u16, u16, RuleMask, RuleMask, RuleMask);

/// Element of `GLOBS`: a label with one `*` in it, such as `payloadprod*`, or `*` alone.
///
/// A glob matches a label of at least `prefix_length + suffix_length` octets that begins with the
/// prefix and ends with the suffix.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Glob {
    /// Node that the glob leads to.
    pub node: NameNode,
    /// Octets before the `*`.
    pub prefix_length: u32,
    /// Octets after the `*`.
    pub suffix_length: u32,
    /// Octets before the `*`, in lower case, padded with zeros on the right; words as in
    /// [`EdgeKey::octets`].
    pub prefix: [u64; 8],
    /// Octets after the `*`, in lower case, padded with zeros on the left: the last octet is the
    /// last of the last word.
    pub suffix: [u64; 8],
}
layout!(Glob, 224, NameNode, u32, u32, [u64; 8], [u64; 8]);

impl Glob {
    /// Maximum number of globs at one node.
    pub const PER_NODE: usize = 32;
}
