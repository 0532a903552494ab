//! Compares the object's map definitions with the pinned maps.
//!
//! aya adopts a pinned map without a check. With a value of another size the first lookup would
//! write past a buffer, so every pin is compared before anything is loaded.

use std::{collections::HashMap, fs};

use anyhow::{Context as _, Result, anyhow, bail};
use aya::maps::{ArrayOfMaps, Map, MapData, MapInfo};
use aya_obj::{Object, generated::bpf_map_type};
use intune_filter_ebpf::maps::{MAPS, MapRow, Scope};
use nix::unistd::{SysconfVar, sysconf};

use super::directory::{PinDirectory, entries};
use crate::MAPS as OBJECT_MAPS;

/// Capacities that differ from the object's: names of maps, with elements or octets.
pub type Sizes = [(&'static str, u32)];

/// Layout of a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Definition {
    /// Type, a `bpf_map_type`.
    pub kind: u32,
    /// Octets of a key.
    pub key: u32,
    /// Octets of a value.
    pub value: u32,
    /// Capacity in elements; of a ring buffer, in octets.
    pub room: u32,
    /// Flags of the map's creation.
    pub flags: u32,
}

impl Definition {
    /// Returns the object's definition, with the configuration's capacity if there is one.
    fn of_object(map: &aya_obj::Map, room: Option<u32>) -> Self {
        let room = room.unwrap_or(map.max_entries());
        if map.map_type() == bpf_map_type::BPF_MAP_TYPE_RINGBUF as u32 {
            // The kernel knows neither keys nor values of a ring buffer, and takes a power of two
            // of whole pages.
            let room = room.next_multiple_of(page_size()).next_power_of_two();
            return Self { kind: map.map_type(), key: 0, value: 0, room, flags: map.map_flags() };
        }
        Self {
            kind: map.map_type(),
            key: map.key_size(),
            value: map.value_size(),
            room,
            flags: map.map_flags(),
        }
    }

    fn of_kernel(info: &MapInfo) -> Result<Self> {
        Ok(Self {
            kind: info.map_type()? as u32,
            key: info.key_size(),
            value: info.value_size(),
            room: info.max_entries(),
            flags: info.map_flags(),
        })
    }

    /// Describes the first difference that makes a map unusable: the map's value, and the wanted
    /// one.
    fn conflict(&self, wanted: &Self) -> Option<String> {
        [
            ("type", self.kind, wanted.kind),
            ("key size", self.key, wanted.key),
            ("value size", self.value, wanted.value),
            ("flags", self.flags, wanted.flags),
        ]
        .into_iter()
        .find(|(_, has, wants)| has != wants)
        .map(|(what, has, wants)| format!("{what} {has}, and this program needs {wants}"))
    }
}

/// Definitions of the object's maps, by name. The object itself is not kept: every function in it
/// carries the line information of all, tens of megabytes together.
pub(super) type MapDefinitions = HashMap<String, aya_obj::Map>;

/// Parses the map definitions of the embedded object.
pub(super) fn maps_of_object() -> Result<MapDefinitions> {
    let object = Object::parse(OBJECT_MAPS).context("the embedded BPF object does not parse")?;
    Ok(object.maps)
}

/// Returns the names of the maps that are pinned.
pub(super) fn pinned_maps() -> impl Iterator<Item = &'static str> {
    let is_pinned = |row: &&MapRow| matches!(row.scope, Scope::Pinned | Scope::Policy);
    MAPS.iter().filter(is_pinned).map(|row| row.name)
}

