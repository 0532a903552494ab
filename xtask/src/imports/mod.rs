//! No circle of imports: files of a crate depend on each other in one direction, and none is too
//! long to be read.

#![expect(clippy::indexing_slicing, reason = "what is not in JSON is null")]

mod circles;
mod collect;
mod resolve;
#[cfg(test)]
mod tests;
mod tree;

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::workspace;
use circles::Edge;
use tree::Crate;

/// Lines of a file at most.
const LINES: usize = 450;

/// Fails on circles of imports and on files that are too long, over all crates of the workspace.
pub(crate) fn check() -> Result<()> {
    let mut files = BTreeSet::new();
    let mut found = String::new();
    for root in roots()? {
        let tree = Crate::load(&root, &|path| fs::read_to_string(path).ok())
            .with_context(|| format!("{} does not parse", root.display()))?;
        files.extend(tree.files());
        for circle in circles::of(&resolve::edges(&tree)) {
            found.push_str(&told(&circle, workspace::root()));
        }
    }
    for file in files {
        let lines = fs::read_to_string(&file)?.lines().count();
        if lines > LINES {
            let name = file.strip_prefix(workspace::root()).unwrap_or(&file);
            let _ = writeln!(found, "{}: {lines} lines, of {LINES} at most", name.display());
        }
    }
    if !found.is_empty() {
        bail!("circles of imports or long files:\n{found}");
    }
    Ok(())
}

/// The root files of every target of the workspace's packages.
fn roots() -> Result<Vec<PathBuf>> {
    let mut cargo = workspace::cargo();
    cargo.args(["metadata", "--no-deps", "--format-version", "1", "--locked", "--offline"]);
    let output = cargo.output().context("cannot run cargo metadata")?;
    let metadata: Value =
        serde_json::from_slice(&output.stdout).context("cannot read what cargo metadata prints")?;
    let packages = metadata["packages"].as_array().into_iter().flatten();
    let targets = packages.filter_map(|package| package["targets"].as_array()).flatten();
    let paths = targets.filter_map(|target| target["src_path"].as_str());
    let roots: Vec<PathBuf> = paths.map(PathBuf::from).collect();
    if roots.is_empty() {
        bail!("cargo metadata names no target");
    }
    Ok(roots)
}

/// A circle, with the lines that make it.
fn told(circle: &[Edge], root: &Path) -> String {
    let name = |path: &Path| path.strip_prefix(root).unwrap_or(path).display().to_string();
    let mut text = "circle of imports:\n".to_owned();
    for edge in circle {
        let (from, to) = (name(&edge.from), name(&edge.to));
        let _ = writeln!(text, "  {from}:{}: {} is in {to}", edge.line, edge.path);
    }
    text
}
