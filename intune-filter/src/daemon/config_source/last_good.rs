//! Stores the last good configuration with all its files, for a start whose configuration file
//! cannot be used.
//!
//! The store is written as a directory beside the old one, and the two then change names. At any
//! moment of a crash one of the names leads to a complete directory, as its list of digests shows.

use std::{
    collections::BTreeMap,
    fs::{self, DirBuilder, File},
    io,
    os::unix::fs::DirBuilderExt as _,
    path::Path,
};

use anyhow::{Context as _, Result, bail, ensure};
use serde::{Deserialize, Serialize};

use super::config_override::Document;
use crate::{
    catalogue::CatalogueFiles,
    policy::hexadecimal,
    system::{atomic_file, regular_file},
};

/// Name of the directory in the state directory.
pub(crate) const DIRECTORY: &str = "last-good";

/// Names of the directory: in use, while it is written, and after another has replaced it.
const NAMES: [&str; 3] = [DIRECTORY, "last-good.new", "last-good.old"];

/// Name of the configuration in the directory.
const CONFIGURATION: &str = "config.yaml";

/// Name of the file that lists the others, and is written last.
const META: &str = "meta.json";

/// Name of the site's catalogue in the directory.
const CATALOGUE: &str = "catalogue";

/// Version of the directory's format.
const FORMAT: u32 = 1;

/// List of the files, by which a complete directory is recognised.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Meta {
    format: u32,
    /// File that the configuration was read from.
    file: String,
    /// Digest of the configuration.
    digest: String,
    /// SHA-256 of each file, by its path in the directory.
    files: BTreeMap<String, String>,
}

/// Configuration that was in force, with all files that it needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LastGood {
    /// Configuration as its author wrote it.
    pub document: Document,
    /// Files of the site's catalogue, if it has one.
    pub catalogue: Option<CatalogueFiles>,
    /// Digest of the configuration.
    pub digest: String,
}

impl LastGood {
    /// Loads the last good configuration; `None` if there is none.
    ///
    /// # Errors
    /// The stored files are damaged, unreadable, or of a newer format.
    pub(crate) fn load(state_directory: &Path) -> Result<Option<Self>> {
        let mut first = None;
        for name in NAMES {
            let directory = state_directory.join(name);
            match Self::load_from(&directory) {
                Ok(Some(good)) => return Ok(Some(good)),
                Ok(None) => {}
                // A directory that was incomplete when the process ended is no fault.
                Err(error) if name == DIRECTORY => first = Some(error),
                Err(_) => {}
            }
        }
        first.map_or(Ok(None), Err)
    }

    fn load_from(directory: &Path) -> Result<Option<Self>> {
        if !directory
            .try_exists()
            .with_context(|| format!("cannot read {}", directory.display()))?
        {
            return Ok(None);
        }
        let read = || -> Result<Self> {
            let meta = Meta::read(directory)?;
            let text = |path: &str| -> Result<String> {
                let octets =
                    regular_file::read(&directory.join(path)).with_context(|| path.to_owned())?;
                let is_whole = meta.files.get(path) == Some(&hexadecimal(&octets));
                ensure!(is_whole, "{path} is not what was written");
                Ok(String::from_utf8(octets)?)
            };
            let document = Document { file: meta.file.clone(), text: text(CONFIGURATION)? };
            let texts = meta.files.keys().filter(|path| *path != CONFIGURATION);
            let texts = texts
                .map(|path| Ok((directory.join(path), text(path)?)))
                .collect::<Result<Vec<_>>>()?;
            let catalogue = (!texts.is_empty()).then_some(CatalogueFiles { texts });
            Ok(Self { document, catalogue, digest: meta.digest.clone() })
        };
        read().map(Some).with_context(|| format!("cannot use {}", directory.display()))
    }

