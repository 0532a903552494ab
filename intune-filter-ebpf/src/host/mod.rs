//! Maps of the host, over which the logic runs without a kernel: for tests, fuzzing and `explain`.

mod datapath;
mod family;
mod tables;
mod trie;

pub use tables::{PolicyMaps, Tables};
pub use trie::Trie;
