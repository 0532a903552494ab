//! Sets of rules.

use core::cell::UnsafeCell;

use crate::abi::{NO_RULE, RULE_WORDS, RuleMask, trailing_zeros};

/// Words of a place: a power of two, so that a mask of the index keeps loads inside. What is behind
/// the rules stays zero.
const WORDS: usize = 4;

/// Place of a set of rules. On the stack of the kernel's programs there is no room for them.
#[repr(transparent)]
#[derive(Debug)]
pub struct RuleCell(UnsafeCell<[u64; WORDS]>);

impl RuleCell {
    /// One word of the set.
    #[inline(always)]
    pub fn word(&self, word: usize) -> u64 {
        debug_assert!(word < RULE_WORDS);
        // SAFETY: inside the place, which is this CPU's alone while its scratch is claimed.
        unsafe { self.0.get().cast::<u64>().add(word).read_volatile() }
    }

    /// Replaces one word of the set.
    #[inline(always)]
    pub fn set_word(&self, word: usize, value: u64) {
        debug_assert!(word < RULE_WORDS);
        // SAFETY: as in `word`.
        unsafe { self.0.get().cast::<u64>().add(word).write_volatile(value) }
    }

    /// The set.
    #[inline(always)]
    pub fn get(&self) -> RuleMask {
        RuleMask([self.word(0), self.word(1), self.word(2)])
    }

    /// Replaces the set.
    #[inline(always)]
    #[expect(clippy::indexing_slicing, reason = "as many words as a mask has")]
    pub fn set(&self, mask: &RuleMask) {
        for word in 0..RULE_WORDS {
            self.set_word(word, mask.0[word]);
        }
    }

    /// Adds rules.
    #[inline(always)]
    #[expect(clippy::indexing_slicing, reason = "as many words as a mask has")]
    pub fn add(&self, mask: &RuleMask) {
        for word in 0..RULE_WORDS {
            self.set_word(word, self.word(word) | mask.0[word]);
        }
    }

    /// Takes all rules out.
    #[inline(always)]
    pub fn clear(&self) {
        self.set(&RuleMask::EMPTY);
    }

    /// Whether no rule is in the set.
    #[inline(always)]
    pub fn is_empty(&self) -> bool {
        self.get().is_empty()
    }

    /// Whether some rule is in both sets.
    #[inline(always)]
    pub fn intersects(&self, other: &Self) -> bool {
        self.get().intersects(&other.get())
    }

    /// Whether a rule is in the set: 1 if so, without a branch.
    #[inline(always)]
    pub fn contains(&self, rule: u8) -> u64 {
        let rule = u64::from(rule);
        access::word(self.0.get().cast(), rule >> 6) >> (rule & 63) & 1
    }

    /// The lowest rule in the set, or [`NO_RULE`].
    #[inline(always)]
    pub fn lowest(&self) -> u8 {
        self.get().lowest()
    }

    /// The lowest rule in the set, or [`NO_RULE`], and whether it is in another set too. With branches,
    /// which cost less than they spare: of few words one has a rule.
    #[inline(always)]
    pub fn lowest_and_whether_in(&self, other: &Self) -> (u8, bool) {
        for at in 0..RULE_WORDS {
            let word = self.word(at);
            if word != 0 {
                let lowest = word & word.wrapping_neg();
                let rule = at as u8 * u64::BITS as u8 + trailing_zeros(word);
                return (rule, other.word(at) & lowest != 0);
            }
        }
        (NO_RULE, false)
    }

    /// The set as one of the contract's, for those who read it from there.
    #[inline(always)]
    pub fn as_mask(&self) -> &RuleMask {
        // SAFETY: the place begins with the words of a set, and is this CPU's alone while its scratch
        // is claimed; nobody writes to it while it is read.
        unsafe { &*self.0.get().cast::<RuleMask>() }
    }
}

#[cfg(target_arch = "bpf")]
mod access {
    use core::arch::asm;

    /// In one block: the compiler would drop a mask that it thinks superfluous.
    #[inline(always)]
    pub(super) fn word(base: *const u8, index: u64) -> u64 {
        let mut at = index;
        // SAFETY: the mask keeps the access inside the four words.
        unsafe {
            asm!("{at} &= 3", "{at} <<= 3", "{at} += {base}", "{at} = *(u64 *)({at} + 0)",
                at = inout(reg) at, base = in(reg) base, options(readonly, nostack));
        }
        at
    }
}

#[cfg(not(target_arch = "bpf"))]
mod access {
    pub(super) fn word(base: *const u8, index: u64) -> u64 {
        // SAFETY: the mask keeps the access inside the four words.
        unsafe { base.cast::<u64>().add((index & 3) as usize).read() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    #[test]
    fn a_place_has_what_was_put_there() {
        let scratch = Scratch::default();
        let place = &scratch.ctx.rules;
        for rule in [0, 63, 64, 127, 128, 191] {
            place.set(&RuleMask::of(rule));
            for other in 0..=NO_RULE {
                assert_eq!(place.contains(other) != 0, other == rule, "{rule} {other}");
            }
            place.add(&RuleMask::of(5));
            assert_eq!(place.get(), RuleMask::of(rule) | RuleMask::of(5));
            assert_eq!(*place.as_mask(), place.get());
            place.clear();
            assert!(place.is_empty());
        }
    }
}
