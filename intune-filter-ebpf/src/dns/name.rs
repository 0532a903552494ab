//! Names inside a message: masks for their labels, and a hash that follows compression.

use super::{Scratch, Step, walk};
use crate::{abi::lower, world::World};

/// Which octets of eight words belong to the first `n` of 64: a table, since branches would cost
/// the verifier a state each. 128 rows, so that a mask of the index keeps loads inside.
pub(super) struct Masks([[u64; 8]; 128]);

/// The table.
pub(super) static MASKS: Masks = Masks(masks());

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
    /// Mask of word `index` of a field of which the first `length` octets count.
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

    /// Mask of word `index` of a field of which the first `length` octets count.
    #[cfg(not(target_arch = "bpf"))]
    pub(super) fn word(&self, length: u64, index: u64) -> u64 {
        self.0[(length & 127) as usize][(index & 7) as usize]
    }
}

/// Mixes a word into a hash. Not cryptographic by itself; the start value is a secret.
#[inline(always)]
pub(super) const fn mix(hash: u64, word: u64) -> u64 {
    let x = (hash ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    x ^ (x >> 29)
}

/// Keyed hash of the name at `offset`, ASCII letters taken as lower case; 0 if it does not parse.
/// A compression pointer must point before the labels that it continues, so none can loop.
#[inline(always)]
pub(super) fn hash_name<W: World>(scratch: &Scratch, world: W, offset: u64) -> u64 {
    scratch.position.set(offset);
    scratch.pointer_limit.set(offset);
    scratch.complete.set(0);
    scratch.hash.set(scratch.seed.get() | 1);
    walk::<Hash, W>(scratch, world, 160);
    if scratch.complete.get() == 0 {
        return 0;
    }
    scratch.hash.get() | 1
}

struct Hash;

impl<W: World> Step<W> for Hash {
    #[inline(always)]
    fn step(scratch: &Scratch, _: W) -> bool {
        let offset = scratch.position.get();
        let length = scratch.message.octet(offset);
        if offset >= scratch.length.get() {
            return true;
        }
        if length == 0 {
            scratch.complete.set(1);
            return true;
        }
        if length >= 0xc0 {
            let target = scratch.message.be16(offset) & 0x3fff;
            if target >= scratch.pointer_limit.get() {
                return true;
            }
            scratch.pointer_limit.set(target);
            scratch.position.set(target);
            return false;
        }
        if length > 63 {
            return true;
        }
        let mut hash = mix(scratch.hash.get(), length);
        let at = offset + 1;
        hash = mix(hash, lower(scratch.message.ne64(at)) & MASKS.word(length, 0));
        if length > 8 {
            hash = mix(hash, lower(scratch.message.ne64(at + 8)) & MASKS.word(length, 1));
        }
        if length > 16 {
            hash = mix(hash, lower(scratch.message.ne64(at + 16)) & MASKS.word(length, 2));
            hash = mix(hash, lower(scratch.message.ne64(at + 24)) & MASKS.word(length, 3));
        }
        if length > 32 {
            hash = mix(hash, lower(scratch.message.ne64(at + 32)) & MASKS.word(length, 4));
            hash = mix(hash, lower(scratch.message.ne64(at + 40)) & MASKS.word(length, 5));
            hash = mix(hash, lower(scratch.message.ne64(at + 48)) & MASKS.word(length, 6));
            hash = mix(hash, lower(scratch.message.ne64(at + 56)) & MASKS.word(length, 7));
        }
        scratch.hash.set(hash);
        scratch.position.set(offset + length + 1);
        false
    }
}

/// Where the name at `offset` really begins: pointers at its very start are followed.
#[inline(always)]
pub(super) fn chase(scratch: &Scratch, offset: u64) -> u64 {
    let mut at = offset;
    // Two are what encoders make: a pointer, and one to an owner that is itself a pointer.
    for _ in 0..2 {
        let word = scratch.message.be16(at);
        let target = word & 0x3fff;
        if word < 0xc000 || target >= at {
            break;
        }
        at = target;
    }
    at
}

/// Skips the name at `position`; `complete` says whether it ended.
#[inline(always)]
pub(super) fn skip_name<W: World>(scratch: &Scratch, world: W, offset: u64) -> Option<u64> {
    if scratch.message.octet(offset) >= 0xc0 {
        return Some(offset + 2);
    }
    scratch.position.set(offset);
    scratch.complete.set(0);
    walk::<Skip, W>(scratch, world, 130);
    (scratch.complete.get() != 0).then(|| scratch.position.get())
}

struct Skip;

impl<W: World> Step<W> for Skip {
    #[inline(always)]
    fn step(scratch: &Scratch, _: W) -> bool {
        let offset = scratch.position.get();
        let length = scratch.message.octet(offset);
        if length == 0 || length >= 0xc0 {
            scratch.position.set(offset + if length == 0 { 1 } else { 2 });
            scratch.complete.set(1);
            return true;
        }
        if length > 63 || offset >= scratch.length.get() {
            return true;
        }
        scratch.position.set(offset + length + 1);
        false
    }
}
