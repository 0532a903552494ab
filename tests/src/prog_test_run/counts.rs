//! Reads an array with a value for each CPU by one system call: aya needs one for each element, and
//! asks each time how many CPUs there are.

use std::{
    io,
    mem::zeroed,
    os::fd::{AsFd as _, AsRawFd as _},
};

use anyhow::{Context as _, Result, anyhow};
use aya::{
    Pod,
    maps::{MapData, PerCpuArray},
    util::nr_cpus,
};
use aya_obj::generated::{bpf_attr, bpf_cmd};
use intune_filter::kernel::Pins;

/// The first elements of an array, so many at most, each with the values of all CPUs.
pub(super) fn read<V: Pod>(pins: &Pins, name: &str, elements: usize) -> Result<Vec<Vec<V>>> {
    const { assert!(size_of::<V>().is_multiple_of(8), "the kernel puts no padding between values") };
    // A typed handle checks the sizes of keys and values.
    pins.map::<PerCpuArray<MapData, V>>(name)?;
    let map = pins.data(name)?;
    let cpus = nr_cpus().map_err(|(what, error)| anyhow!("{what}: {error}"))?;
    let mut keys = vec![0_u32; elements];
    let mut values = vec![0_u8; elements * cpus * size_of::<V>()];
    let mut position = 0_u32;
    // SAFETY: the union holds integers alone.
    let mut attr: bpf_attr = unsafe { zeroed() };
    attr.batch.out_batch = (&raw mut position) as u64;
    attr.batch.keys = keys.as_mut_ptr() as u64;
    attr.batch.values = values.as_mut_ptr() as u64;
    attr.batch.count = u32::try_from(elements)?;
    attr.batch.map_fd = map.fd().as_fd().as_raw_fd() as u32;
    let command = bpf_cmd::BPF_MAP_LOOKUP_BATCH as libc::c_int;
    // SAFETY: the attribute is as large as stated, and its pointers outlive the call.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, command, &raw mut attr, size_of::<bpf_attr>()) };
    let error = io::Error::last_os_error();
    // ENOENT: there are no more than these.
    if result < 0 && error.raw_os_error() != Some(libc::ENOENT) {
        return Err(error).with_context(|| format!("cannot read the map {name}"));
    }
    // SAFETY: an integer, which the kernel has written back.
    let count = unsafe { attr.batch.count } as usize;
    let of_element = values.chunks_exact(cpus * size_of::<V>()).take(count);
    let of_cpu = |chunk: &[u8]| {
        // SAFETY: a chunk of the type's size, whose every bit pattern is valid.
        unsafe { chunk.as_ptr().cast::<V>().read_unaligned() }
    };
    Ok(of_element.map(|all| all.chunks_exact(size_of::<V>()).map(of_cpu).collect()).collect())
}
