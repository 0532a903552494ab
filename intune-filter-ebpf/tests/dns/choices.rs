//! Stream of choices, made from the words that a property test or a fuzzer supplies.

/// Choices, one after the other. Words that shrink to zero make the simplest choice.
pub struct Choices<'w> {
    words: &'w [u64],
    next: usize,
}

impl<'w> Choices<'w> {
    pub fn new(words: &'w [u64]) -> Self {
        assert!(!words.is_empty(), "there is something to choose by");
        Self { words, next: 0 }
    }

    /// Returns a number. Once the words are used up they are used again, each time mixed
    /// differently.
    pub fn word(&mut self) -> u64 {
        let (round, index) = (self.next / self.words.len(), self.next % self.words.len());
        self.next += 1;
        let word = self.words[index];
        if round == 0 { word } else { mix(word.wrapping_add(round as u64)) }
    }

    /// Returns a number below `limit`.
    pub fn below(&mut self, limit: usize) -> usize {
        (self.word() % limit as u64) as usize
    }

    /// Returns true once in `among` times.
    pub fn once_in(&mut self, among: usize) -> bool {
        self.below(among) == among - 1
    }

    /// Returns one of these items.
    pub fn one<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }

    /// Puts these items into some order.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, last - self.below(last + 1));
        }
    }
}

/// Returns the words of a numbered case, equal on every machine.
pub fn words(case: u64) -> [u64; 32] {
    std::array::from_fn(|index| mix((case << 8 | index as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)))
}

/// Mixes a word by the finalizer of splitmix64.
fn mix(word: u64) -> u64 {
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}
