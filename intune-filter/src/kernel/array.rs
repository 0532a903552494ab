//! Reads arrays whole, and changes elements of those that are in use.

use std::{collections::HashMap, os::fd::AsFd as _};

use anyhow::{Context as _, Result};
use aya::{
    Pod,
    maps::{Array, MapData},
};

use super::{Pins, syscall};

impl Pins {
    /// Every element of a pinned array with its index, by a few system calls.
    ///
    /// # Errors
    /// The map cannot be read.
    pub fn array_elements<V: Pod>(&self, name: &str) -> Result<Vec<(u32, V)>> {
        // The typed handle checks the size of values.
        self.map::<Array<MapData, V>>(name)?;
        let map = self.data(name)?;
        syscall::elements(map.fd().as_fd()).with_context(|| format!("cannot read the map {name}"))
    }
}

/// Makes elements of an array these, by their indices; those that are so already are not written to.
///
/// # Errors
/// The map cannot be read or written.
pub(super) fn set_elements<V: Pod + PartialEq>(
    pins: &Pins,
    name: &str,
    elements: impl IntoIterator<Item = (u32, V)>,
) -> Result<()> {
    let mut array: Array<MapData, V> = pins.map(name)?;
    // Thousands of elements: asked for one by one, they would take the most of a start.
    let are: HashMap<u32, V> = pins.array_elements(name)?.into_iter().collect();
    for (index, value) in elements {
        if are.get(&index) != Some(&value) {
            array.set(index, value, 0).with_context(|| format!("cannot change {name}"))?;
        }
    }
    Ok(())
}
