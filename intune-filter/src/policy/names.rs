//! Builds the trie of name patterns that the kernel walks.

#![expect(clippy::indexing_slicing, reason = "a node's number is its place")]

use std::collections::{BTreeMap, HashMap};

use intune_filter_ebpf::abi::{CHUNK, EdgeKey, Glob, NameNode, ROOT, RuleMask, name_marks};

use crate::pattern::{Form, Label, Pattern};

/// Name by whose addresses clients find their NAT64 prefix (RFC 7050, RFC 8880).
const NAT64_DISCOVERY: &str = "ipv4only.arpa";

/// Finished trie.
#[derive(Clone, Debug, Default)]
pub(super) struct Trie {
    /// Root node.
    pub root: NameNode,
    /// Edges, with the nodes that they lead to.
    pub edges: HashMap<EdgeKey, NameNode>,
    /// Globs by index: a node's globs are adjacent, those that lead on first.
    pub globs: Vec<Glob>,
}

/// Trie under construction.
#[derive(Debug)]
pub(super) struct Builder {
    edges: HashMap<EdgeKey, u32>,
    /// Nodes by number; the root is the first, and a child has a higher number than its parent.
    nodes: Vec<Node>,
}

#[derive(Debug, Default)]
struct Node {
    exact: RuleMask,
    below: RuleMask,
    /// Bits of [`name_marks`].
    marks: u16,
    /// Children by edges.
    children: Vec<u32>,
    /// Children by globs.
    globs: BTreeMap<Affixes, u32>,
}

/// Text before and after the `*` of a label.
type Affixes = (String, String);

/// Error for a node with more globs than the kernel tries.
#[derive(Debug)]
pub(super) struct TooManyGlobs {
    /// Labels to the right of the globs' label.
    pub parent: String,
}

impl Builder {
    pub(super) fn new() -> Self {
        Self { edges: HashMap::new(), nodes: vec![Node::default()] }
    }

    /// Adds a pattern for the rules of a mask.
    pub(super) fn add(&mut self, pattern: &Pattern, rules: RuleMask) -> Result<(), TooManyGlobs> {
        pattern.expand().iter().try_for_each(|plain| self.add_plain(&plain.form(), rules))
    }

    /// Marks a name, and all names below it, as a server of DNS over HTTPS.
    pub(super) fn add_over_https(&mut self, name: &str) {
        self.mark(name, name_marks::OVER_HTTPS);
    }

    /// Marks the name by whose addresses clients find their NAT64 prefix.
    pub(super) fn add_nat64_discovery(&mut self) {
        self.mark(NAT64_DISCOVERY, name_marks::NAT64_DISCOVERY);
    }

    fn mark(&mut self, name: &str, mark: u16) {
        let labels = name.split('.').rev();
        let node = labels.fold(ROOT, |at, label| self.follow(at, label));
        self.nodes[node as usize].marks |= mark;
    }

    fn add_plain(&mut self, form: &Form<'_>, rules: RuleMask) -> Result<(), TooManyGlobs> {
        let mut at = ROOT;
        for (index, label) in form.labels.iter().enumerate().rev() {
            at = match label {
                Label::Exact(label) => self.follow(at, label),
                Label::Glob { prefix, suffix } => {
                    { self.follow_glob(at, (*prefix).to_owned(), (*suffix).to_owned()) }
                        .ok_or_else(|| TooManyGlobs { parent: text(&form.labels[index + 1..]) })?
                }
            };
        }
        let node = &mut self.nodes[at as usize];
        *(if form.below { &mut node.below } else { &mut node.exact }) |= rules;
        Ok(())
    }

    /// Returns the node that a label leads to from another, and creates it if necessary.
    fn follow(&mut self, mut at: u32, label: &str) -> u32 {
        for key in edges_of(label) {
            let nodes = &mut self.nodes;
            at = *self.edges.entry(EdgeKey { parent: at, ..key }).or_insert_with(|| {
                let new = add_node(nodes);
                nodes[at as usize].children.push(new);
                new
            });
        }
        at
    }

    /// Returns the node that a label with a `*` leads to from another; `None` if that has too many
    /// globs.
    fn follow_glob(&mut self, at: u32, prefix: String, suffix: String) -> Option<u32> {
        let affixes = (prefix, suffix);
        let globs = &self.nodes[at as usize].globs;
        if let Some(known) = globs.get(&affixes) {
            return Some(*known);
        }
        if globs.len() >= Glob::PER_NODE {
            return None;
        }
        let new = add_node(&mut self.nodes);
        self.nodes[at as usize].globs.insert(affixes, new);
        Some(new)
    }

    /// Returns the number of steps that the kernel's walk takes at most, for any name. A node has a
    /// single path from the root, so no name reaches it twice, and the steps below nodes add up.
    pub(super) fn steps(&self) -> u64 {
        let mut after: Vec<u64> = vec![0; self.nodes.len()];
        // Children have higher numbers than their parents.
        for (id, node) in self.nodes.iter().enumerate().rev() {
            let edges = node.children.iter().map(|child| 1 + after[*child as usize]).max();
            let inner = node.globs.values().filter(|child| self.leads_on(**child)).count() as u64;
            let tried = (node.globs.len() as u64).max(inner + together(&node.globs, &after));
            after[id] = edges.unwrap_or(0).saturating_add(tried);
        }
        // The last step finds nothing left to do.
        after[ROOT as usize].saturating_add(1)
    }

