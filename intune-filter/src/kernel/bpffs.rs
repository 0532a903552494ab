//! Finds or mounts the BPF filesystem that pins need.

use std::{fs, io, os::unix::ffi::OsStrExt as _, path::Path};

use anyhow::{Context as _, Result};
use nix::{
    mount::{MntFlags, MsFlags, umount2},
    sys::statfs::{BPF_FS_MAGIC, statfs},
};

/// Usual mount point of the BPF filesystem.
const USUAL: &str = "/sys/fs/bpf";

/// Source name of this program's mounts, which tells them from others.
const SOURCE: &str = "intune-filter";

/// Ensures that `directory` exists and is on a BPF filesystem.
///
/// A missing filesystem is mounted on `/sys/fs/bpf` if `directory` is below it, else on `directory`
/// itself, so that no other file is hidden.
///
/// # Errors
/// A directory cannot be made, or no BPF filesystem be mounted.
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
pub(super) fn is_bpffs(path: &Path) -> Result<bool> {
    let status = statfs(path)
        .map_err(io::Error::from)
        .with_context(|| format!("cannot ask what filesystem {} is on", path.display()))?;
    Ok(status.filesystem_type() == BPF_FS_MAGIC)
}

/// Unmounts the BPF filesystem that [`ensure`] mounted on `directory` itself, if it did; never a
/// mount of another program.
pub(super) fn release(directory: &Path) -> Result<()> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").context("cannot read the mounts")?;
    let Ok(directory) = directory.canonicalize() else { return Ok(()) };
    if !is_ours(&mounts, &directory) {
        return Ok(());
    }
    umount2(&directory, MntFlags::MNT_DETACH)
        .map_err(io::Error::from)
        .with_context(|| format!("cannot unmount {}", directory.display()))
}

/// Whether the topmost mount on `directory` was made by [`mount`], according to the text of proc(5)
/// mountinfo.
fn is_ours(mounts: &str, directory: &Path) -> bool {
    let topmost = mounts.lines().rfind(|line| {
        line.split(' ')
            .nth(4)
            .is_some_and(|point| unescape(point) == directory.as_os_str().as_bytes())
    });
    let Some((_, filesystem)) = topmost.and_then(|line| line.split_once(" - ")) else {
        return false;
    };
    let mut words = filesystem.split(' ');
    words.next() == Some("bpf") && words.next() == Some(SOURCE)
}

/// Decodes octets that proc writes as three octal digits: space, tab, newline and backslash.
fn unescape(text: &str) -> Vec<u8> {
    let mut octets = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let escaped = after.split_at_checked(3).filter(|_| *first == b'\\');
        let escaped = escaped.and_then(|(digits, after)| {
            Some((u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok()?, after))
        });
        let (octet, after) = escaped.unwrap_or((*first, after));
        octets.push(octet);
        rest = after;
    }
    octets
}

fn mount(target: &Path) -> io::Result<()> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC | MsFlags::MS_RELATIME;
    nix::mount::mount(Some(SOURCE), target, Some("bpf"), flags, Some("mode=700"))?;
    Ok(())
}

fn in_private_mount_namespace() -> bool {
    match (fs::read_link("/proc/self/ns/mnt"), fs::read_link("/proc/1/ns/mnt")) {
        (Ok(own), Ok(first)) => own != first,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_mount_is_unmounted() {
        let mounts = "\
36 35 98:0 / /sys/fs/bpf rw,nosuid shared:9 - bpf bpf rw,mode=700
40 35 0:50 / /tmp/a\\040b rw,nosuid - bpf intune-filter rw,mode=700
41 35 0:51 / /tmp/theirs rw - bpf bpf rw
42 35 0:52 / /tmp/covered rw - bpf intune-filter rw
43 42 0:53 / /tmp/covered rw - tmpfs intune-filter rw
";
        for (path, ours) in [
            ("/sys/fs/bpf", false),
            ("/tmp/a b", true),
            ("/tmp/theirs", false),
            ("/tmp/covered", false),
            ("/tmp", false),
        ] {
            assert_eq!(is_ours(mounts, Path::new(path)), ours, "{path}");
        }
    }
}
