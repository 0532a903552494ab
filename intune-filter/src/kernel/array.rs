//! Changes elements of arrays that are in use.

use anyhow::{Context as _, Result};
use aya::{
    Pod,
    maps::{Array, MapData},
};

use super::Pins;

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
    for (index, value) in elements {
        if array.get(&index, 0)? != value {
            array.set(index, value, 0).with_context(|| format!("cannot change {name}"))?;
        }
    }
    Ok(())
}