    /// Stores the configuration in place of the one before, unless both are the same.
    ///
    /// # Errors
    /// The directory cannot be written; the one before is still there.
    pub(crate) fn store(&self, state_directory: &Path) -> Result<()> {
        let files = self.files();
        let digests = files.iter().map(|(path, text)| (path.clone(), hexadecimal(text.as_bytes())));
        let meta = Meta {
            format: FORMAT,
            file: self.document.file.clone(),
            digest: self.digest.clone(),
            files: digests.collect(),
        };
        let [now, new, old] = NAMES.map(|name| state_directory.join(name));
        match Self::load_from(&now) {
            Ok(Some(kept)) if kept.is_same(self) => {
                // Left by a process that died while it wrote.
                for left in [&new, &old].into_iter().filter(|left| left.exists()) {
                    let _ = remove(left);
                }
                return Ok(());
            }
            // A directory of a newer format may be worth something to the release that wrote it.
            Err(error) if now.exists() => {
                let kept = atomic_file::set_aside(&now)
                    .with_context(|| format!("cannot set {} aside", now.display()))?;
                log::warn!("{}: {error:#}; it is kept as {}", now.display(), kept.display());
            }
            _ => {}
        }
        let write = || -> Result<()> {
            remove(&new)?;
            make(&new)?;
            if self.catalogue.is_some() {
                make(&new.join(CATALOGUE))?;
            }
            for (path, text) in &files {
                atomic_file::write(&new.join(path), text.as_bytes())?;
            }
            atomic_file::write(&new.join(META), &serde_json::to_vec(&meta)?)?;
            remove(&old)?;
            match fs::rename(&now, &old) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
                _ => {}
            }
            fs::rename(&new, &now)?;
            atomic_file::sync_directory(&now)?;
            remove(&old).map_err(Into::into)
        };
        write().with_context(|| format!("cannot write {}", now.display())).inspect_err(|_| {
            // An incomplete directory would take room on a disk that may be full.
            let _ = remove(&new);
        })
    }

    /// Whether both have the same configuration and files, whatever paths they were read from.
    fn is_same(&self, other: &Self) -> bool {
        let of = |good: &Self| (good.document.file.clone(), good.digest.clone());
        of(self) == of(other) && self.files() == other.files()
    }

    /// Returns the text of each file, by its path in the directory.
    fn files(&self) -> BTreeMap<String, &str> {
        let texts = self.catalogue.iter().flat_map(|files| &files.texts);
        let named = texts.filter_map(|(path, text)| {
            let name = path.file_name()?.to_str()?;
            Some((format!("{CATALOGUE}/{name}"), text.as_str()))
        });
        named.chain([(CONFIGURATION.to_owned(), self.document.text.as_str())]).collect()
    }
}

impl Meta {
    fn read(directory: &Path) -> Result<Self> {
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }

        let octets = regular_file::read(&directory.join(META)).context(META)?;
        // The format is read first: another one is reported as such, whatever else is in the file.
        let Format { format } = serde_json::from_slice(&octets).context(META)?;
        if format != FORMAT {
            bail!("it is of format {format}, expected {FORMAT}");
        }
        serde_json::from_slice(&octets).context(META)
    }
}

/// Makes a directory for root alone.
fn make(path: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(path)?;
    File::open(path)?.sync_all()
}

/// Removes a directory, or a file of that name. A missing one is no error.
fn remove(path: &Path) -> io::Result<()> {
    if path.is_dir() { fs::remove_dir_all(path) } else { atomic_file::remove(path) }
}

#[cfg(test)]
mod tests {
    use std::{os::unix::fs::PermissionsExt as _, path::PathBuf};

    use super::*;

    fn good(text: &str, catalogue: &[(&str, &str)]) -> LastGood {
        let texts = catalogue.iter().map(|(name, text)| (name.into(), (*text).to_owned()));
        let texts: Vec<(PathBuf, String)> = texts.collect();
        LastGood {
            document: Document { file: "/etc/a.yaml".into(), text: text.into() },
            catalogue: (!texts.is_empty()).then_some(CatalogueFiles { texts }),
            digest: "ab".into(),
        }
    }

