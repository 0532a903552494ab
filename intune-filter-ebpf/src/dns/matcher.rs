//! Rules of a question's name: the walk over the trie of patterns.
//!
//! From the root on, the walk follows the name's labels over edges, from right to left, as far as
//! they lead. Globs of the nodes on the way are noted, and tried afterwards: where one matches, the
//! walk goes on from its node. Each label has at most one entry in the list of globs, since the
//! walk always comes to labels further left. The policy compiler proves that the steps suffice.

use super::{
    name::MASKS,
    record::{TYPE_A, TYPE_AAAA},
    target,
};
use crate::{
    abi::{CHUNK, EdgeKey, Glob, MATCH_STEPS, NameNode, Settings, V6, lower, name_marks},
    bpf_loop::{self, LoopBody},
    datapath::{Datapath, DatapathOf},
    scratch::Scratch,
};

/// Puts the rules of the name whose labels [`super::read_question`] has found into
/// [`crate::scratch::Matcher::rules`], and those of the names below it, too, into
/// [`crate::scratch::Matcher::under`]. [`is_over_https`] and [`is_nat64_discovery`] say afterwards
/// what else it is.
#[inline(always)]
pub fn match_name<W: Datapath>(scratch: &Scratch, datapath: W, settings: &Settings) {
    let labels = scratch.parser.label_count.get();
    scratch.matcher.marks.set(0);
    scratch.matcher.rules.clear();
    scratch.matcher.target_until.set(u64::MAX);
    if labels == 0 {
        // The root itself, which no pattern stands for.
        scratch.matcher.under.set(&settings.root.under);
        return;
    }
    scratch.matcher.under.clear();
    scratch.matcher.glob_count.set(0);
    scratch.matcher.chunk.set(0);
    arrive(scratch, &settings.root, labels);
    datapath.walk_patterns(scratch);
}

/// Whether the name that was matched last is one of a known server of DNS over HTTPS.
#[inline(always)]
pub fn is_over_https(scratch: &Scratch) -> bool {
    scratch.matcher.marks.get() & u64::from(name_marks::OVER_HTTPS) != 0
}

/// Whether the name that was matched last is the one by whose addresses clients find their NAT64
/// prefix, and the site has one. What answers say of it is no destination.
#[inline(always)]
pub fn is_nat64_discovery(scratch: &Scratch) -> bool {
    scratch.matcher.marks.get() & u64::from(name_marks::NAT64_DISCOVERY) != 0
}

/// Whether the client may ask the question whose name was matched last.
#[inline(always)]
pub fn may_ask(scratch: &Scratch) -> bool {
    if scratch.matcher.rules.intersects(&scratch.ctx.client_rules) {
        return true;
    }
    if !is_nat64_discovery(scratch) {
        return false;
    }
    // From the labels: where the question ends, callers have no room to keep.
    let last = scratch.parser.labels.get(scratch.parser.label_count.get() - 1);
    let kind = scratch.message.be16(last + scratch.message.octet(last) + 2);
    kind == TYPE_A || kind == TYPE_AAAA
}

/// Whether answers to the question whose name was matched last may teach addresses.
#[inline(always)]
pub fn may_teach(scratch: &Scratch) -> bool {
    !scratch.matcher.rules.is_empty() && !is_nat64_discovery(scratch)
}

/// Whether the client has a rule for the name that was matched last, or for a name below it.
#[inline(always)]
pub fn is_at_or_above_listed(scratch: &Scratch) -> bool {
    scratch.matcher.under.intersects(&scratch.ctx.client_rules)
}

/// Follows the edges and globs that lead on from where [`match_name`] has begun, and adds what the name
/// has as a target.
#[inline(always)]
pub fn walk_patterns<W: DatapathOf<V6>>(scratch: &Scratch, datapath: W) {
    bpf_loop::run::<Match, _>((scratch, datapath), MATCH_STEPS);
    target::inherit(scratch, datapath);
}

/// Arrives at a node, with `left` labels of the name to go: notes the node's rules and globs, and
/// whether edges lead on.
#[inline(always)]
fn arrive(scratch: &Scratch, node: &NameNode, left: u64) {
    scratch.matcher.rules.add(if left == 0 { &node.exact } else { &node.below });
    let of_names_below = node.marks & name_marks::OVER_HTTPS;
    let marks = u64::from(if left == 0 { node.marks } else { of_names_below });
    scratch.matcher.marks.set(scratch.matcher.marks.get() | marks);
    scratch.matcher.walking.set(0);
    if left == 0 {
        scratch.matcher.under.add(&node.under);
        return;
    }
    let globs = if left == 1 { node.globs } else { node.inner };
    if globs != 0 {
        let count = scratch.matcher.glob_count.get();
        scratch.matcher.globs.set(count, pack(left - 1, u64::from(globs), node.first_glob.into()));
        scratch.matcher.glob_count.set(count + 1);
    }
    scratch.matcher.left.set(left);
    scratch.matcher.node.set(u64::from(node.id));
    scratch.matcher.walking.set(u64::from(node.edges));
}

