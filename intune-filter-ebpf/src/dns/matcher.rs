//! Which rules a question's name belongs to: the walk over the trie of patterns.

use super::{Scratch, Step, name::MASKS, walk};
use crate::{
    abi::{CHUNK, Glob, ROOT, Settings, lower},
    world::World,
};

/// Labels of a name at most, times the chunks of a label at most, bounded by 255 octets: the
/// worst are names of long labels, 4 of 63 octets, and of many, 127 of one.
const STEPS: u32 = 128;

/// Rules of the name whose labels [`super::read_question`] has found.
#[inline(always)]
pub fn match_name<W: World>(scratch: &Scratch, world: W, settings: &Settings) -> u64 {
    let labels = scratch.label_count.get();
    if labels == 0 {
        // The root itself, which no pattern stands for.
        return 0;
    }
    scratch.match_left.set(labels);
    scratch.match_chunk.set(0);
    scratch.match_node.set(u64::from(ROOT));
    scratch.match_glob.set(0);
    scratch.match_globs.set(u64::from(settings.root_globs));
    scratch.match_rules.set(settings.root_below);
    scratch.leftmost_globs.set(0);
    walk::<Edge, W>(scratch, world, STEPS);
    if scratch.leftmost_globs.get() != 0 {
        walk::<Globs, W>(scratch, world, Glob::PER_NODE as u32);
    }
    scratch.match_rules.get()
}

/// Goes over one edge: one chunk of one label.
struct Edge;

impl<W: World> Step<W> for Edge {
    #[inline(always)]
    fn step(scratch: &Scratch, world: W) -> bool {
        let chunk = scratch.match_chunk.get();
        let mut left = scratch.match_left.get();
        if chunk == 0 {
            if left == 0 {
                return true;
            }
            left -= 1;
            scratch.match_left.set(left);
        }
        let start = scratch.labels.get(left);
        let length = scratch.message.octet(start);
        if chunk == 0 && left == 0 {
            // Compared after this walk: a loop inside a loop takes more stack than there is.
            scratch.leftmost_glob.set(scratch.match_glob.get());
            scratch.leftmost_globs.set(scratch.match_globs.get());
        }
        let done = chunk * CHUNK as u64;
        let at = start + 1 + done;
        let valid = (length - done).min(CHUNK as u64);
        let message = &scratch.message;
        // SAFETY: the scratch memory is this run's alone.
        let key = unsafe {
            let key = scratch.facts.edge.get();
            (*key).parent = scratch.match_node.get() as u32;
            (*key).length = length as u16;
            (*key).chunk = chunk as u16;
            (*key).octets[0] = lower(message.ne64(at)) & MASKS.word(valid, 0);
            (*key).octets[1] = lower(message.ne64(at + 8)) & MASKS.word(valid, 1);
            (*key).octets[2] = lower(message.ne64(at + 16)) & MASKS.word(valid, 2);
            &*key
        };
        let ends = done + CHUNK as u64 >= length;
        let found = world.edge(scratch.set.get() as u32, key, |node| {
            scratch.match_node.set(u64::from(node.id));
            if ends {
                scratch.match_glob.set(u64::from(node.first_glob));
                scratch.match_globs.set(u64::from(node.globs));
                let rules = if left == 0 { node.exact } else { node.below };
                scratch.match_rules.set(scratch.match_rules.get() | rules);
            }
        });
        scratch.match_chunk.set(if ends { 0 } else { chunk + 1 });
        found.is_none()
    }
}

/// Compares the leftmost label with one glob.
struct Globs;

impl<W: World> Step<W> for Globs {
    #[inline(always)]
    fn step(scratch: &Scratch, world: W) -> bool {
        let left = scratch.leftmost_globs.get();
        if left == 0 {
            return true;
        }
        let index = scratch.leftmost_glob.get();
        scratch.leftmost_globs.set(left - 1);
        scratch.leftmost_glob.set(index + 1);
        let rules =
            world.glob(scratch.set.get() as u32, index as u32, |glob| matches(scratch, glob));
        scratch.match_rules.set(scratch.match_rules.get() | rules.unwrap_or(0));
        false
    }
}

/// The glob's rules if the leftmost label matches it.
#[inline(always)]
fn matches(scratch: &Scratch, glob: &Glob) -> u64 {
    let start = scratch.labels.get(0);
    let length = scratch.message.octet(start);
    let (prefix, suffix) = (u64::from(glob.prefix_length), u64::from(glob.suffix_length));
    if length < prefix + suffix {
        return 0;
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
    if difference == 0 { glob.rules } else { 0 }
}
