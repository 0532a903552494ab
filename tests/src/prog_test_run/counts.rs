//! Reads an array with a value for each CPU by one system call: aya needs one for each element, and
//! asks each time how many CPUs there are.

use anyhow::{Context as _, Result, anyhow};
use aya::{
    Pod,
    maps::{MapData, PerCpuArray},
    util::nr_cpus,
};
use intune_filter::kernel::Pins;

use super::raw::first_elements;

/// The first elements of an array, so many at most, each with the values of all CPUs.
pub(super) fn read<V: Pod>(pins: &Pins, name: &str, elements: usize) -> Result<Vec<Vec<V>>> {
    const { assert!(size_of::<V>().is_multiple_of(8), "the kernel puts no padding between values") };
    // A typed handle checks the sizes of keys and values.
    pins.map::<PerCpuArray<MapData, V>>(name)?;
    let map = pins.data(name)?;
    let cpus = nr_cpus().map_err(|(what, error)| anyhow!("{what}: {error}"))?;
    let (_, values) = first_elements(&map, elements, cpus * size_of::<V>())
        .with_context(|| format!("cannot read the map {name}"))?;
    let of_element = values.chunks_exact(cpus * size_of::<V>());
    let of_cpu = |chunk: &[u8]| {
        // SAFETY: a chunk of the type's size, whose every bit pattern is valid.
        unsafe { chunk.as_ptr().cast::<V>().read_unaligned() }
    };
    Ok(of_element.map(|all| all.chunks_exact(size_of::<V>()).map(of_cpu).collect()).collect())
}
