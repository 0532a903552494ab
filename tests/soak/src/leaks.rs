//! Holdings of a daemon: memory, descriptors, threads, pins, objects in the kernel, files, tables
//! of nftables, dead processes.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use super::{
    objects::objects,
    timeline::{Fault, Span},
    world::{World, lock},
};
use intune_filter_tests::{namespace::run, pins};

/// Things of several kinds, counted.
pub type Counts = BTreeMap<String, usize>;

/// Holdings of a daemon at a moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holdings {
    /// Open descriptors by what they are.
    pub descriptors: Counts,
    /// Threads by their names.
    pub threads: Counts,
    /// Dead children that were not waited for.
    pub zombies: usize,
    /// Pins, by their path.
    pub pins: BTreeSet<PathBuf>,
    /// Files it keeps, by their path.
    pub files: BTreeSet<PathBuf>,
    /// Tables of nftables on the gateway.
    pub tables: BTreeSet<String>,
    /// Maps of the policy in force and the one before.
    pub inner_maps: usize,
}

impl Holdings {
    /// Holdings of the daemon. The daemon is asked nothing itself: an answer takes threads and
    /// sockets.
    pub fn of(world: &World) -> Result<Self> {
        let (process, directory) = {
            let mut filter = lock(&world.filter);
            (filter.daemon()?.id(), filter.pins())
        };
        let kinds = ["maps", "programs", "links"];
        let found = kinds.map(|kind| pins::pins(&directory, kind));
        let found: Vec<Vec<PathBuf>> = found.into_iter().collect::<Result<_>>()?;
        Ok(Self {
            descriptors: descriptors(process)?,
            threads: threads(process)?,
            zombies: zombies(process)?,
            pins: found.into_iter().flatten().collect(),
            files: files(world.directory.path())?,
            tables: tables(world)?,
            inner_maps: objects(&directory, process)?.inner.len(),
        })
    }

    /// Holdings of the daemon between two reloads; `None` if an interface was away meanwhile, or
    /// not attached to yet: its objects are then away too, and their stand-ins are there.
    pub fn when_settled(world: &World) -> Result<Option<Self>> {
        let _change = lock(&world.change);
        let begun = std::time::Instant::now();
        let held = Self::of(world);
        undisturbed(held, world.had(Fault::Link, Span::since(begun)))
    }
}

/// Result of a look, unless a disturbance excuses it.
fn undisturbed(held: Result<Holdings>, disturbed: bool) -> Result<Option<Holdings>> {
    if disturbed { Ok(None) } else { held.map(Some) }
}

/// Resident octets of a process.
pub fn resident(process: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let text = line.and_then(|text| text.split_whitespace().next()).context("no VmRSS")?;
    Ok(text.parse::<u64>()? * 1024)
}

/// Open descriptors by kind: what a link names, without the numbers in it.
fn descriptors(process: u32) -> Result<Counts> {
    let mut kinds = Counts::new();
    for entry in fs::read_dir(format!("/proc/{process}/fd"))? {
        // It may be closed by now.
        let Ok(target) = fs::read_link(entry?.path()) else { continue };
        let kind = target.to_string_lossy();
        let kind = kind.split(":[").next().unwrap_or_default().to_owned();
        *kinds.entry(kind).or_default() += 1;
    }
    Ok(kinds)
}

/// Threads by their names, as the kernel shows them: of 15 octets at most.
fn threads(process: u32) -> Result<Counts> {
    let mut names = Counts::new();
    for entry in fs::read_dir(format!("/proc/{process}/task"))? {
        // It may have ended by now.
        let Ok(name) = fs::read_to_string(entry?.path().join("comm")) else { continue };
        *names.entry(name.trim_end().to_owned()).or_default() += 1;
    }
    Ok(names)
}

fn zombies(process: u32) -> Result<usize> {
    let mut count = 0;
    for entry in fs::read_dir("/proc")? {
        let Ok(stat) = fs::read_to_string(entry?.path().join("stat")) else { continue };
        let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
        let mut fields = fields.split_whitespace();
        if fields.next() == Some("Z") && fields.next() == Some(&process.to_string()) {
            count += 1;
        }
    }
    Ok(count)
}

/// Files in the directories of the daemon.
fn files(directory: &Path) -> Result<BTreeSet<PathBuf>> {
    let mut found = BTreeSet::new();
    for name in ["state", "run"] {
        for entry in fs::read_dir(directory.join(name))? {
            found.insert(entry?.path());
        }
    }
    Ok(found)
}

/// Tables of nftables on the gateway.
pub fn tables(world: &World) -> Result<BTreeSet<String>> {
    let text = run(world.network.gateway.command("nft").args(["list", "tables"]))?;
    Ok(text.lines().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_seen_while_an_interface_is_away() {
        let seen = || Ok(Holdings { inner_maps: 1, ..Holdings::default() });
        assert!(undisturbed(seen(), true).unwrap().is_none());
        assert!(undisturbed(Err(anyhow::anyhow!("its pin has gone")), true).unwrap().is_none());
        assert!(undisturbed(seen(), false).unwrap().is_some());
        assert!(undisturbed(Err(anyhow::anyhow!("no daemon")), false).is_err());
    }

    #[test]
    fn threads_are_known_by_their_names() {
        let (end, ended) = std::sync::mpsc::channel::<()>();
        let (begin, begun) = std::sync::mpsc::channel();
        let thread = std::thread::Builder::new().name("a leak of threads".to_owned());
        let thread = thread.spawn(move || {
            begin.send(()).unwrap();
            let _ = ended.recv();
        });
        begun.recv().unwrap();
        let names = threads(std::process::id()).unwrap();
        assert_eq!(names.get("a leak of threa"), Some(&1), "{names:?}");
        drop(end);
        thread.unwrap().join().unwrap();
    }
}
