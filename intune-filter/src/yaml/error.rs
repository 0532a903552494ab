//! Describes faults of a file by line and key.

use std::fmt;

use crate::nearest::nearest;

/// Error of one value, displayed as `KEY.PATH: fault, expected value`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileError {
    /// Line, from 1; `None` if the error concerns the file as a whole.
    pub line: Option<u32>,
    /// Path of the key, such as `clients[0].networks[1]`; empty for the document as a whole.
    pub key: String,
    /// Fault and expected value.
    pub message: String,
    /// Known word that may be meant.
    pub did_you_mean: Option<String>,
}

/// Faults of one file that are reported at most: a file with more is of another kind.
const TOLD_MAX: usize = 1000;

/// Faults under collection; those beyond [`TOLD_MAX`] are only counted.
#[derive(Debug, Default)]
pub(super) struct Collected {
    errors: Vec<FileError>,
    untold: usize,
}

impl Collected {
    /// Adds a fault; `message` is called only if the fault is reported.
    pub(super) fn push(&mut self, line: Option<u32>, key: &str, message: impl FnOnce() -> String) {
        if self.errors.len() < TOLD_MAX {
            self.errors.push(FileError::new(line, key, message()));
        } else {
            self.untold += 1;
        }
    }

    /// Adds an unknown word, with the known ones.
    pub(super) fn unknown(&mut self, line: Option<u32>, key: &str, word: &str, known: &[&str]) {
        self.push(line, key, || format!("unknown key, expected one of {}", known.join(", ")));
        if let Some(error) = self.errors.pop_if(|error| error.key == key && self.untold == 0) {
            self.errors.push(error.meaning(nearest(word, known.iter().copied())));
        }
    }

    /// Returns the faults, and the number of unreported ones as a last fault.
    pub(super) fn into_vec(mut self) -> Vec<FileError> {
        if self.untold != 0 {
            let message = format!("{} more faults, expected fewer to tell them all", self.untold);
            self.errors.push(FileError::new(None, "", message));
        }
        self.errors
    }
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.key.is_empty() {
            f.write_str(&self.message)
        } else {
            write!(f, "{}: {}", self.key, self.message)
        }
    }
}

impl FileError {
    /// Returns an error; an empty key means the document as a whole.
    pub(crate) fn new(
        line: Option<u32>,
        key: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        Self { line, key: key.into(), message: message.into(), did_you_mean: None }
    }

    /// Adds the known word that is near to the one given, to the message too.
    #[must_use]
    pub(crate) fn meaning(mut self, word: Option<&str>) -> Self {
        if let Some(word) = word {
            self.message = format!("{}; did you mean {word}?", self.message);
            self.did_you_mean = Some(word.to_owned());
        }
        self
    }

    /// Adds the errors of a further check. Errors at a key that was refused before concern the
    /// default in its place, and are left out.
    pub(crate) fn add(errors: &mut Vec<Self>, found: Vec<Self>) {
        let known = errors.len();
        for error in found {
            if !errors.iter().take(known).any(|old| old.concerns(&error)) {
                errors.push(error);
            }
        }
    }

    /// Whether the error lies at the key of `other`, or below it.
    fn concerns(&self, other: &Self) -> bool {
        let rest = self.key.strip_prefix(&other.key);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    }
}

/// Errors of one file in the order of its lines, displayed one per line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileErrors {
    file: String,
    errors: Vec<FileError>,
}

impl FileErrors {
    /// Sorts the errors by line, and drops duplicates.
    #[must_use]
    pub fn new(file: impl Into<String>, mut errors: Vec<FileError>) -> Self {
        errors.sort();
        errors.dedup();
        Self { file: file.into(), errors }
    }

    /// Returns the name of the file.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.file
    }

    /// Returns the errors, at least one.
    #[must_use]
    pub fn errors(&self) -> &[FileError] {
        &self.errors
    }
}

impl FileErrors {
    /// Returns each error as text with file and line.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let line = |error: &FileError| match error.line {
            Some(line) => format!("{}:{line}: {error}", self.file),
            None => format!("{}: {error}", self.file),
        };
        self.errors.iter().map(line).collect()
    }
}

impl fmt::Display for FileErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.lines().join("\n"))
    }
}

impl std::error::Error for FileErrors {}
