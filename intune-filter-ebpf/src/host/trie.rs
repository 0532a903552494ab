//! Longest-prefix match by linear search.

use std::vec::Vec;

/// Prefixes and their values.
#[derive(Clone, Debug)]
pub struct Trie<V> {
    entries: Vec<(u32, Vec<u8>, V)>,
}

impl<V> Default for Trie<V> {
    fn default() -> Self {
        Self { entries: Vec::new() }
    }
}

impl<V: Copy> Trie<V> {
    /// Adds a prefix: the first `length` bits of `octets`.
    pub fn insert(&mut self, length: u32, octets: &[u8], value: V) {
        self.entries.push((length, octets.into(), value));
    }

    /// Returns the value of the longest prefix of `octets`.
    #[must_use]
    pub fn get(&self, octets: &[u8]) -> Option<V> {
        self.entries
            .iter()
            .filter(|(length, prefix, _)| begins_alike(prefix, octets, *length))
            .max_by_key(|(length, ..)| *length)
            .map(|(.., value)| *value)
    }
}

fn begins_alike(a: &[u8], b: &[u8], bits: u32) -> bool {
    let (whole, rest) = (bits as usize / 8, bits % 8);
    let mask = !(0xff_u8 >> rest);
    let part = |octets: &[u8]| octets.get(whole).map(|octet| octet & mask);
    a.get(..whole).is_some_and(|octets| Some(octets) == b.get(..whole))
        && (rest == 0 || part(a).is_some_and(|octet| Some(octet) == part(b)))
}

#[cfg(test)]
mod tests {
    use super::Trie;

    #[test]
    fn the_longest_prefix_wins() {
        let mut trie = Trie::default();
        trie.insert(8, &[10, 0, 0, 0], 1);
        trie.insert(23, &[10, 1, 2, 0], 2);
        trie.insert(0, &[0, 0, 0, 0], 3);
        assert_eq!(trie.get(&[10, 9, 9, 9]), Some(1));
        assert_eq!(trie.get(&[10, 1, 3, 9]), Some(2));
        assert_eq!(trie.get(&[10, 1, 4, 9]), Some(1));
        assert_eq!(trie.get(&[11, 1, 4, 9]), Some(3));
    }
}
