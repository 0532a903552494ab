//! Wraps the bpf(2) commands that aya has no function for.

use std::{
    ffi::CString,
    fs, io,
    mem::{MaybeUninit, zeroed},
    os::{
        fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd},
        unix::ffi::OsStrExt as _,
    },
    path::Path,
};

use anyhow::{Context as _, Result};
use aya::Pod;
use aya_obj::generated::{
    bpf_attach_type, bpf_attr, bpf_cmd, bpf_link_info, bpf_link_type, bpf_prog_info,
};
use nix::libc;

use super::pod;

/// State of an XDP or TCX link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LinkState {
    /// Id of the program.
    pub program: u32,
    /// Index of the interface; 0 once the interface is gone.
    pub ifindex: u32,
}

/// Opens the object pinned at `path`.
pub(super) fn open_pin(path: &Path) -> io::Result<OwnedFd> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: the union consists of integers, for which zero is valid.
    let mut attr: bpf_attr = unsafe { zeroed() };
    attr.__bindgen_anon_4.pathname = path.as_ptr() as u64;
    let fd = bpf(bpf_cmd::BPF_OBJ_GET, &mut attr)?;
    // SAFETY: the kernel has just returned this descriptor, and nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Pins a program in place of an earlier one. Opening the pin yields the old or the new program at any
/// time.
pub(super) fn replace_pin(program: BorrowedFd<'_>, path: &Path) -> Result<()> {
    let mut new = path.as_os_str().to_owned();
    new.push("_new");
    let new = Path::new(&new);
    let _ = fs::remove_file(new);
    pin(program, new).with_context(|| format!("cannot pin {}", new.display()))?;
    fs::rename(new, path).with_context(|| format!("cannot pin {}", path.display()))
}

/// Returns the state of an XDP or TCX link; fails for any other object.
pub(super) fn link_state(link: BorrowedFd<'_>) -> io::Result<LinkState> {
    // SAFETY: the structure consists of integers, for which zero is valid.
    let mut info: bpf_link_info = unsafe { zeroed() };
    // SAFETY: the union consists of integers, for which zero is valid.
    let mut attr: bpf_attr = unsafe { zeroed() };
    attr.info.bpf_fd = link.as_raw_fd() as u32;
    attr.info.info_len = size_of::<bpf_link_info>() as u32;
    attr.info.info = &raw mut info as u64;
    bpf(bpf_cmd::BPF_OBJ_GET_INFO_BY_FD, &mut attr)?;
    // SAFETY: the kernel has filled the member that the type names; both are plain integers.
    let ifindex = unsafe {
        match info.type_ {
            kind if kind == bpf_link_type::BPF_LINK_TYPE_XDP as u32 => {
                info.__bindgen_anon_1.xdp.ifindex
            }
            kind if kind == bpf_link_type::BPF_LINK_TYPE_TCX as u32 => {
                info.__bindgen_anon_1.tcx.ifindex
            }
            _ => return Err(io::Error::new(io::ErrorKind::InvalidData, "not an XDP or TCX link")),
        }
    };
    Ok(LinkState { program: info.prog_id, ifindex })
}

/// Returns the id of a program.
pub(super) fn program_id(program: BorrowedFd<'_>) -> io::Result<u32> {
    // SAFETY: the structure consists of integers, for which zero is valid.
    let mut info: bpf_prog_info = unsafe { zeroed() };
    // SAFETY: the union consists of integers, for which zero is valid.
    let mut attr: bpf_attr = unsafe { zeroed() };
    attr.info.bpf_fd = program.as_raw_fd() as u32;
    attr.info.info_len = size_of::<bpf_prog_info>() as u32;
    attr.info.info = &raw mut info as u64;
    bpf(bpf_cmd::BPF_OBJ_GET_INFO_BY_FD, &mut attr)?;
    Ok(info.id)
}

