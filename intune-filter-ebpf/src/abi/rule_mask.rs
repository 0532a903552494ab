//! Sets of rules, one bit each.

use core::ops::{BitAnd, BitAndAssign, BitOr, BitOrAssign, Not};

use super::{RULES, layout};

/// Words of a [`RuleMask`].
pub const RULE_WORDS: usize = RULES / u64::BITS as usize;

/// Number in place of a rule's where there is none.
pub const NO_RULE: u8 = u8::MAX;

/// Set of rules: rule `n` is bit `n % 64` of word `n / 64`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RuleMask(pub [u64; RULE_WORDS]);
layout!(RuleMask, 24, [u64; RULE_WORDS]);

impl RuleMask {
    /// No rule.
    pub const EMPTY: Self = Self([0; RULE_WORDS]);
    /// Every rule.
    pub const ALL: Self = Self([u64::MAX; RULE_WORDS]);

    /// The set of one rule; empty if there is no such rule.
    #[inline(always)]
    #[must_use]
    pub const fn of(rule: u8) -> Self {
        let mut mask = Self::EMPTY;
        mask.set(rule);
        mask
    }

    /// Adds a rule, unless there is no such rule.
    #[inline(always)]
    #[expect(clippy::indexing_slicing, reason = "compared before")]
    pub const fn set(&mut self, rule: u8) {
        let (word, bit) = place(rule);
        if word < RULE_WORDS {
            self.0[word] |= bit;
        }
    }

    /// Whether a rule is in the set.
    #[inline(always)]
    #[must_use]
    #[expect(clippy::indexing_slicing, reason = "compared before")]
    pub const fn contains(&self, rule: u8) -> bool {
        let (word, bit) = place(rule);
        word < RULE_WORDS && self.0[word] & bit != 0
    }

    /// Whether no rule is in the set.
    #[inline(always)]
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        let Self([a, b, c]) = *self;
        a | b | c == 0
    }

    /// Whether some rule is in both sets.
    #[inline(always)]
    #[must_use]
    pub const fn intersects(&self, other: &Self) -> bool {
        !self.and(other).is_empty()
    }

    /// Rules that are in both sets.
    #[inline(always)]
    #[must_use]
    pub const fn and(&self, other: &Self) -> Self {
        let (Self([a, b, c]), Self([d, e, f])) = (*self, *other);
        Self([a & d, b & e, c & f])
    }

    /// Rules that are in either set.
    #[inline(always)]
    #[must_use]
    pub const fn or(&self, other: &Self) -> Self {
        let (Self([a, b, c]), Self([d, e, f])) = (*self, *other);
        Self([a | d, b | e, c | f])
    }

    /// The lowest rule in the set, or [`NO_RULE`]. Without a branch: before Linux 6.4 the verifier
    /// follows each number that one leads to on its own.
    #[inline(always)]
    #[must_use]
    pub const fn lowest(&self) -> u8 {
        let Self([a, b, c]) = *self;
        let (a, b, c) = (trailing_zeros(a), trailing_zeros(b), trailing_zeros(c));
        // 1 if a word is zero: it has 64 of them then.
        let (no_a, no_b, no_c) = (a >> 6, b >> 6, c >> 6);
        // 3 * 64, and what is missing to `NO_RULE`.
        a + no_a * (b + no_b * (c + no_c * (NO_RULE - RULES as u8)))
    }

    /// The rules in the set, in order.
    #[cfg(not(target_arch = "bpf"))]
    pub fn iter(self) -> impl Iterator<Item = u8> {
        (0..RULES as u8).filter(move |rule| self.contains(*rule))
    }
}

#[inline(always)]
const fn place(rule: u8) -> (usize, u64) {
    (rule as usize / u64::BITS as usize, 1 << (rule as u32 % u64::BITS))
}

/// `u64::trailing_zeros`, which the target has no instruction for and would call a library.
#[inline(always)]
pub(crate) const fn trailing_zeros(word: u64) -> u8 {
    const FULL: u64 = u64::MAX;
    // The ones below the lowest, counted: in pairs, in fours, in octets, and all octets together.
    let below = !word & word.wrapping_sub(1);
    let pairs = below - ((below >> 1) & (FULL / 3));
    let fours = (pairs & (FULL / 5)) + ((pairs >> 2) & (FULL / 5));
    let octets = (fours + (fours >> 4)) & (FULL / 17);
    (octets.wrapping_mul(FULL / 255) >> 56) as u8
}

impl BitAnd for RuleMask {
    type Output = Self;

    #[inline(always)]
    fn bitand(self, other: Self) -> Self {
        self.and(&other)
    }
}

impl BitOr for RuleMask {
    type Output = Self;

    #[inline(always)]
    fn bitor(self, other: Self) -> Self {
        self.or(&other)
    }
}

impl BitAndAssign for RuleMask {
    #[inline(always)]
    fn bitand_assign(&mut self, other: Self) {
        *self = self.and(&other);
    }
}

impl BitOrAssign for RuleMask {
    #[inline(always)]
    fn bitor_assign(&mut self, other: Self) {
        *self = self.or(&other);
    }
}

impl Not for RuleMask {
    type Output = Self;

    #[inline(always)]
    fn not(self) -> Self {
        let Self([a, b, c]) = self;
        Self([!a, !b, !c])
    }
}

#[cfg(not(target_arch = "bpf"))]
impl FromIterator<u8> for RuleMask {
    fn from_iter<T: IntoIterator<Item = u8>>(rules: T) -> Self {
        let mut mask = Self::EMPTY;
        rules.into_iter().for_each(|rule| mask.set(rule));
        mask
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_has_a_bit_of_its_own() {
        let mut all = RuleMask::EMPTY;
        for rule in 0..RULES as u8 {
            let one = RuleMask::of(rule);
            assert!(!one.is_empty() && !all.intersects(&one), "{rule}");
            assert!((0..=u8::MAX).all(|other| one.contains(other) == (other == rule)), "{rule}");
            all.set(rule);
        }
        assert_eq!(all, RuleMask::ALL);
        assert!(all.iter().eq(0..RULES as u8));
    }

    #[test]
    fn there_is_no_rule_beyond_the_last() {
        for rule in RULES as u8..=NO_RULE {
            assert_eq!(RuleMask::of(rule), RuleMask::EMPTY);
            assert!(!RuleMask::ALL.contains(rule));
        }
    }

    #[test]
    fn the_lowest_is_the_first() {
        assert_eq!(RuleMask::EMPTY.lowest(), NO_RULE);
        for rule in 0..RULES as u8 {
            assert_eq!(RuleMask::of(rule).lowest(), rule);
            let from_there: RuleMask = (rule..RULES as u8).collect();
            assert_eq!(from_there.lowest(), rule);
        }
    }

    #[test]
    fn sets_are_combined_word_by_word() {
        let (odd, even): (RuleMask, RuleMask) =
            ((1..192).step_by(2).collect(), (0..192).step_by(2).collect());
        assert_eq!((odd | even, odd & even, !odd), (RuleMask::ALL, RuleMask::EMPTY, even));
        for rule in [0, 63, 64, 127, 128, 191] {
            let mut mask = odd;
            mask |= RuleMask::of(rule);
            assert!(mask.contains(rule) && mask.intersects(&RuleMask::of(rule)));
            mask &= !RuleMask::of(rule);
            assert!(!mask.contains(rule) && !mask.intersects(&RuleMask::of(rule)));
        }
    }
}
