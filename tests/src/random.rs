//! Random choices that a seed repeats.

use std::ops::Range;

/// SplitMix64: small, and good enough for choices.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The choices of a seed for one purpose: what one thread chooses does not depend on how far
    /// the others have come.
    #[must_use]
    pub fn new(seed: u64, purpose: &str) -> Self {
        // FNV-1a.
        let hash = purpose.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, octet| {
            (hash ^ u64::from(octet)).wrapping_mul(0x0100_0000_01b3)
        });
        Self(seed ^ hash)
    }

    /// The next 64 bits.
    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// One of a range, which is not empty.
    pub const fn within(&mut self, range: Range<u32>) -> u32 {
        range.start + (self.next() % (range.end - range.start) as u64) as u32
    }

    /// True once in `times` times, on average.
    pub const fn once_in(&mut self, times: u32) -> bool {
        self.within(0..times) == 0
    }

    /// One of several, of which there is one at least.
    pub fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.within(0..choices.len() as u32) as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_its_choices_and_purposes_differ() {
        let take = |seed, purpose| {
            let mut random = Random::new(seed, purpose);
            (0..8).map(|_| random.within(10..20)).collect::<Vec<_>>()
        };
        assert_eq!(take(7, "links"), take(7, "links"));
        assert_ne!(take(7, "links"), take(8, "links"));
        assert_ne!(take(7, "links"), take(7, "reloads"));
        let mut random = Random::new(1, "");
        let picked: Vec<u32> = (0..200).map(|_| *random.pick(&[1, 2, 3])).collect();
        assert!((1..=3).all(|one| picked.contains(&one)));
        assert!(take(9, "x").iter().all(|number| (10..20).contains(number)));
    }
}
