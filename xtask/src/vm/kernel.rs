//! Debian's kernels, those of computers: those that it builds for clouds alone lack PPP.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::archive::Archive;

const PREFIX: &str = "linux-image-";
const SUFFIX: &str = "-amd64";

/// The word for the newest kernel of all.
const NEWEST: &str = "newest";

/// Whether a release, or a version, is older than a version.
pub(super) fn is_older(release: &str, version: &str) -> bool {
    let (release, version) = (numbers(release), numbers(version));
    // A word is no version: the newest is not older.
    !release.is_empty() && release.iter().take(version.len()).lt(&version)
}

/// A kernel, unpacked.
pub(super) struct KernelPackage {
    /// Release, as `uname` prints it.
    pub release: String,
    /// Its image.
    pub image: PathBuf,
    /// Directory of its modules.
    pub modules: PathBuf,
}

impl KernelPackage {
    /// Fetches the newest kernel of a version, such as `6.1`, or `newest`.
    pub(super) fn fetch(archive: &Archive, version: &str, directory: &Path) -> Result<Self> {
        let release = newest(&archive.names(PREFIX)?, version)
            .with_context(|| format!("Debian's archive has no kernel {version}"))?;
        let package = format!("{PREFIX}{release}");
        let mut trees = vec![archive.package(&package, &directory.join(&package))?];
        // From Linux 7 on image and modules are packages of their own.
        for part in archive.dependencies(&package)? {
            if part.starts_with("linux-binary-") || part.starts_with("linux-modules-") {
                trees.push(archive.package(&part, &directory.join(&part))?);
            }
        }
        let find = |places: [String; 2]| {
            let paths = places.map(|place| trees.iter().map(|tree| tree.join(&place)).collect());
            paths.into_iter().flat_map(|paths: Vec<_>| paths).find(|path| path.exists())
        };
        // The image stands among the modules where packages no longer write to /boot.
        let image =
            find([format!("boot/vmlinuz-{release}"), format!("usr/lib/modules/{release}/vmlinuz")]);
        let modules = find([
            format!("lib/modules/{release}/kernel"),
            format!("usr/lib/modules/{release}/kernel"),
        ]);
        match (image, modules) {
            (Some(image), Some(modules)) => Ok(Self { release, image, modules }),
            _ => bail!("the package {package} has no kernel, or no modules"),
        }
    }
}

/// The release of the newest kernel of a version among the packages' names.
fn newest(packages: &[String], version: &str) -> Option<String> {
    packages
        .iter()
        .filter_map(|name| name.strip_prefix(PREFIX))
        .filter(|release| {
            release.starts_with(|first: char| first.is_ascii_digit())
                && is_plain(release)
                && (version == NEWEST
                    || release.strip_prefix(version).is_some_and(|rest| rest.starts_with('.')))
        })
        .max_by_key(|release| numbers(release))
        .map(str::to_owned)
}

/// Whether a release is of no further flavour, such as of real-time kernels or of those for clouds.
fn is_plain(release: &str) -> bool {
    let numbers = release.strip_suffix(SUFFIX).and_then(|rest| rest.chars().next_back());
    numbers.is_some_and(|last| last.is_ascii_digit())
}

/// The numbers in a release, by which releases are older or newer.
fn numbers(release: &str) -> Vec<u32> {
    let words = release.split(|character: char| !character.is_ascii_digit());
    words.filter_map(|word| word.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_kernel_is_found_by_its_numbers() {
        let packages = [
            "linux-image-6.1.0-9-amd64",
            "linux-image-6.1.0-50-amd64",
            "linux-image-6.1.0-51-cloud-amd64",
            "linux-image-6.12.9+deb12-amd64",
            "linux-image-6.12.95+deb12-amd64",
            "linux-image-6.12.96+deb12-rt-amd64",
            "linux-image-amd64",
            "linux-image-7.2.11+deb13-amd64",
            "linux-image-7.2.12+deb13-cloud-amd64",
        ]
        .map(str::to_owned);
        for (version, release) in [
            ("6.1", "6.1.0-50-amd64"),
            ("6.12", "6.12.95+deb12-amd64"),
            ("newest", "7.2.11+deb13-amd64"),
        ] {
            assert_eq!(newest(&packages, version).as_deref(), Some(release));
        }
        assert_eq!(newest(&packages, "5.10"), None);
    }

    #[test]
    fn versions_are_older_by_their_numbers() {
        for older in ["5.10.0-33-amd64", "5.19", "5.10", "2"] {
            assert!(is_older(older, "6.1"), "{older}");
        }
        for other in ["6.1.0-50-amd64", "6.1", "6.12", "7.2.11+deb13-amd64", NEWEST] {
            assert!(!is_older(other, "6.1"), "{other}");
        }
    }
}