/// Attaches a program to an interface: XDP in the mode of `flags`, or TCX at the head.
///
/// aya's own attachment falls back to one without a link when the kernel returns EINVAL: such a
/// program could be neither pinned nor replaced.
pub(super) fn create_link(
    program: BorrowedFd<'_>,
    ifindex: u32,
    kind: bpf_attach_type,
    flags: u32,
) -> io::Result<OwnedFd> {
    // SAFETY: the union consists of integers, for which zero is valid.
    let mut attr: bpf_attr = unsafe { zeroed() };
    attr.link_create.__bindgen_anon_1.prog_fd = program.as_raw_fd() as u32;
    attr.link_create.__bindgen_anon_2.target_ifindex = ifindex;
    attr.link_create.attach_type = kind as u32;
    attr.link_create.flags = flags;
    let fd = bpf(bpf_cmd::BPF_LINK_CREATE, &mut attr)?;
    // SAFETY: the kernel has just returned this descriptor, and nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Replaces the program of a link, between two packets.
pub(super) fn update_link(link: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: the union consists of integers, for which zero is valid.
    let mut attr: bpf_attr = unsafe { zeroed() };
    attr.link_update.link_fd = link.as_raw_fd() as u32;
    attr.link_update.__bindgen_anon_1.new_prog_fd = program.as_raw_fd() as u32;
    bpf(bpf_cmd::BPF_LINK_UPDATE, &mut attr).map(drop)
}

/// Pins an object at `path`.
pub(super) fn pin(object: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: the union consists of integers, for which zero is valid.
    let mut attr: bpf_attr = unsafe { zeroed() };
    attr.__bindgen_anon_4.pathname = path.as_ptr() as u64;
    attr.__bindgen_anon_4.bpf_fd = object.as_raw_fd() as u32;
    bpf(bpf_cmd::BPF_OBJ_PIN, &mut attr).map(drop)
}

/// Detaches a link, even if others hold it.
pub(super) fn detach_link(link: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: the union consists of integers, for which zero is valid.
    let mut attr: bpf_attr = unsafe { zeroed() };
    attr.link_detach.link_fd = link.as_raw_fd() as u32;
    bpf(bpf_cmd::BPF_LINK_DETACH, &mut attr).map(drop)
}

/// Removes an element from a hash map and returns it with everything that programs wrote up to that
/// moment; `None` if there is no such element.
pub(super) fn take_element<K: Pod, V: Pod>(map: BorrowedFd<'_>, key: &K) -> io::Result<Option<V>> {
    let mut value = MaybeUninit::<V>::zeroed();
    // SAFETY: the union consists of integers, for which zero is valid.
    let mut attr: bpf_attr = unsafe { zeroed() };
    attr.__bindgen_anon_2.map_fd = map.as_raw_fd() as u32;
    attr.__bindgen_anon_2.key = &raw const *key as u64;
    attr.__bindgen_anon_2.__bindgen_anon_1.value = value.as_mut_ptr() as u64;
    match bpf(bpf_cmd::BPF_MAP_LOOKUP_AND_DELETE_ELEM, &mut attr) {
        // SAFETY: every bit pattern of a Pod is valid, and the value was zeroed.
        Ok(_) => Ok(Some(unsafe { value.assume_init() })),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Returns every element of a map whose type the kernel reads in batches.
pub(super) fn elements<K: Pod, V: Pod>(map: BorrowedFd<'_>) -> io::Result<Vec<(K, V)>> {
    let mut all = Vec::new();
    batches(map, size_of::<K>(), size_of::<V>(), |keys, values| {
        let keys = keys.chunks_exact(size_of::<K>());
        let values = values.chunks_exact(size_of::<V>());
        all.extend(keys.zip(values).filter_map(|(key, value)| {
            Some((pod::split_first(key)?.0, pod::split_first(value)?.0))
        }));
    })?;
    Ok(all)
}

/// Returns the number of elements of a hash map or a trie; `key` and `value` are their sizes in
/// octets.
pub(super) fn count_elements(map: BorrowedFd<'_>, key: usize, value: usize) -> io::Result<u64> {
    let mut count = 0;
    batches(map, key, value, |keys, _| count += (keys.len() / key.max(1)) as u64)?;
    Ok(count)
}

/// Reads a map in batches. A batch of a hash map is made of whole buckets, whereas a walk from key
/// to key restarts whenever the kernel removes the key that it stands on.
fn batches(
    map: BorrowedFd<'_>,
    key: usize,
    value: usize,
    mut take: impl FnMut(&[u8], &[u8]),
) -> io::Result<()> {
    let mut batch: usize = 1024;
    // The kernel's position is the number of a bucket, or a key.
    let (mut position, mut next) = (vec![0_u8; key.max(8)], vec![0_u8; key.max(8)]);
    let mut first = true;
    loop {
        let mut keys = vec![0_u8; key * batch];
        let mut values = vec![0_u8; value * batch];
        // SAFETY: the union consists of integers, for which zero is valid.
        let mut attr: bpf_attr = unsafe { zeroed() };
        attr.batch.in_batch = if first { 0 } else { position.as_ptr() as u64 };
        attr.batch.out_batch = next.as_mut_ptr() as u64;
        attr.batch.keys = keys.as_mut_ptr() as u64;
        attr.batch.values = values.as_mut_ptr() as u64;
        attr.batch.count = u32::try_from(batch).unwrap_or(u32::MAX);
        attr.batch.map_fd = map.as_raw_fd() as u32;
        let end = match bpf(bpf_cmd::BPF_MAP_LOOKUP_BATCH, &mut attr) {
            Ok(_) => false,
            Err(error) => match error.raw_os_error() {
                Some(libc::ENOENT) => true,
                // One bucket holds more elements than a batch.
                Some(libc::ENOSPC) => {
                    batch *= 2;
                    continue;
                }
                _ => return Err(error),
            },
        };
        // SAFETY: an integer, which the kernel has written back.
        let count = unsafe { attr.batch.count } as usize;
        let count = count.min(batch);
        keys.truncate(key * count);
        values.truncate(value * count);
        take(&keys, &values);
        if end {
            return Ok(());
        }
        std::mem::swap(&mut position, &mut next);
        first = false;
    }
}

fn bpf(command: bpf_cmd, attr: &mut bpf_attr) -> io::Result<RawFd> {
    // SAFETY: the attribute has the stated size, and its pointers outlive the call.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, command as libc::c_int, &raw mut *attr, size_of::<bpf_attr>())
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result as RawFd) }
}
