//! Pinned objects of a directory, seen by bpftool: identities and contents.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::namespace::run;

/// The kernel's ids of everything that is pinned below `directory` in folders called `kind`,
/// which is `maps`, `programs` or `links`. Empty if the directory is not there.
pub fn ids(directory: &Path, kind: &str) -> Result<BTreeMap<PathBuf, u64>> {
    let command = match kind {
        "maps" => "map",
        "programs" => "prog",
        "links" => "link",
        _ => bail!("no pins are kept in {kind}"),
    };
    let pins = pins(directory, kind)?.into_iter().map(|path| {
        let object = match bpftool(&[command, "show", "pinned"], &path) {
            // Without TCX a program stands for its attachment, and another one follows it.
            Err(_) if kind == "links" && bpftool(&["prog", "show", "pinned"], &path).is_ok() => {
                return Ok((path, 0));
            }
            object => object?,
        };
        let id = object["id"].as_u64().with_context(|| format!("{} has no id", path.display()))?;
        Ok((path, id))
    });
    pins.collect()
}

/// Whether the kernel has links for TC programs. Without them, a program is pinned in place of a
/// link.
pub fn has_tcx() -> Result<bool> {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let mut numbers = release.split('.').map(|number| number.parse::<u32>().unwrap_or(0));
    let (major, minor) = (numbers.next().context("a release")?, numbers.next().unwrap_or(0));
    Ok((major, minor) >= (6, 6))
}

/// The contents of every map that is pinned below `directory`, as far as reading them changes
/// nothing: of a queue its head, of a ring buffer nothing.
pub fn contents(directory: &Path) -> Result<BTreeMap<PathBuf, Value>> {
    let mut contents = BTreeMap::new();
    for path in pins(directory, "maps")? {
        let content = match bpftool(&["map", "show", "pinned"], &path)?["type"].as_str() {
            Some("ringbuf") => continue,
            // That fails where it is empty.
            Some("queue") => bpftool(&["map", "peek", "pinned"], &path).unwrap_or_default(),
            _ => bpftool(&["map", "dump", "pinned"], &path)?,
        };
        contents.insert(path.clone(), content);
    }
    Ok(contents)
}

fn bpftool(arguments: &[&str], path: &Path) -> Result<Value> {
    let mut command = Command::new("bpftool");
    let text = run(command.arg("--json").args(arguments).arg(path))?;
    serde_json::from_str(&text).with_context(|| format!("bpftool prints no JSON: {text}"))
}

/// The pins below `directory` in folders called `kind`. Empty if the directory is not there.
pub fn pins(directory: &Path, kind: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    if directory.exists() {
        walk(directory, &mut found)?;
    }
    found.retain(|path| path.components().any(|part| part.as_os_str() == kind));
    Ok(found)
}

fn walk(directory: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            walk(&entry.path(), found)?;
        } else {
            found.push(entry.path());
        }
    }
    Ok(())
}
