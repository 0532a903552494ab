//! Strongly connected components of the graph of files.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

/// A file uses what another one defines.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Edge {
    /// The file that uses it.
    pub from: PathBuf,
    /// The file that defines it.
    pub to: PathBuf,
    /// The first line that uses it.
    pub line: usize,
    /// The path as it is written there.
    pub path: String,
}

/// Circles: of each, every edge between its files.
pub(super) fn of(edges: &[Edge]) -> Vec<Vec<Edge>> {
    let mut next: BTreeMap<&Path, BTreeSet<&Path>> = BTreeMap::new();
    for edge in edges {
        next.entry(&edge.from).or_default().insert(&edge.to);
    }
    let reached: BTreeMap<&Path, BTreeSet<&Path>> =
        next.keys().map(|file| (*file, reachable(file, &next))).collect();
    let mutual = |one: &Path, other: &Path| {
        let leads = |from, to| reached.get(from).is_some_and(|files| files.contains(to));
        leads(one, other) && leads(other, one)
    };
    let mut seen: BTreeSet<&Path> = BTreeSet::new();
    let mut circles = Vec::new();
    for file in next.keys() {
        if seen.contains(file) || !mutual(file, file) {
            continue;
        }
        let members: BTreeSet<&Path> =
            next.keys().copied().filter(|other| mutual(file, other)).collect();
        let within = |edge: &&Edge| {
            members.contains(edge.from.as_path()) && members.contains(edge.to.as_path())
        };
        circles.push(edges.iter().filter(within).cloned().collect());
        seen.extend(members);
    }
    circles
}

/// The files that a file leads to.
fn reachable<'g>(from: &Path, next: &BTreeMap<&'g Path, BTreeSet<&'g Path>>) -> BTreeSet<&'g Path> {
    let mut reached = BTreeSet::new();
    let mut ahead: Vec<&Path> = next.get(from).into_iter().flatten().copied().collect();
    while let Some(file) = ahead.pop() {
        if reached.insert(file) {
            ahead.extend(next.get(file).into_iter().flatten());
        }
    }
    reached
}
