//! The pages of the repository, and whether what they refer to exists.

mod markdown;
mod references;
mod tree;

pub use markdown::{Block, Page};
pub use references::Problem;
pub use tree::Tree;

/// Problems of the references of all pages of a tree: links, paths and names in the code.
#[must_use]
pub fn problems(tree: &Tree) -> Vec<Problem> {
    let pages = tree.pages();
    pages.keys().flat_map(|path| references::of(tree, &pages, path)).collect()
}
