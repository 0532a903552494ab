//! What belongs to the filter in the kernel, by the kernel's own numbers.

use std::{collections::BTreeSet, fs, path::Path, process::Command};

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::{namespace::run, pins};

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
}
