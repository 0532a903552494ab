//! The maps on the host: the same logic, without a kernel, for tests, fuzzing and `explain`.

mod datapath;
mod family;
mod tables;
mod trie;

pub use tables::{Policy, Tables};
pub use trie::Trie;
