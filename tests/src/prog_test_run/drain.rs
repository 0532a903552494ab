//! Empties a hash map at one go, and tells what was in it: the fastest way to look at what each of
//! a million packets has left there.

use std::{
    io,
    marker::PhantomData,
    mem::zeroed,
    os::fd::{AsFd as _, AsRawFd as _},
};

use anyhow::{Context as _, Result};
use aya::{
    Pod,
    maps::{Array, MapData},
};
use aya_obj::generated::{bpf_attr, bpf_cmd};
use intune_filter::kernel::Pins;
use intune_filter_ebpf::abi::{COUNT_ROOM, host_count};

/// Elements that the map has at most.
const ELEMENTS: usize = 256;

/// Has the programs count no learned addresses, for those who drain them: nothing takes what was
/// drained off the counts, and soon no client would have a share left.
pub fn count_no_hosts(pins: &Pins) -> Result<()> {
    let mut counts: Array<MapData, u64> = pins.map("HOST_COUNTS")?;
    for table in [0, 1] {
        counts.set(host_count(table, COUNT_ROOM), 0, 0)?;
    }
    Ok(())
}

/// A pinned map, and room for what is in it.
#[derive(Debug)]
pub struct Drain<K, V> {
    map: MapData,
    keys: Vec<u8>,
    values: Vec<u8>,
    types: PhantomData<(K, V)>,
}

impl<K: Pod, V: Pod> Drain<K, V> {
    /// Opens the map of this name.
    pub fn open(pins: &Pins, name: &str) -> Result<Self> {
        // A typed handle checks the sizes of keys and values.
        pins.map::<aya::maps::HashMap<MapData, K, V>>(name)?;
        Ok(Self {
            map: pins.data(name)?,
            keys: vec![0; ELEMENTS * size_of::<K>()],
            values: vec![0; ELEMENTS * size_of::<V>()],
            types: PhantomData,
        })
    }

    /// Takes everything out.
    pub fn take(&mut self) -> Result<Vec<(K, V)>> {
        let mut position = vec![0_u8; size_of::<K>().max(8)];
        // SAFETY: the union holds integers alone.
        let mut attr: bpf_attr = unsafe { zeroed() };
        attr.batch.out_batch = position.as_mut_ptr() as u64;
        attr.batch.keys = self.keys.as_mut_ptr() as u64;
        attr.batch.values = self.values.as_mut_ptr() as u64;
        attr.batch.count = ELEMENTS as u32;
        attr.batch.map_fd = self.map.fd().as_fd().as_raw_fd() as u32;
        let command = bpf_cmd::BPF_MAP_LOOKUP_AND_DELETE_BATCH;
        // SAFETY: the attribute is as large as stated, and its pointers outlive the call.
        let result = unsafe {
            libc::syscall(
                libc::SYS_bpf,
                command as libc::c_int,
                &raw mut attr,
                size_of::<bpf_attr>(),
            )
        };
        let error = io::Error::last_os_error();
        // ENOENT: there are no more than these.
        if result < 0 && error.raw_os_error() != Some(libc::ENOENT) {
            return Err(error).context("cannot empty a map");
        }
        // SAFETY: an integer, which the kernel has written back.
        let count = unsafe { attr.batch.count } as usize;
        let keys = self.keys.chunks_exact(size_of::<K>());
        let values = self.values.chunks_exact(size_of::<V>());
        let read = |(key, value): (&[u8], &[u8])| {
            // SAFETY: chunks of the types' sizes, whose every bit pattern is valid.
            unsafe {
                (
                    key.as_ptr().cast::<K>().read_unaligned(),
                    value.as_ptr().cast::<V>().read_unaligned(),
                )
            }
        };
        Ok(keys.zip(values).take(count).map(read).collect())
    }
}
