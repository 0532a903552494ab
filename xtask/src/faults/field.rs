//! The copy of the sources that faults are planted in, and what is built of it.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use crate::workspace;

/// Directories of the workspace without sources.
const NO_SOURCES: [&str; 2] = ["target", ".git"];
/// Library of the kernel's logic, from the workspace's root on.
const LIBRARY: &str = "intune-filter-ebpf/src";

/// A copy of the sources.
pub(super) struct Field {
    sources: PathBuf,
    /// Directory apart from the workspace's own products: cargo names both alike, by their path in
    /// their workspace, and would confuse them.
    products: PathBuf,
}

impl Field {
    /// Copies the sources as they are now.
    pub(super) fn make() -> Result<Self> {
        let target = workspace::target()?;
        let field = Self { sources: target.join("faults"), products: target.join("faulty") };
        if field.sources.exists() {
            fs::remove_dir_all(&field.sources).context("cannot remove the last copy")?;
        }
        copy(workspace::root(), &field.sources)?;
        // Cargo takes the settings of every directory above, and would take these twice.
        if field.sources.starts_with(workspace::root()) {
            fs::remove_dir_all(field.sources.join(".cargo")).context("cannot remove a copy")?;
        }
        Ok(field)
    }

    /// A file of the kernel's library.
    pub(super) fn read(&self, file: &str) -> Result<String> {
        fs::read_to_string(self.sources.join(LIBRARY).join(file))
            .with_context(|| format!("cannot read {file}"))
    }

    /// Replaces a file of the kernel's library.
    pub(super) fn write(&self, file: &str, text: &str) -> Result<()> {
        fs::write(self.sources.join(LIBRARY).join(file), text)
            .with_context(|| format!("cannot write {file}"))
    }

    /// A cargo command that works on the copy.
    pub(super) fn cargo(&self, subcommand: &[&str]) -> Command {
        let mut cargo = workspace::cargo();
        cargo.current_dir(&self.sources).args(subcommand).arg("--locked");
        cargo.arg("--target-dir").arg(&self.products);
        cargo
    }

    /// Directory of the package whose tests are run.
    pub(super) fn package(&self) -> PathBuf {
        self.sources.join("intune-filter-ebpf")
    }

    /// The program that was built of the copy.
    pub(super) fn program(&self) -> PathBuf {
        self.products.join("debug/intune-filter")
    }
}

/// Copies a directory, but for what is no source.
fn copy(from: &Path, to: &Path) -> Result<()> {
    let cannot = || format!("cannot copy {}", from.display());
    fs::create_dir_all(to).with_context(cannot)?;
    for entry in fs::read_dir(from).with_context(cannot)? {
        let entry = entry.with_context(cannot)?;
        let (name, kind) = (entry.file_name(), entry.file_type().with_context(cannot)?);
        if NO_SOURCES.iter().any(|no| OsStr::new(no) == name) {
            continue;
        }
        if kind.is_dir() {
            copy(&entry.path(), &to.join(&name))?;
        } else if kind.is_file() {
            fs::copy(entry.path(), to.join(&name)).with_context(cannot)?;
        }
    }
    Ok(())
}
