//! What is wrong with a file, and where.

use std::fmt;

/// One fault: `FILE:LINE: KEY.PATH: what is wrong, expected what`, without the file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileError {
    /// The line, from 1; `None` if the fault is of the file as a whole.
    pub line: Option<u32>,
    /// Where in the document: `clients[0].networks[1]`; empty for the document as a whole.
    pub key: String,
    /// What is wrong and what was expected.
    pub message: String,
}

/// Faults that are told of one file at most; who writes more has another kind of file.
const TOLD_MAX: usize = 1000;

/// Faults while they are collected: what is beyond [`TOLD_MAX`] is only counted.
#[derive(Debug, Default)]
pub(super) struct Collected {
    errors: Vec<FileError>,
    untold: usize,
}

impl Collected {
    /// Adds a fault; `message` is not made if it is not told.
    pub fn push(&mut self, line: Option<u32>, key: &str, message: impl FnOnce() -> String) {
        if self.errors.len() < TOLD_MAX {
            self.errors.push(FileError { line, key: key.to_owned(), message: message() });
        } else {
            self.untold += 1;
        }
    }

    /// The faults, and how many there are beyond them.
    pub fn into_vec(mut self) -> Vec<FileError> {
        if self.untold != 0 {
            let message = format!("{} more faults, expected fewer to tell them all", self.untold);
            self.errors.push(FileError { line: None, key: String::new(), message });
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
    /// Adds what a further check has found. Where something was refused already, more would be
    /// said of its stand-in, and is left out.
    pub(crate) fn add(errors: &mut Vec<Self>, found: Vec<Self>) {
        let known = errors.len();
        for error in found {
            if !errors.iter().take(known).any(|old| old.concerns(&error)) {
                errors.push(error);
            }
        }
    }

    /// Whether it is a fault of what `other` is a fault of, or of a part of it.
    fn concerns(&self, other: &Self) -> bool {
        let rest = self.key.strip_prefix(&other.key);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    }
}

/// Every fault of one file, in the order of its lines; one a line when displayed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileErrors {
    file: String,
    errors: Vec<FileError>,
}

impl FileErrors {
    /// Sorts the faults by line. A fault that is found twice is told once.
    #[must_use]
    pub fn new(file: impl Into<String>, mut errors: Vec<FileError>) -> Self {
        errors.sort();
        errors.dedup();
        Self { file: file.into(), errors }
    }

    /// The file's name.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The faults, at least one.
    #[must_use]
    pub fn errors(&self) -> &[FileError] {
        &self.errors
    }
}

impl FileErrors {
    /// Each fault with file and line.
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