    /// Whether a node can match further labels.
    fn leads_on(&self, id: u32) -> bool {
        let node = &self.nodes[id as usize];
        !node.below.is_empty() || !node.children.is_empty() || !node.globs.is_empty()
    }

    /// Returns the rules of the names at or below each node. A name that every client may ask for has
    /// all rules for that.
    fn under(&self) -> Vec<RuleMask> {
        let mut under = vec![RuleMask::EMPTY; self.nodes.len()];
        // Children have higher numbers than their parents.
        for (id, node) in self.nodes.iter().enumerate().rev() {
            let children = node.children.iter().chain(node.globs.values());
            let asked_by_all = node.marks & name_marks::NAT64_DISCOVERY != 0;
            let own = if asked_by_all { RuleMask::ALL } else { node.exact | node.below };
            under[id] = children.fold(own, |rules, child| rules | under[*child as usize]);
        }
        under
    }

    pub(super) fn finish(self) -> Trie {
        let under = self.under();
        let mut first_glob = 0;
        let mut finished = Vec::new();
        for ((id, node), under) in (0..).zip(&self.nodes).zip(under) {
            let inner = node.globs.values().filter(|child| self.leads_on(**child));
            finished.push(NameNode {
                id,
                first_glob,
                // A node has `Glob::PER_NODE` globs at most.
                globs: node.globs.len() as u16,
                inner: inner.count() as u16,
                edges: u16::from(!node.children.is_empty()),
                marks: node.marks,
                exact: node.exact,
                below: node.below,
                under,
            });
            first_glob += node.globs.len() as u32;
        }
        let mut globs = Vec::new();
        for node in &self.nodes {
            for leads_on in [true, false] {
                let some = node.globs.iter().filter(|(_, id)| self.leads_on(**id) == leads_on);
                globs.extend(some.map(|(affixes, id)| glob(affixes, finished[*id as usize])));
            }
        }
        let edges = self.edges.into_iter().map(|(key, id)| (key, finished[id as usize])).collect();
        Trie { root: finished[ROOT as usize], edges, globs }
    }
}

fn add_node(nodes: &mut Vec<Node>) -> u32 {
    nodes.push(Node::default());
    (nodes.len() - 1) as u32
}

/// Returns the greatest sum of steps below globs that match one label. Among the matching globs
/// each prefix begins the longest prefix, and each suffix ends the longest suffix.
fn together(globs: &BTreeMap<Affixes, u32>, after: &[u64]) -> u64 {
    let leading: Vec<(&Affixes, u64)> = globs
        .iter()
        .map(|(affixes, id)| (affixes, after[*id as usize]))
        .filter(|(_, steps)| *steps > 0)
        .collect();
    let longest = leading.iter().flat_map(|((prefix, _), _)| {
        leading.iter().map(move |((_, suffix), _)| (prefix.as_str(), suffix.as_str()))
    });
    let of_one = |(longest_prefix, longest_suffix): (&str, &str)| {
        leading
            .iter()
            .filter(|((prefix, suffix), _)| {
                longest_prefix.starts_with(prefix.as_str())
                    && longest_suffix.ends_with(suffix.as_str())
            })
            .fold(0_u64, |sum, (_, steps)| sum.saturating_add(*steps))
    };
    longest.map(of_one).max().unwrap_or(0)
}

fn text(labels: &[Label<'_>]) -> String {
    let labels = labels.iter().map(|label| match label {
        Label::Exact(label) => (*label).to_owned(),
        Label::Glob { prefix, suffix } => format!("{prefix}*{suffix}"),
    });
    labels.collect::<Vec<_>>().join(".")
}

/// Returns the edges of a label in lower case, one per chunk, with the root as parent in place of
/// the actual one.
pub(super) fn edges_of(label: &str) -> impl Iterator<Item = EdgeKey> {
    let length = label.len() as u16;
    (0..).zip(label.as_bytes().chunks(CHUNK)).map(move |(chunk, octets)| {
        let mut filled = [0; CHUNK];
        filled[..octets.len()].copy_from_slice(octets);
        EdgeKey { parent: ROOT, length, chunk, octets: words(&filled) }
    })
}

fn glob((prefix, suffix): &Affixes, node: NameNode) -> Glob {
    let mut left = [0; 64];
    left[..prefix.len()].copy_from_slice(prefix.as_bytes());
    let mut right = [0; 64];
    right[64 - suffix.len()..].copy_from_slice(suffix.as_bytes());
    Glob {
        node,
        prefix_length: prefix.len() as u32,
        suffix_length: suffix.len() as u32,
        prefix: words(&left),
        suffix: words(&right),
    }
}

/// Packs octets into words of eight, in native byte order.
fn words<const WORDS: usize>(octets: &[u8]) -> [u64; WORDS] {
    let mut words = [0; WORDS];
    for (word, eight) in words.iter_mut().zip(octets.as_chunks().0) {
        *word = u64::from_ne_bytes(*eight);
    }
    words
}
