//! Kernel modules, in the order in which they can be loaded: what one needs comes before it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

/// A module, ready to be loaded.
pub(super) struct Module {
    /// Its name, as the kernel writes it.
    pub name: String,
    /// The file, unpacked.
    pub content: Vec<u8>,
}

/// The modules of these names and all that they need. What a kernel has built in, or has not at
/// all, is left out.
pub(super) fn load_order(directory: &Path, names: &[&str]) -> Result<Vec<Module>> {
    let mut order = Order { files: files(directory)?, seen: BTreeSet::new(), modules: Vec::new() };
    for name in names {
        order.add(name)?;
    }
    Ok(order.modules)
}

struct Order {
    files: BTreeMap<String, PathBuf>,
    seen: BTreeSet<String>,
    modules: Vec<Module>,
}

impl Order {
    fn add(&mut self, name: &str) -> Result<()> {
        let name = name.replace('-', "_");
        let Some(path) = self.files.get(&name).cloned() else { return Ok(()) };
        if !self.seen.insert(name.clone()) {
            return Ok(());
        }
        let content = unpacked(&path)?;
        for needed in needed(&content) {
            self.add(&needed)?;
        }
        self.modules.push(Module { name, content });
        Ok(())
    }
}

/// Every module's file by its name.
fn files(directory: &Path) -> Result<BTreeMap<String, PathBuf>> {
    let mut files = BTreeMap::new();
    let mut directories = vec![directory.to_owned()];
    while let Some(directory) = directories.pop() {
        let entries = fs::read_dir(&directory)
            .with_context(|| format!("cannot read {}", directory.display()))?;
        for entry in entries {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                directories.push(entry.path());
            } else if let Some((name, "ko" | "ko.xz")) =
                entry.file_name().to_string_lossy().split_once('.')
            {
                files.insert(name.replace('-', "_"), entry.path());
            }
        }
    }
    Ok(files)
}

fn unpacked(path: &Path) -> Result<Vec<u8>> {
    if path.extension().is_none_or(|extension| extension != "xz") {
        return fs::read(path).with_context(|| format!("cannot read {}", path.display()));
    }
    let output = Command::new("xz").args(["--decompress", "--stdout"]).arg(path).output();
    let output = output.context("cannot run xz")?;
    if !output.status.success() {
        bail!("cannot unpack {}", path.display());
    }
    Ok(output.stdout)
}

/// The names in a module's `.modinfo`, whose entries are texts that end with a zero.
fn needed(module: &[u8]) -> Vec<String> {
    const ENTRY: &[u8] = b"\0depends=";
    let at = module.windows(ENTRY.len()).position(|window| window == ENTRY);
    let Some(rest) = at.and_then(|at| module.get(at + ENTRY.len()..)) else {
        return Vec::new();
    };
    let names = rest.split(|octet| *octet == 0).next().unwrap_or_default();
    let names = String::from_utf8_lossy(names);
    names.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_module_needs_comes_before_it() -> Result<()> {
        let directory = workspace_directory("modules-order")?;
        let kernel = directory.join("net");
        fs::create_dir_all(&kernel)?;
        for (name, depends) in
            [("bridge.ko", "stp,llc"), ("stp.ko", "llc"), ("llc.ko", ""), ("other.ko", "llc")]
        {
            fs::write(kernel.join(name), format!("ELF\0license=GPL\0depends={depends}\0x\0"))?;
        }
        let modules = load_order(&directory, &["bridge", "llc", "built-in"]);
        fs::remove_dir_all(&directory)?;
        let names: Vec<_> = modules?.into_iter().map(|module| module.name).collect();
        assert_eq!(names, ["llc", "stp", "bridge"]);
        Ok(())
    }

    fn workspace_directory(name: &str) -> Result<PathBuf> {
        let directory =
            std::env::temp_dir().join(format!("intune-filter-{name}-{}", std::process::id()));
        fs::create_dir_all(&directory)?;
        Ok(directory)
    }
}
