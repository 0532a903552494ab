//! Names in a message: masks for their labels, and a hash that follows compression pointers.

use crate::{
    abi::lower,
    bpf_loop::{self, LoopBody},
    bytes::mix,
    datapath::Datapath,
    scratch::{Recent, Scratch},
};

/// Table of masks that keep the first `n` of 64 octets, in eight words: a table, since branches
/// would cost the verifier a state each. 128 rows, so that a mask of the index keeps loads inside.
pub(super) struct Masks([[u64; 8]; 128]);

/// Table of masks.
pub(super) static MASKS: Masks = Masks(masks());

#[expect(clippy::indexing_slicing, reason = "inside both lengths, or it does not compile")]
const fn masks() -> [[u64; 8]; 128] {
    let mut table = [[u64::MAX; 8]; 128];
    let mut length = 0;
    while length < 64 {
        let mut word = 0;
        while word < 8 {
            let before = word * 8;
            table[length][word] = if length >= before + 8 {
                u64::MAX
            } else if length <= before {
                0
            } else {
                u64::MAX >> (64 - 8 * (length - before))
            };
            word += 1;
        }
        length += 1;
    }
    table
}

impl Masks {
    /// Returns the mask of word `index` of a field of which the first `length` octets count.
    #[cfg(target_arch = "bpf")]
    #[inline(always)]
    pub(super) fn word(&self, length: u64, index: u64) -> u64 {
        let mut at = (length << 6) + (index << 3);
        let base = self.0.as_ptr();
        // SAFETY: the mask keeps the load inside the table's 8192 octets.
        unsafe {
            core::arch::asm!("{at} &= 8184", "{at} += {base}", "{at} = *(u64 *)({at} + 0)",
                at = inout(reg) at, base = in(reg) base, options(pure, readonly, nostack));
        }
        at
    }

    /// Returns the mask of word `index` of a field of which the first `length` octets count.
    #[cfg(not(target_arch = "bpf"))]
    #[expect(clippy::indexing_slicing, reason = "masked to both lengths")]
    pub(super) fn word(&self, length: u64, index: u64) -> u64 {
        self.0[(length & 127) as usize][(index & 7) as usize]
    }
}

/// Octets of a name's labels at most, without its root (RFC 1035 section 2.3.4).
const LABELS_MAX: u64 = 254;

/// Reads the name at `offset`; false if there is none. Stores the keyed hash of the name, with
/// ASCII letters in lower case (RFC 4343), and the offset at which the name ends in its own place.
///
/// A compression pointer has to lead to a prior occurrence (RFC 1035 section 4.1.4): to before the
/// labels that it continues, and the labels found there may not reach into those. A name can
/// therefore not loop. `recent` remembers the name, for pointers to it: the first name of a message
/// needs [`begin`] before, and a name that stands before those already read needs [`forget`].
#[inline(always)]
pub(super) fn read_name<W: Datapath>(
    scratch: &Scratch,
    datapath: W,
    offset: u64,
    recent: &Recent,
) -> bool {
    let word = scratch.message.be16(offset);
    let target = word & 0x3fff;
    if word < 0xc000 {
        recent.offset.set(offset);
    } else if target == scratch.parser.recent_owner.offset.get() {
        return found(scratch, offset, &scratch.parser.recent_owner);
    } else if target == scratch.parser.recent_target.offset.get() {
        return found(scratch, offset, &scratch.parser.recent_target);
    } else {
        recent.offset.set(target);
    }
    scratch.parser.position.set(offset);
    scratch.parser.name_bound.set(scratch.parser.length.get());
    scratch.parser.pointer_limit.set(offset);
    scratch.parser.name_length.set(0);
    scratch.parser.name_end.set(0);
    scratch.parser.complete.set(0);
    scratch.parser.hash.set(scratch.parser.seed.get());
    let left = scratch.parser.steps_left.get();
    let done = bpf_loop::run::<Labels, _>((scratch, datapath), left as u32);
    scratch.parser.steps_left.set(left - done);
    recent.hash.set(scratch.parser.hash.get());
    scratch.parser.complete.get() != 0
}

/// Prepares for a message, which may take `steps` steps.
#[inline(always)]
pub(super) fn begin(scratch: &Scratch, steps: u64) {
    scratch.parser.steps_left.set(steps);
    forget(scratch);
}

/// Forgets the names that were read last.
#[inline(always)]
pub(super) fn forget(scratch: &Scratch) {
    scratch.parser.recent_owner.offset.set(NOWHERE);
    scratch.parser.recent_target.offset.set(NOWHERE);
}

/// Offset that no pointer can have.
const NOWHERE: u64 = u64::MAX;

/// Takes the hash of a name that was read just before, for a pointer to it; always true. Records
/// are read in order, so that the name is before the pointer.
#[inline(always)]
fn found(scratch: &Scratch, offset: u64, recent: &Recent) -> bool {
    scratch.parser.hash.set(recent.hash.get());
    scratch.parser.name_end.set(offset + 2);
    true
}

struct Labels;

impl<W: Datapath> LoopBody<(&Scratch, W)> for Labels {
    #[inline(always)]
    fn step((scratch, _): (&Scratch, W)) -> bool {
        let offset = scratch.parser.position.get();
        let length = scratch.message.octet(offset);
        if offset >= scratch.parser.name_bound.get() {
            return true;
        }
        if length == 0 {
            end_in_place(scratch, offset + 1);
            scratch.parser.complete.set(1);
            return true;
        }
        if length >= 0xc0 {
            let target = scratch.message.be16(offset) & 0x3fff;
            let limit = scratch.parser.pointer_limit.get();
            if target >= limit || offset + 2 > scratch.parser.length.get() {
                return true;
            }
            end_in_place(scratch, offset + 2);
            scratch.parser.name_bound.set(limit);
            scratch.parser.pointer_limit.set(target);
            scratch.parser.position.set(target);
            return false;
        }
        scratch.parser.name_length.add(length + 1);
        if length > 63 || scratch.parser.name_length.get() > LABELS_MAX {
            return true;
        }
        // With the length octet before the label, which is no letter.
        let (at, valid) = (offset, length + 1);
        let mut hash = scratch.parser.hash.get();
        hash = mix(hash, lower(scratch.message.ne64(at)) & MASKS.word(valid, 0));
        if valid > 8 {
            hash = mix(hash, lower(scratch.message.ne64(at + 8)) & MASKS.word(valid, 1));
        }
        if valid > 16 {
            hash = mix(hash, lower(scratch.message.ne64(at + 16)) & MASKS.word(valid, 2));
            hash = mix(hash, lower(scratch.message.ne64(at + 24)) & MASKS.word(valid, 3));
        }
        if valid > 32 {
            hash = mix(hash, lower(scratch.message.ne64(at + 32)) & MASKS.word(valid, 4));
            hash = mix(hash, lower(scratch.message.ne64(at + 40)) & MASKS.word(valid, 5));
            hash = mix(hash, lower(scratch.message.ne64(at + 48)) & MASKS.word(valid, 6));
            hash = mix(hash, lower(scratch.message.ne64(at + 56)) & MASKS.word(valid, 7));
        }
        scratch.parser.hash.set(hash);
        scratch.parser.position.set(offset + valid);
        false
    }
}

/// Notes the offset at which the name ends in its own place, unless a pointer has ended it before.
#[inline(always)]
fn end_in_place(scratch: &Scratch, offset: u64) {
    if scratch.parser.name_end.get() == 0 {
        scratch.parser.name_end.set(offset);
    }
}
