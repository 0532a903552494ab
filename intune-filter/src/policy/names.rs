//! The trie of name patterns, as the kernel walks it.

use std::collections::{BTreeMap, HashMap};

use intune_filter_ebpf::abi::{CHUNK, EdgeKey, Glob, NameNode, ROOT};

use crate::pattern::{Form, Pattern};

/// A finished trie.
#[derive(Clone, Debug, Default)]
pub(super) struct Trie {
    /// The edges, and the nodes that they lead to.
    pub edges: HashMap<EdgeKey, NameNode>,
    /// Globs by their number: the root's first, each node's in a row.
    pub globs: Vec<Glob>,
    /// How many of them hang on the root.
    pub root_globs: u32,
    /// Rules of every name.
    pub root_below: u64,
}

/// A trie that patterns are added to.
#[derive(Debug)]
pub(super) struct Builder {
    edges: HashMap<EdgeKey, u32>,
    /// By number; the root is the first.
    nodes: Vec<Node>,
}

#[derive(Debug, Default)]
struct Node {
    exact: u64,
    below: u64,
    /// Rules of each prefix and suffix.
    globs: BTreeMap<(String, String), u64>,
}

/// More globs hang on one node than the kernel tries.
#[derive(Debug)]
pub(super) struct TooManyGlobs {
    /// What follows the globs' label.
    pub parent: String,
}

impl Builder {
    pub fn new() -> Self {
        Self { edges: HashMap::new(), nodes: vec![Node::default()] }
    }

    /// Adds a pattern for the rules of a mask.
    pub fn add(&mut self, pattern: &Pattern, rules: u64) -> Result<(), TooManyGlobs> {
        pattern.expand().iter().try_for_each(|plain| self.add_plain(plain, rules))
    }

    fn add_plain(&mut self, pattern: &Pattern, rules: u64) -> Result<(), TooManyGlobs> {
        match pattern.form() {
            Form::Every => self.nodes[ROOT as usize].below |= rules,
            Form::Exact(name) => self.node(name).exact |= rules,
            Form::Below(parent) => self.node(parent).below |= rules,
            Form::Glob { prefix, suffix, parent } => {
                let globs = &mut self.node(parent).globs;
                *globs.entry((prefix.to_owned(), suffix.to_owned())).or_default() |= rules;
                if globs.len() > Glob::PER_NODE {
                    return Err(TooManyGlobs { parent: parent.to_owned() });
                }
            }
        }
        Ok(())
    }

    /// The node of a name; the root's, if it has no labels.
    fn node(&mut self, name: &str) -> &mut Node {
        let mut at = ROOT;
        for label in name.rsplit('.').filter(|label| !label.is_empty()) {
            for key in edges_of(label) {
                let key = EdgeKey { parent: at, ..key };
                at = *self.edges.entry(key).or_insert_with(|| {
                    self.nodes.push(Node::default());
                    (self.nodes.len() - 1) as u32
                });
            }
        }
        &mut self.nodes[at as usize]
    }

    pub fn finish(self) -> Trie {
        let mut globs = Vec::new();
        let finished: Vec<NameNode> = (0..)
            .zip(&self.nodes)
            .map(|(id, node)| {
                let first_glob = globs.len() as u32;
                let each = node.globs.iter();
                globs.extend(each.map(|((prefix, suffix), rules)| glob(prefix, suffix, *rules)));
                NameNode {
                    id,
                    first_glob,
                    globs: node.globs.len() as u32,
                    reserved: 0,
                    exact: node.exact,
                    below: node.below,
                }
            })
            .collect();
        let root = finished[ROOT as usize];
        let edges = self.edges.into_iter().map(|(key, id)| (key, finished[id as usize])).collect();
        Trie { edges, globs, root_globs: root.globs, root_below: root.below }
    }
}

/// The edges of a label in lower case, one a chunk; the node that the first one leaves is left out.
pub(super) fn edges_of(label: &str) -> impl Iterator<Item = EdgeKey> {
    let length = label.len() as u16;
    (0..).zip(label.as_bytes().chunks(CHUNK)).map(move |(chunk, octets)| {
        let mut filled = [0; CHUNK];
        filled[..octets.len()].copy_from_slice(octets);
        EdgeKey { parent: ROOT, length, chunk, octets: words(&filled) }
    })
}

fn glob(prefix: &str, suffix: &str, rules: u64) -> Glob {
    let mut left = [0; 64];
    left[..prefix.len()].copy_from_slice(prefix.as_bytes());
    let mut right = [0; 64];
    right[64 - suffix.len()..].copy_from_slice(suffix.as_bytes());
    Glob {
        rules,
        prefix_length: prefix.len() as u32,
        suffix_length: suffix.len() as u32,
        prefix: words(&left),
        suffix: words(&right),
    }
}

/// Octets as words, eight to each, in native order.
fn words<const WORDS: usize>(octets: &[u8]) -> [u64; WORDS] {
    let mut words = [0; WORDS];
    for (word, eight) in words.iter_mut().zip(octets.as_chunks().0) {
        *word = u64::from_ne_bytes(*eight);
    }
    words
}
