//! What must not grow: memory, descriptors, threads, pins, objects in the kernel, map entries,
//! files, tables of nftables, dead processes.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::world::{World, lock};
use crate::{namespace::run, pins};

/// What a daemon holds at a moment when nothing is being done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holdings {
    /// Open descriptors by what they are.
    pub descriptors: BTreeMap<String, usize>,
    /// Threads.
    pub threads: usize,
    /// Dead children that nobody has asked for.
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
    /// What the daemon holds.
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
            threads: fs::read_dir(format!("/proc/{process}/task"))?.count(),
            zombies: zombies(process)?,
            pins: found.into_iter().flatten().collect(),
            files: files(world.directory.path())?,
            tables: tables(world)?,
            inner_maps: objects(&directory, process)?.inner.len(),
        })
    }

    /// What there is more of than before, in words.
    #[must_use]
    pub fn grown(&self, before: &Self) -> Vec<(&'static str, String)> {
        let mut grown = Vec::new();
        for (kind, count) in &self.descriptors {
            let earlier = before.descriptors.get(kind).copied().unwrap_or(0);
            if *count > earlier {
                grown.push(("descriptors", format!("{kind}: {earlier}, then {count}")));
            }
        }
        for (check, earlier, later) in [
            ("threads", before.threads, self.threads),
            ("zombies", 0, self.zombies),
            ("kernel objects", before.inner_maps, self.inner_maps),
        ] {
            if later > earlier {
                grown.push((check, format!("{earlier}, then {later}")));
            }
        }
        let more = |check, earlier: &BTreeSet<PathBuf>, later: &BTreeSet<PathBuf>| {
            let new: Vec<_> = later.difference(earlier).collect();
            (!new.is_empty()).then(|| (check, format!("{new:?}")))
        };
        grown.extend(more("pins", &before.pins, &self.pins));
        grown.extend(more("files", &before.files, &self.files));
        if self.tables != before.tables {
            grown.push(("nftables", format!("{:?}, then {:?}", before.tables, self.tables)));
        }
        grown
    }
}

/// Resident octets of a process.
pub fn resident(process: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let text = line.and_then(|text| text.split_whitespace().next()).context("no VmRSS")?;
    Ok(text.parse::<u64>()? * 1024)
}

/// Open descriptors by kind: what a link names, without the numbers in it.
fn descriptors(process: u32) -> Result<BTreeMap<String, usize>> {
    let mut kinds = BTreeMap::new();
    for entry in fs::read_dir(format!("/proc/{process}/fd"))? {
        // It may be closed by now.
        let Ok(target) = fs::read_link(entry?.path()) else { continue };
        let kind = target.to_string_lossy();
        let kind = kind.split(":[").next().unwrap_or_default().to_owned();
        *kinds.entry(kind).or_default() += 1;
    }
    Ok(kinds)
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

/// Ids of what belongs to this filter in the kernel.
#[derive(Clone, Debug, Default)]
pub struct Objects {
    /// Programs.
    pub programs: BTreeSet<u64>,
    /// Maps, by their pins or as the daemon holds them.
    pub maps: BTreeSet<u64>,
    /// Maps in maps.
    pub inner: BTreeSet<u64>,
    /// Links.
    pub links: BTreeSet<u64>,
}

impl Objects {
    /// Adds others.
    pub fn add(&mut self, other: Self) {
        self.programs.extend(other.programs);
        self.maps.extend(other.maps);
        self.inner.extend(other.inner);
        self.links.extend(other.links);
    }

    /// Those that the kernel still has.
    pub fn left(&self) -> Result<Vec<String>> {
        let mut left = Vec::new();
        let maps: BTreeSet<u64> = self.maps.union(&self.inner).copied().collect();
        for (kind, ids) in [("prog", &self.programs), ("map", &maps), ("link", &self.links)] {
            let text = run(Command::new("bpftool").args(["--json", kind, "show"]))?;
            let all: Value = serde_json::from_str(&text)?;
            for object in all.as_array().into_iter().flatten() {
                let id = object["id"].as_u64().unwrap_or(0);
                if ids.contains(&id) {
                    let name = object["name"].as_str().unwrap_or_default();
                    left.push(format!("{kind} {id} {name}"));
                }
            }
        }
        Ok(left)
    }
}

/// The id of a map in a map: the value's octets, the least significant first.
fn inner_map(element: &Value) -> Option<u64> {
    let octets = element["value"].as_array()?.iter().rev();
    octets.map(Value::as_str).try_fold(0, |number, text| {
        let octet = u64::from_str_radix(text?.strip_prefix("0x")?, 16).ok()?;
        Some(number << 8 | octet)
    })
}

/// What belongs to the filter in the kernel at this moment.
pub fn objects(directory: &Path, process: u32) -> Result<Objects> {
    let ids = |kind| -> Result<BTreeSet<u64>> {
        Ok(pins::ids(directory, kind)?.into_values().filter(|id| *id != 0).collect())
    };
    let mut objects = Objects {
        programs: ids("programs")?,
        maps: ids("maps")?,
        inner: BTreeSet::new(),
        links: ids("links")?,
    };
    for path in pins::pins(directory, "maps")? {
        let mut show = Command::new("bpftool");
        let text = run(show.args(["--json", "map", "show", "pinned"]).arg(&path))?;
        let map: Value = serde_json::from_str(&text)?;
        if map["type"] == "array_of_maps" {
            let mut dump = Command::new("bpftool");
            let text = run(dump.args(["--json", "map", "dump", "pinned"]).arg(&path))?;
            let dump: Value = serde_json::from_str(&text)?;
            for element in dump.as_array().into_iter().flatten() {
                objects.inner.insert(inner_map(element).context("a map in a map has an id")?);
            }
        }
    }
    for entry in fs::read_dir(format!("/proc/{process}/fdinfo"))? {
        let Ok(text) = fs::read_to_string(entry?.path()) else { continue };
        for line in text.lines() {
            let Some((key, value)) = line.split_once(':') else { continue };
            let Ok(id) = value.trim().parse() else { continue };
            match key {
                "map_id" => objects.maps.insert(id),
                "prog_id" => objects.programs.insert(id),
                "link_id" => objects.links.insert(id),
                _ => continue,
            };
        }
    }
    Ok(objects)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_of_a_map_in_a_map_is_read() {
        let element = serde_json::json!({"value": ["0x96", "0xfd", "0x00", "0x00"]});
        assert_eq!(inner_map(&element), Some(0xfd96));
        assert_eq!(inner_map(&serde_json::json!({"value": ["96"]})), None);
        assert_eq!(inner_map(&serde_json::json!({"inner_map_id": 3})), None);
    }

    #[test]
    fn what_has_grown_is_named_and_what_has_shrunk_is_not() {
        let before = Holdings {
            descriptors: [("socket".to_owned(), 2), ("pipe".to_owned(), 2)].into(),
            threads: 3,
            inner_maps: 20,
            ..Holdings::default()
        };
        assert!(before.grown(&before).is_empty());
        let mut after = before.clone();
        after.descriptors = [("socket".to_owned(), 3)].into();
        (after.threads, after.inner_maps, after.zombies) = (2, 21, 1);
        after.pins.insert("links/100-ingress".into());
        let checks: Vec<_> = after.grown(&before).into_iter().map(|(check, _)| check).collect();
        assert_eq!(checks, ["descriptors", "zombies", "kernel objects", "pins"]);
    }
}
