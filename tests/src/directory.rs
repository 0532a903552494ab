//! The directory of one testbed, with a bpffs of its own; and what dead testbeds left.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{self, Command},
    sync::atomic::{AtomicU32, Ordering},
};

use anyhow::{Context as _, Result};
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::namespace::{NAMES, require_root, run};

/// Names of namespaces and directories begin so, then the process id and a number follow.
const PREFIX: &str = "if-";

/// A temporary directory whose `bpf` is a bpffs; unmounted and removed on drop.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    label: String,
}

impl Directory {
    /// Makes the directory, and removes what testbeds of dead processes left behind.
    pub fn create() -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);

        require_root()?;
        // What was left by testbeds whose process was killed.
        clear_all(is_orphan);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let label = format!("{PREFIX}{}-{number}", process::id());
        let path = std::env::temp_dir().join(&label);
        fs::create_dir(&path).with_context(|| format!("cannot make {}", path.display()))?;
        let directory = Self { path, label };
        fs::create_dir(directory.bpffs())?;
        mount(Some("bpf"), &directory.bpffs(), Some("bpf"), MsFlags::empty(), None::<&str>)
            .context("cannot mount a bpffs")?;
        Ok(directory)
    }

    /// Unique on this machine; names of namespaces are made from it.
    #[must_use]
    pub fn label(&self) -> &str {
        &self.label
    }

    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The mount point of its bpffs.
    #[must_use]
    pub fn bpffs(&self) -> PathBuf {
        self.path.join("bpf")
    }

    /// Writes a file in it.
    pub fn write(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.path.join(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        remove(&self.path);
    }
}

/// Removes a testbed's directory and its bpffs.
fn remove(path: &Path) {
    // Best effort: a testbed that failed half-way has not everything that is removed here.
    let _ = umount2(&path.join("bpf"), MntFlags::MNT_DETACH);
    let _ = fs::remove_dir_all(path);
}

/// Removes everything of the testbed with this label: processes, namespaces, files.
pub fn clear(label: &str) {
    clear_all(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.strip_prefix(label).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    });
}

fn clear_all(is_meant: impl Fn(&Path) -> bool) {
    for path in entries(Path::new(NAMES)).filter(|path| is_meant(path)) {
        let name = path.file_name().unwrap_or_default();
        if let Ok(pids) = run(Command::new("ip").args(["netns", "pids"]).arg(name)) {
            for pid in pids.lines() {
                let _ = run(Command::new("kill").args(["-KILL", pid]));
            }
        }
        let _ = run(Command::new("ip").args(["netns", "delete"]).arg(name));
    }
    for path in entries(&std::env::temp_dir()).filter(|path| is_meant(path)) {
        remove(&path);
    }
}

fn entries(directory: &Path) -> impl Iterator<Item = PathBuf> {
    fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path())
}

/// Whether `path` is named after a process that is no more.
fn is_orphan(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let mut parts = name.strip_prefix(PREFIX).unwrap_or_default().split('-');
    match (parts.next().map(str::parse::<u32>), parts.next().map(str::parse::<u32>)) {
        (Some(Ok(pid)), Some(Ok(_))) => !Path::new(&format!("/proc/{pid}")).exists(),
        _ => false,
    }
}