/// Packs the globs that a label is to be compared with into a word: the label, the number of globs,
/// and the first.
#[inline(always)]
const fn pack(label: u64, globs: u64, first: u64) -> u64 {
    label << 48 | globs << 32 | first
}

/// Loop body that follows one edge, which is one chunk of one label, or compares one glob.
struct Match;

impl<W: Datapath> LoopBody<(&Scratch, W)> for Match {
    #[inline(always)]
    fn step((scratch, datapath): (&Scratch, W)) -> bool {
        if scratch.matcher.walking.get() != 0 {
            follow_edge(scratch, datapath);
            return false;
        }
        let count = scratch.matcher.glob_count.get();
        if count == 0 {
            return true;
        }
        try_glob(scratch, datapath, count - 1);
        false
    }
}

#[inline(always)]
fn follow_edge<W: Datapath>(scratch: &Scratch, datapath: W) {
    let chunk = scratch.matcher.chunk.get();
    let left = scratch.matcher.left.get() - 1;
    let start = scratch.parser.labels.get(left);
    let length = scratch.message.octet(start);
    let done = chunk * CHUNK as u64;
    let ends = done + CHUNK as u64 >= length;
    let key = edge_key(scratch, start, length, chunk);
    let found = datapath.edge(scratch.parser.set.get() as u32, key, |node| {
        if ends {
            arrive(scratch, node, left);
        } else {
            scratch.matcher.node.set(u64::from(node.id));
        }
    });
    if found.is_none() {
        scratch.matcher.walking.set(0);
    }
    scratch.matcher.chunk.set(if ends || found.is_none() { 0 } else { chunk + 1 });
}

/// Writes the key of the edge for a chunk of a label into the working memory and returns it.
#[inline(always)]
fn edge_key(scratch: &Scratch, start: u64, length: u64, chunk: u64) -> &EdgeKey {
    let done = chunk * CHUNK as u64;
    let at = start + 1 + done;
    let valid = (length - done).min(CHUNK as u64);
    let message = &scratch.message;
    // SAFETY: the scratch memory is this run's alone.
    unsafe {
        let key = scratch.ctx.edge.get();
        (*key).parent = scratch.matcher.node.get() as u32;
        (*key).length = length as u16;
        (*key).chunk = chunk as u16;
        (*key).octets[0] = lower(message.ne64(at)) & MASKS.word(valid, 0);
        (*key).octets[1] = lower(message.ne64(at + 8)) & MASKS.word(valid, 1);
        (*key).octets[2] = lower(message.ne64(at + 16)) & MASKS.word(valid, 2);
        &*key
    }
}

/// Compares a label with the next of the globs noted in a slot, which is the last slot.
#[inline(always)]
fn try_glob<W: Datapath>(scratch: &Scratch, datapath: W, slot: u64) {
    let noted = scratch.matcher.globs.get(slot);
    let (label, globs, first) = (noted >> 48, noted >> 32 & 0xffff, noted & 0xffff_ffff);
    scratch.matcher.globs.set(slot, pack(label, globs - 1, first + 1));
    scratch.matcher.glob_count.set(if globs == 1 { slot } else { slot + 1 });
    datapath.glob(scratch.parser.set.get() as u32, first as u32, |glob| {
        if matches(scratch, glob, scratch.parser.labels.get(label)) {
            arrive(scratch, &glob.node, label);
        }
    });
}

/// Whether the label at `start` matches a glob.
#[inline(always)]
#[expect(clippy::indexing_slicing, reason = "eight words each")]
fn matches(scratch: &Scratch, glob: &Glob, start: u64) -> bool {
    let length = scratch.message.octet(start);
    let (prefix, suffix) = (u64::from(glob.prefix_length), u64::from(glob.suffix_length));
    if length < prefix + suffix {
        return false;
    }
    // The label's end may lie less than 64 octets into the message. Offsets wrap then, and the
    // mask of the suffix leaves out what was loaded from there.
    let tail = (start + 1 + length).wrapping_sub(64);
    let mut difference = 0;
    for word in 0..8_u64 {
        let begins = lower(scratch.message.ne64(start + 1 + word * 8)) & MASKS.word(prefix, word);
        difference |= begins ^ glob.prefix[word as usize];
        let ends = lower(scratch.message.ne64(tail.wrapping_add(word * 8)))
            & !MASKS.word(64 - suffix, word);
        difference |= ends ^ glob.suffix[word as usize];
    }
    difference == 0
}
