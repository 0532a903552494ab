//! Encodes keys of tries as octets in memory order, which tries compare.

use intune_filter_ebpf::abi::{ClientKey, V4, V6};

/// Key of a trie.
pub trait Octets {
    /// Returns its octets in memory order.
    fn octets(&self) -> Vec<u8>;
}

impl Octets for V4 {
    fn octets(&self) -> Vec<u8> {
        self.0.to_ne_bytes().into()
    }
}

impl Octets for V6 {
    fn octets(&self) -> Vec<u8> {
        self.0.iter().flat_map(|word| word.to_ne_bytes()).collect()
    }
}

impl<A: Octets> Octets for ClientKey<A> {
    fn octets(&self) -> Vec<u8> {
        let mut octets: Vec<u8> = self.zone.to_ne_bytes().into();
        octets.extend(self.address.octets());
        octets
    }
}
