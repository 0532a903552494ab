//! Empties and reads maps whatever their kind, keys and values, as no typed handle does.

use std::{
    collections::BTreeMap,
    io,
    mem::zeroed,
    os::fd::{AsFd as _, AsRawFd as _},
};

use anyhow::{Context as _, Result, anyhow, bail};
use aya::{
    maps::{MapData, MapInfo, MapType},
    util::nr_cpus,
};
use aya_obj::generated::{bpf_attr, bpf_cmd};

/// Keys and values of a map, as octets.
pub type Contents = BTreeMap<Vec<u8>, Vec<u8>>;

/// Reads a map; of a queue its first value, and of a ring nothing.
pub(super) fn contents(map: &MapData) -> Result<Contents> {
    let info = map.info()?;
    let mut all = Contents::new();
    let (mut key, mut value) = (vec![0; info.key_size() as usize], value_of(&info)?);
    let lookup = bpf_cmd::BPF_MAP_LOOKUP_ELEM;
    match info.map_type()? {
        MapType::RingBuf => {}
        MapType::Queue => {
            if unless(element(lookup, map, &[], &mut value), libc::ENOENT)? {
                all.insert(Vec::new(), value);
            }
        }
        _ => {
            let mut before: Option<Vec<u8>> = None;
            while unless(next_key(map, before.as_deref(), &mut key), libc::ENOENT)? {
                if unless(element(lookup, map, &key, &mut value), libc::ENOENT)? {
                    all.insert(key.clone(), value.clone());
                }
                before = Some(key.clone());
            }
        }
    }
    Ok(all)
}

/// Room for a value, or, where each CPU has one, for all of them, which are padded.
fn value_of(info: &MapInfo) -> Result<Vec<u8>> {
    let size = info.value_size() as usize;
    Ok(match info.map_type()? {
        MapType::PerCpuArray | MapType::PerCpuHash => {
            let cpus = nr_cpus().map_err(|(what, error)| anyhow!("{what}: {error}"))?;
            vec![0; size.next_multiple_of(8) * cpus]
        }
        _ => vec![0; size],
    })
}

/// Makes a map as it was when it was created: without elements, or all of them zero.
pub(super) fn empty(map: &MapData) -> Result<()> {
    let info = map.info()?;
    let name = info.name_as_str().unwrap_or("a map").to_owned();
    let emptied = match info.map_type()? {
        MapType::Hash | MapType::LruHash | MapType::LpmTrie | MapType::PerCpuHash => {
            remove_all(map, &info)
        }
        MapType::Array | MapType::PerCpuArray => zero_all(map, &info, value_of(&info)?),
        MapType::ArrayOfMaps => (0..info.max_entries()).try_for_each(|index| {
            let removed = element(bpf_cmd::BPF_MAP_DELETE_ELEM, map, &index.to_ne_bytes(), &mut []);
            unless(removed, libc::ENOENT).map(|_| ())
        }),
        MapType::Queue => take_all(map, &info),
        // The reader empties it.
        MapType::RingBuf => Ok(()),
        other => bail!("{name} is of a kind that nobody empties: {other:?}"),
    };
    emptied.with_context(|| format!("cannot empty {name}"))
}

fn remove_all(map: &MapData, info: &MapInfo) -> io::Result<()> {
    let mut key = vec![0; info.key_size() as usize];
    while unless(next_key(map, None, &mut key), libc::ENOENT)? {
        unless(element(bpf_cmd::BPF_MAP_DELETE_ELEM, map, &key, &mut []), libc::ENOENT)?;
    }
    Ok(())
}

fn take_all(map: &MapData, info: &MapInfo) -> io::Result<()> {
    let mut value = vec![0; info.value_size() as usize];
    let take = bpf_cmd::BPF_MAP_LOOKUP_AND_DELETE_ELEM;
    while unless(element(take, map, &[], &mut value), libc::ENOENT)? {}
    Ok(())
}

fn zero_all(map: &MapData, info: &MapInfo, mut value: Vec<u8>) -> io::Result<()> {
    let (keys, values) = first_elements(map, info.max_entries() as usize, value.len())?;
    for (key, octets) in keys.iter().zip(values.chunks_exact(value.len())) {
        if octets.iter().any(|octet| *octet != 0) {
            value.fill(0);
            element(bpf_cmd::BPF_MAP_UPDATE_ELEM, map, &key.to_ne_bytes(), &mut value)?;
        }
    }
    Ok(())
}

/// The first elements of an array, so many at most, whose values have so many octets, those of all CPUs
/// together; by one system call. Aya needs one for each element.
pub(super) fn first_elements(
    map: &MapData,
    elements: usize,
    value: usize,
) -> io::Result<(Vec<u32>, Vec<u8>)> {
    let (mut keys, mut position) = (vec![0_u32; elements], 0_u32);
    let mut values = vec![0_u8; value * elements];
    // SAFETY: the union consists of integers, for which zero is valid.
    let mut attr: bpf_attr = unsafe { zeroed() };
    attr.batch.out_batch = (&raw mut position) as u64;
    attr.batch.keys = keys.as_mut_ptr() as u64;
    attr.batch.values = values.as_mut_ptr() as u64;
    attr.batch.count = u32::try_from(elements).unwrap_or(u32::MAX);
    attr.batch.map_fd = map.fd().as_fd().as_raw_fd() as u32;
    // There are no more than these.
    unless(bpf(bpf_cmd::BPF_MAP_LOOKUP_BATCH, &mut attr), libc::ENOENT)?;
    // SAFETY: an integer, which the kernel has written back.
    let count = unsafe { attr.batch.count } as usize;
    keys.truncate(count);
    values.truncate(count * value);
    Ok((keys, values))
}

/// Whether it succeeded, where this error is none.
fn unless(result: io::Result<()>, none: i32) -> io::Result<bool> {
    match result {
        Ok(()) => Ok(true),
        Err(error) if error.raw_os_error() == Some(none) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Finds the key after another, or the first.
fn next_key(map: &MapData, before: Option<&[u8]>, key: &mut [u8]) -> io::Result<()> {
    // SAFETY: the union consists of integers, for which zero is valid.
    let mut attr: bpf_attr = unsafe { zeroed() };
    attr.__bindgen_anon_2.map_fd = map.fd().as_fd().as_raw_fd() as u32;
    attr.__bindgen_anon_2.key = before.map_or(0, |key| key.as_ptr() as u64);
    attr.__bindgen_anon_2.__bindgen_anon_1.next_key = key.as_mut_ptr() as u64;
    bpf(bpf_cmd::BPF_MAP_GET_NEXT_KEY, &mut attr)
}

fn element(command: bpf_cmd, map: &MapData, key: &[u8], value: &mut [u8]) -> io::Result<()> {
    // SAFETY: the union consists of integers, for which zero is valid.
    let mut attr: bpf_attr = unsafe { zeroed() };
    attr.__bindgen_anon_2.map_fd = map.fd().as_fd().as_raw_fd() as u32;
    attr.__bindgen_anon_2.key = if key.is_empty() { 0 } else { key.as_ptr() as u64 };
    attr.__bindgen_anon_2.__bindgen_anon_1.value =
        if value.is_empty() { 0 } else { value.as_mut_ptr() as u64 };
    bpf(command, &mut attr)
}

fn bpf(command: bpf_cmd, attr: &mut bpf_attr) -> io::Result<()> {
    let size = size_of::<bpf_attr>();
    // SAFETY: the attribute has the stated size, and its pointers lead to as many octets as the map's
    // keys and values have, and outlive the call.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, command as libc::c_int, &raw mut *attr, size) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
