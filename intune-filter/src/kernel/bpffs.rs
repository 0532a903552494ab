//! The BPF filesystem that pins need: found, or mounted.

use std::{
    ffi::CString,
    fs, io,
    os::unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
    path::Path,
};

use anyhow::{Context as _, Result};

/// Where distributions mount the BPF filesystem.
const USUAL: &str = "/sys/fs/bpf";

/// Sees to it that `directory` exists and is on a BPF filesystem.
///
/// What is missing is mounted: on `/sys/fs/bpf` if `directory` is below it, else on `directory`
/// itself, so that no other file is hidden.
pub fn ensure(directory: &Path) -> Result<()> {
    let existing = directory.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
    if !is_bpffs(existing)? {
        let usual = Path::new(USUAL);
        let target = if directory.starts_with(usual) { usual } else { directory };
        fs::create_dir_all(target).with_context(|| format!("cannot make {}", target.display()))?;
        mount(target)
            .with_context(|| format!("cannot mount a BPF filesystem on {}", target.display()))?;
        log::info!("mounted a BPF filesystem on {}", target.display());
        if in_private_mount_namespace() {
            log::warn!(
                "{} is mounted in a mount namespace of its own: when its last process ends, the \
                 pins end, and enforcement with them",
                target.display()
            );
        }
    }
    fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))
}

/// Whether `path` is on a BPF filesystem.
pub fn is_bpffs(path: &Path) -> Result<bool> {
    let name = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: plain data for the kernel to fill.
    let mut status: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are valid for the call.
    if unsafe { libc::statfs(name.as_ptr(), &raw mut status) } < 0 {
        return Err(io::Error::last_os_error())
            .with_context(|| format!("cannot ask what filesystem {} is on", path.display()));
    }
    Ok(status.f_type == libc::BPF_FS_MAGIC)
}

/// Unmounts the BPF filesystem that [`ensure`] mounted on `directory` itself, if it did.
pub fn release(directory: &Path) -> Result<()> {
    let (Ok(here), Some(Ok(above))) =
        (fs::metadata(directory), directory.parent().map(fs::metadata))
    else {
        return Ok(());
    };
    if here.dev() == above.dev() || !is_bpffs(directory)? {
        return Ok(());
    }
    let name = CString::new(directory.as_os_str().as_bytes())?;
    // SAFETY: the string is valid for the call.
    if unsafe { libc::umount2(name.as_ptr(), libc::MNT_DETACH) } < 0 {
        return Err(io::Error::last_os_error())
            .with_context(|| format!("cannot unmount {}", directory.display()));
    }
    Ok(())
}

fn mount(target: &Path) -> io::Result<()> {
    let target = CString::new(target.as_os_str().as_bytes())?;
    // SAFETY: all strings are valid for the call.
    let result = unsafe {
        libc::mount(
            c"bpf".as_ptr(),
            target.as_ptr(),
            c"bpf".as_ptr(),
            libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC | libc::MS_RELATIME,
            c"mode=700".as_ptr().cast(),
        )
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn in_private_mount_namespace() -> bool {
    match (fs::read_link("/proc/self/ns/mnt"), fs::read_link("/proc/1/ns/mnt")) {
        (Ok(own), Ok(first)) => own != first,
        _ => false,
    }
}
