//! What the object says of its maps, and whether the pins agree.
//!
//! aya adopts a pinned map whatever it is. With a value of another size the first lookup would
//! write past a buffer, so that every pin is compared before anything is loaded.

use std::{collections::HashMap, fs};

use anyhow::{Context as _, Result, anyhow, bail};
use aya::maps::{ArrayOfMaps, Map, MapData, MapInfo};
use aya_obj::{EbpfSectionKind, Object, generated::bpf_map_type};

use super::directory::{PinDirectory, entries};
use crate::MAPS;

/// Maps whose names begin so are a program's working memory and die with it.
const SCRATCH: &str = "SCRATCH";

/// The ring of the programs' diagnostics: read by the process that loaded them, never pinned.
const LOGS: &str = "AYA_LOGS";

/// Room in a map that differs from the object's own: the map's name, its elements.
pub type Sizes = [(&'static str, u32)];

/// How a map is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Definition {
    /// `bpf_map_type`.
    pub kind: u32,
    /// Octets of a key.
    pub key: u32,
    /// Octets of a value.
    pub value: u32,
    /// Elements at most; of a ring, octets.
    pub room: u32,
    /// Flags of its creation.
    pub flags: u32,
}

impl Definition {
    /// What the object defines, with a size of the configuration's.
    fn of_object(map: &aya_obj::Map, room: Option<u32>) -> Self {
        let room = room.unwrap_or(map.max_entries());
        if map.map_type() == bpf_map_type::BPF_MAP_TYPE_RINGBUF as u32 {
            // The kernel knows neither keys nor values here, and wants whole pages, doubled.
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

    /// The first difference that makes a map unusable, as "what it has, what it should have".
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

/// The maps that the object defines, by their names. The object itself is not kept: of each function
/// it has the lines of all, tens of megabytes together.
pub type Maps = HashMap<String, aya_obj::Map>;

/// What the embedded object defines.
pub fn maps_of_object() -> Result<Maps> {
    let object = Object::parse(MAPS).context("the embedded BPF object does not parse")?;
    Ok(object.maps)
}

/// The names of the maps that are pinned, in the order of their names.
pub fn pinned_maps(maps: &Maps) -> Vec<&str> {
    let mut names: Vec<_> = maps
        .iter()
        .filter(|(name, map)| {
            matches!(map.section_kind(), EbpfSectionKind::Maps | EbpfSectionKind::BtfMaps)
                && !name.starts_with(SCRATCH)
                && *name != LOGS
        })
        .map(|(name, _)| name.as_str())
        .collect();
    names.sort_unstable();
    names
}

/// Compares every pin with the object. A pin that differs in nothing but its room is removed, to
/// be made anew, if nothing is attached that works with it; all else is an error.
pub fn reconcile(directory: &PinDirectory, maps: &Maps, sizes: &Sizes) -> Result<()> {
    let attached = !entries(&directory.links())?.is_empty();
    for name in pinned_maps(maps) {
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

/// Removes pins of maps that the object no longer has.
pub fn remove_leftovers(directory: &PinDirectory, maps: &Maps) -> Result<()> {
    let known = pinned_maps(maps);
    for name in entries(&directory.maps())? {
        if !known.contains(&name.as_str()) {
            let path = directory.map(&name);
            fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
    }
    Ok(())
}

/// The definition of the maps inside an array of maps.
pub fn inner_definition(maps: &Maps, outer: &str) -> Result<Definition> {
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
    // SAFETY: no preconditions.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    u32::try_from(size).unwrap_or(4096)
}
