//! Objects of the filter in the kernel, by the kernel's own numbers.

use std::{collections::BTreeSet, fs, path::Path, process::Command};

use anyhow::Result;
use aya::{
    maps::{ArrayOfMaps, Map, MapData, MapInfo, MapType},
    programs::ProgramInfo,
};
use serde_json::Value;

use intune_filter_tests::{namespace::run, pins};

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

    /// Objects that the kernel still has.
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

/// Objects of the filter in the kernel at this moment.
pub fn objects(directory: &Path, process: u32) -> Result<Objects> {
    let mut objects = Objects::default();
    for path in pins::pins(directory, "programs")? {
        objects.programs.insert(ProgramInfo::from_pin(&path)?.id().into());
    }
    for path in pins::pins(directory, "maps")? {
        let info = MapInfo::from_pin(&path)?;
        objects.maps.insert(info.id().into());
        if info.map_type()? == MapType::ArrayOfMaps {
            objects.inner.extend(inner_maps(&path, info.max_entries())?);
        }
    }
    let links = pins::ids(directory, "links")?;
    objects.links.extend(links.into_values().filter(|id| *id != 0));
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

/// Ids of the maps in an array of maps; some of its slots may be empty.
fn inner_maps(path: &Path, slots: u32) -> Result<Vec<u64>> {
    let map = Map::from_map_data(MapData::from_pin(path)?)?;
    let array: ArrayOfMaps<MapData> = map.try_into()?;
    let inner = (0..slots).filter_map(|slot| array.get(&slot, 0).ok());
    inner.map(|inner: MapData| Ok(inner.info()?.id().into())).collect()
}
