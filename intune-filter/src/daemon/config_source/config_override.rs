//! Keeps the configuration that `apply` puts in the configuration file's place for the next starts.
//!
//! The configuration file is its owner's and is never written here. A configuration that `apply`
//! puts into force, and that differs from the file, is kept in the state directory, and overrides
//! the file until the file changes. A start never loads a configuration that waits for its
//! confirmation, so that a crash within the time leads back to the configuration before it.

use std::{fs, io, path::Path};

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

use crate::system::atomic_file;

/// Name of the file in the state directory.
pub(crate) const FILE_NAME: &str = "configuration.json";

/// Version of the file's format.
const VERSION: u32 = 1;

/// Configuration as its author wrote it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Document {
    /// File that the configuration was read from, for messages.
    pub file: String,
    /// Text of the file.
    pub text: String,
}

/// Override that a start loads in place of the configuration file, with its conditions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ConfigOverride {
    version: u32,
    /// Configuration that a start loads.
    pub kept: Document,
    /// Texts of the configuration file that the override passes over: the one that `apply`
    /// replaced, and unconfirmed ones. Any other text is loaded.
    passed_over: Vec<String>,
    /// Configuration in force, while it waits for its confirmation.
    pub unconfirmed: Option<Document>,
}

impl ConfigOverride {
    /// Returns the override while `unconfirmed` waits for its confirmation: a start loads `kept`,
    /// whatever the file contains by then.
    #[must_use]
    pub(crate) const fn awaiting(kept: Document, unconfirmed: Document) -> Self {
        Self { version: VERSION, kept, passed_over: Vec::new(), unconfirmed: Some(unconfirmed) }
    }

    /// Returns the override for a `document` that is in force for good; `None` if the file has the
    /// same text, and a start loads the file.
    #[must_use]
    pub(crate) fn applied(document: &Document, on_disk: Option<&str>) -> Option<Self> {
        if on_disk == Some(&document.text) {
            return None;
        }
        Some(Self {
            version: VERSION,
            kept: document.clone(),
            passed_over: on_disk.map(str::to_owned).into_iter().collect(),
            unconfirmed: None,
        })
    }

    /// Returns the override after the time has passed without a confirmation: neither a start nor a
    /// reload loads the unconfirmed text again, whichever file has it.
    #[must_use]
    pub(crate) fn rolled_back(self, on_disk: Option<&str>) -> Self {
        let unconfirmed = self.unconfirmed.map(|document| document.text);
        let texts = unconfirmed.into_iter().chain(on_disk.map(str::to_owned));
        let mut passed_over: Vec<String> = texts.filter(|text| *text != self.kept.text).collect();
        passed_over.dedup();
        Self { passed_over, unconfirmed: None, ..self }
    }

    /// Whether a start loads the kept configuration although the file has this text.
    #[must_use]
    pub(crate) fn passes_over(&self, on_disk: &str) -> bool {
        self.unconfirmed.is_some() || self.passed_over.iter().any(|text| text == on_disk)
    }

    /// Loads the override; `None` if there is none.
    pub(crate) fn load(state_directory: &Path) -> Result<Option<Self>> {
        let path = state_directory.join(FILE_NAME);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read {}", path.display()));
            }
        };
        let saved: Self = serde_json::from_slice(&text)
            .with_context(|| format!("cannot use {}", path.display()))?;
        if saved.version != VERSION {
            bail!("{} is of version {}, expected {VERSION}", path.display(), saved.version);
        }
        Ok(Some(saved))
    }

    /// Replaces or removes the override on disk.
    pub(crate) fn store(saved: Option<&Self>, state_directory: &Path) -> Result<()> {
        let path = state_directory.join(FILE_NAME);
        let done = match saved {
            Some(saved) => atomic_file::write(&path, &serde_json::to_vec(saved)?),
            None => atomic_file::remove(&path),
        };
        done.with_context(|| format!("cannot write {}", path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(text: &str) -> Document {
        Document { file: format!("{text}.yaml"), text: text.into() }
    }

    #[test]
    fn nothing_replaces_what_is_kept_while_another_waits() {
        let saved = ConfigOverride::awaiting(document("old"), document("new"));
        for on_disk in ["old", "new", "edited meanwhile"] {
            assert!(saved.passes_over(on_disk), "{on_disk}");
        }
        assert_eq!(saved.kept, document("old"));
    }

    #[test]
    fn what_was_not_confirmed_stays_passed_over_until_the_file_changes() {
        let waiting = ConfigOverride::awaiting(document("old"), document("new"));
        for on_disk in [Some("new"), Some("edited meanwhile"), None] {
            let saved = waiting.clone().rolled_back(on_disk);
            assert_eq!((&saved.kept, &saved.unconfirmed), (&document("old"), &None));
            assert!(saved.passes_over("new"));
            assert!(on_disk.is_none_or(|text| saved.passes_over(text)));
            assert!(!saved.passes_over("old"), "the same as what is kept: nothing to pass over");
            assert!(!saved.passes_over("edited afterwards"));
        }
    }

    #[test]
    fn what_was_applied_takes_the_place_of_another_file_until_that_changes() {
        assert_eq!(ConfigOverride::applied(&document("new"), Some("new")), None);
        let saved = ConfigOverride::applied(&document("new"), Some("old")).unwrap();
        assert_eq!(saved.kept, document("new"));
        assert!(saved.passes_over("old"));
        assert!(!saved.passes_over("edited") && !saved.passes_over("new"));
        assert!(!ConfigOverride::applied(&document("new"), None).unwrap().passes_over("old"));
    }

    #[test]
    fn what_was_stored_comes_back_and_a_foreign_file_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let load = || ConfigOverride::load(directory.path());
        assert_eq!(load().unwrap(), None);
        let saved = ConfigOverride::awaiting(document("old"), document("new"));
        ConfigOverride::store(Some(&saved), directory.path()).unwrap();
        assert_eq!(load().unwrap(), Some(saved));
        ConfigOverride::store(None, directory.path()).unwrap();
        assert_eq!(load().unwrap(), None);
        let later = r#"{"version": 2, "kept": {"file": "", "text": ""}, "passed_over": [],
                        "unconfirmed": null}"#;
        for text in ["", "{}", later] {
            fs::write(directory.path().join(FILE_NAME), text).unwrap();
            let error = format!("{:#}", load().unwrap_err());
            assert!(error.contains(FILE_NAME), "{error}");
        }
    }
}