    #[test]
    fn what_was_kept_comes_back_with_its_catalogue() {
        let state = tempfile::tempdir().unwrap();
        assert_eq!(LastGood::load(state.path()).unwrap(), None);
        for catalogue in [&[][..], &[("/c/a.yaml", "one"), ("/c/b.yaml", "two")], &[]] {
            let kept = good("text", catalogue);
            kept.store(state.path()).unwrap();
            let back = LastGood::load(state.path()).unwrap().unwrap();
            assert_eq!((&back.document, &back.digest), (&kept.document, &kept.digest));
            assert_eq!(back.files(), kept.files());
            let names: Vec<_> = fs::read_dir(state.path()).unwrap().collect();
            assert_eq!(names.len(), 1, "{names:?}");
        }
        let mode = |path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(state.path().join(DIRECTORY)), 0o700);
        assert_eq!(mode(state.path().join(DIRECTORY).join(CONFIGURATION)), 0o600);
    }

    #[test]
    fn what_is_kept_already_is_not_written_again() {
        let state = tempfile::tempdir().unwrap();
        let inode = || {
            use std::os::unix::fs::MetadataExt as _;
            fs::metadata(state.path().join(DIRECTORY)).unwrap().ino()
        };
        good("text", &[]).store(state.path()).unwrap();
        let first = inode();
        good("text", &[]).store(state.path()).unwrap();
        assert_eq!(inode(), first);
        good("another", &[]).store(state.path()).unwrap();
        assert_ne!(inode(), first);
    }

    #[test]
    fn what_is_damaged_is_written_again() {
        let state = tempfile::tempdir().unwrap();
        let kept = good("text", &[("/c/a.yaml", "one")]);
        for path in [CONFIGURATION, "catalogue/a.yaml", META] {
            for damage in [true, false] {
                kept.store(state.path()).unwrap();
                let file = state.path().join(DIRECTORY).join(path);
                if damage {
                    fs::write(file, "cut").unwrap();
                } else {
                    fs::remove_file(file).unwrap();
                }
                kept.store(state.path()).unwrap();
                let back = LastGood::load(state.path()).unwrap().unwrap();
                assert!(back.is_same(&kept), "{path}: {back:?}");
            }
        }
    }

    #[test]
    fn a_process_that_dies_while_it_writes_leaves_a_whole_one() {
        let state = tempfile::tempdir().unwrap();
        let [now, new, old] = NAMES.map(|name| state.path().join(name));
        let text = || LastGood::load(state.path()).unwrap().map(|good| good.document.text);
        // Until the names change, the new directory may be in any state.
        good("first", &[]).store(state.path()).unwrap();
        fs::create_dir(&new).unwrap();
        fs::write(new.join(CONFIGURATION), "sec").unwrap();
        assert_eq!(text().as_deref(), Some("first"));
        // The old directory has been renamed, and the new one is complete.
        good("second", &[]).store(state.path()).unwrap();
        fs::rename(&now, &new).unwrap();
        assert_eq!(text().as_deref(), Some("second"));
        // As before, but the new directory is incomplete.
        fs::rename(&new, &old).unwrap();
        fs::create_dir(&new).unwrap();
        assert_eq!(text().as_deref(), Some("second"));
        good("third", &[]).store(state.path()).unwrap();
        assert_eq!(text().as_deref(), Some("third"));
        assert!(!new.exists() && !old.exists());
    }

    #[test]
    fn what_is_damaged_or_newer_is_an_error_that_names_it() {
        let state = tempfile::tempdir().unwrap();
        let now = state.path().join(DIRECTORY);
        let newer = r#"{"format": 2, "files": 7}"#;
        for (path, content, why) in [
            (CONFIGURATION, "cut", "is not what was written"),
            ("catalogue/a.yaml", "cut", "is not what was written"),
            (META, "{", META),
            (META, newer, "format 2"),
        ] {
            good("text", &[("/c/a.yaml", "one")]).store(state.path()).unwrap();
            fs::write(now.join(path), content).unwrap();
            let error = format!("{:#}", LastGood::load(state.path()).unwrap_err());
            assert!(error.contains(DIRECTORY) && error.contains(why), "{error}");
            atomic_file::set_aside(&now).unwrap();
            assert_eq!(LastGood::load(state.path()).unwrap(), None);
        }
        // A file in the directory's place is removed.
        fs::write(&now, "").unwrap();
        LastGood::load(state.path()).unwrap_err();
        good("text", &[]).store(state.path()).unwrap();
        assert!(LastGood::load(state.path()).unwrap().is_some());
    }
}