/// Compares every pin with the object. A pin that differs in its capacity alone is removed, to be
/// created anew, if no attached program uses it; any other difference is an error.
pub(super) fn reconcile(
    directory: &PinDirectory,
    maps: &MapDefinitions,
    sizes: &Sizes,
) -> Result<()> {
    let attached = !entries(&directory.links())?.is_empty();
    for name in pinned_maps() {
        let path = directory.map(name);
        if !path.exists() {
            continue;
        }
        let Some(map) = maps.get(name) else { continue };
        let size = sizes.iter().find(|(map, _)| *map == name).map(|(_, room)| *room);
        let wanted = Definition::of_object(map, size);
        let pin = MapData::from_pin(&path)
            .with_context(|| format!("cannot open the pinned map {}", path.display()))?;
        let found = Definition::of_kernel(&pin.info()?)?;
        let foreign = |difference: String| {
            anyhow!(
                "the pinned map {} was made by another build: it has {difference}; \
                 `intune-filter detach` removes it, and with it the enforcement until the next \
                 `intune-filter run`",
                path.display()
            )
        };
        if let Some(difference) = found.conflict(&wanted) {
            return Err(foreign(difference));
        }
        if let Some(inner) = map.inner() {
            let inner = Definition::of_object(&inner, None);
            if let Some(difference) = inner_conflict(pin, &inner)? {
                return Err(foreign(format!("an inner map with {difference}")));
            }
        }
        if found.room != wanted.room {
            if attached {
                bail!(
                    "the map {name} in force has room for {}, and the configuration says {}: \
                     run `intune-filter detach` and start again, or set the size back",
                    found.room,
                    wanted.room
                );
            }
            log::info!("map {name}: making it anew with room for {}", wanted.room);
            fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
    }
    Ok(())
}

/// Removes pins of maps that the object no longer defines.
pub(super) fn remove_leftovers(directory: &PinDirectory) -> Result<()> {
    for name in entries(&directory.maps())? {
        if !pinned_maps().any(|known| known == name) {
            let path = directory.map(&name);
            fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
    }
    Ok(())
}

/// Returns the definition of the maps inside an array of maps.
pub(super) fn inner_definition(maps: &MapDefinitions, outer: &str) -> Result<Definition> {
    let inner = maps
        .get(outer)
        .and_then(aya_obj::Map::inner)
        .with_context(|| format!("the object has no array of maps {outer}"))?;
    Ok(Definition::of_object(&inner, None))
}

fn inner_conflict(outer: MapData, wanted: &Definition) -> Result<Option<String>> {
    let outer = ArrayOfMaps::<MapData>::try_from(Map::from_map_data(outer)?)?;
    for index in 0..outer.len() {
        // An empty slot is no conflict.
        let Ok(inner) = outer.get(&index, 0) else { continue };
        if let Some(difference) = Definition::of_kernel(&inner.info()?)?.conflict(wanted) {
            return Ok(Some(difference));
        }
    }
    Ok(None)
}

fn page_size() -> u32 {
    let size = sysconf(SysconfVar::PAGE_SIZE).ok().flatten();
    size.and_then(|size| u32::try_from(size).ok()).unwrap_or(4096)
}

#[cfg(test)]
mod tests {
    use aya_obj::EbpfSectionKind;
    use intune_filter_ebpf::maps::MapKind;

    use super::*;

    fn kind_of(kind: MapKind) -> bpf_map_type {
        match kind {
            MapKind::Array => bpf_map_type::BPF_MAP_TYPE_ARRAY,
            MapKind::Hash => bpf_map_type::BPF_MAP_TYPE_HASH,
            MapKind::LruHash => bpf_map_type::BPF_MAP_TYPE_LRU_HASH,
            MapKind::LpmTrie => bpf_map_type::BPF_MAP_TYPE_LPM_TRIE,
            MapKind::PerCpuArray => bpf_map_type::BPF_MAP_TYPE_PERCPU_ARRAY,
            MapKind::PerCpuHash => bpf_map_type::BPF_MAP_TYPE_PERCPU_HASH,
            MapKind::ProgramArray => bpf_map_type::BPF_MAP_TYPE_PROG_ARRAY,
            MapKind::Queue => bpf_map_type::BPF_MAP_TYPE_QUEUE,
            MapKind::RingBuf => bpf_map_type::BPF_MAP_TYPE_RINGBUF,
        }
    }

    fn wanted(row: &MapRow) -> Definition {
        let kind = kind_of(row.kind) as u32;
        let (key, value, flags) = match row.kind {
            MapKind::RingBuf => (0, 0, 0),
            // A key begins with the prefix length, in four octets; a trie, and a
            // hash of values per CPU, allocate elements on demand.
            MapKind::LpmTrie => (4 + row.key, row.value, 1),
            MapKind::PerCpuHash => (row.key, row.value, 1),
            _ => (row.key, row.value, 0),
        };
        Definition { kind, key, value, room: row.entries, flags }
    }

    #[test]
    fn the_object_has_the_maps_of_the_table() {
        let maps = maps_of_object().expect("the embedded object parses");
        let is_map = |map: &aya_obj::Map| {
            matches!(map.section_kind(), EbpfSectionKind::Maps | EbpfSectionKind::BtfMaps)
        };
        let there = maps.iter().filter(|(_, map)| is_map(map)).map(|(name, _)| name.as_str());
        let mut there: Vec<_> = there.filter(|name| *name != "AYA_LOGS").collect();
        let mut rows: Vec<_> = MAPS.iter().map(|row| row.name).collect();
        there.sort_unstable();
        rows.sort_unstable();
        assert_eq!(there, rows);
        for row in MAPS {
            let mut map = Definition::of_object(&maps[row.name], None);
            if row.scope == Scope::Policy {
                assert_eq!(map.kind, bpf_map_type::BPF_MAP_TYPE_ARRAY_OF_MAPS as u32);
                assert_eq!((map.key, map.value, map.room), (4, 4, 2), "{}", row.name);
                map = inner_definition(&maps, row.name).expect("it has inner maps");
            }
            assert_eq!(map, wanted(row), "{}", row.name);
        }
    }
}
