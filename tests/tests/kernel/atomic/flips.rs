//! Ways to change from one policy to the other and back.

use anyhow::{Context as _, Result};
use aya::maps::{Array, ArrayOfMaps, MapData};
use intune_filter::{
    kernel::{Kernel, Pins},
    policy::Policy,
};
use intune_filter_ebpf::abi::{Active, RuleMask, Settings};

/// The tables of a policy that stand in arrays of maps.
pub const TABLES: [&str; 10] = [
    "CLIENTS4",
    "CLIENTS6",
    "NETS4",
    "NETS6",
    "ANSWER_ACL4",
    "ANSWER_ACL6",
    "PORTS",
    "EDGES",
    "GLOBS",
    "SERVERS",
];

/// As a reload does it: a fresh set of tables, then the switch.
pub fn install(kernel: &Kernel, policies: &[Policy; 2], number: usize) -> Result<()> {
    kernel.install(&policies[number % 2], RuleMask::EMPTY).map(drop)
}

/// The switch alone, back and forth between two sets that stay as they are: as fast as can be.
pub fn switch(pins: &Pins) -> Result<()> {
    let mut map: Array<MapData, Active> = pins.map("ACTIVE")?;
    let mut active = map.get(&0, 0)?;
    active.generation += 1;
    map.set(0, active, 0).context("cannot switch")
}

/// A replacement of the tables in force one by one, which must never be done: shows that the tests
/// notice judgements by two policies at once.
pub struct Mixing {
    sets: Vec<(&'static str, [MapData; 2])>,
    settings: [Settings; 2],
}

impl Mixing {
    /// Takes the tables of two policies that were installed one after the other.
    pub fn of(pins: &Pins) -> Result<Self> {
        let mut sets = Vec::new();
        for name in TABLES {
            let outer: ArrayOfMaps<MapData> = pins.map(name)?;
            sets.push((name, [outer.get(&0, 0)?, outer.get(&1, 0)?]));
        }
        let map: Array<MapData, Settings> = pins.map("SETTINGS")?;
        Ok(Self { sets, settings: [map.get(&0, 0)?, map.get(&1, 0)?] })
    }

    /// Puts the tables of one policy in the place of those in force. `only` picks them.
    pub fn flip(&self, pins: &Pins, number: usize, only: impl Fn(&str) -> bool) -> Result<()> {
        let slot = pins.active()?.generation & 1;
        for (name, tables) in self.sets.iter().filter(|(name, _)| only(name)) {
            let mut outer: ArrayOfMaps<MapData> = pins.map(name)?;
            outer.set(slot, &tables[number % 2], 0)?;
        }
        if only("SETTINGS") {
            let mut map: Array<MapData, Settings> = pins.map("SETTINGS")?;
            map.set(slot, self.settings[number % 2], 0)?;
        }
        Ok(())
    }
}
