//! What is wrong with a configuration file, and where.

use std::fmt;

/// One fault: `FILE:LINE: KEY.PATH: what is wrong, expected what`, without the file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConfigError {
    /// The line, from 1; `None` if the fault is of the file as a whole.
    pub line: Option<u32>,
    /// Where in the document: `clients[0].networks[1]`; empty for the document as a whole.
    pub key: String,
    /// What is wrong and what was expected.
    pub message: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.key.is_empty() {
            f.write_str(&self.message)
        } else {
            write!(f, "{}: {}", self.key, self.message)
        }
    }
}

impl ConfigError {
    /// Adds what a further check has found. Where something was refused already, more would be
    /// said of its stand-in, and is left out.
    pub(crate) fn add(errors: &mut Vec<Self>, found: Vec<Self>) {
        let known = errors.len();
        for error in found {
            if !errors[..known].iter().any(|old| old.concerns(&error)) {
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
pub struct ConfigErrors {
    file: String,
    errors: Vec<ConfigError>,
}

impl ConfigErrors {
    /// Sorts the faults by line. A fault that is found twice is told once.
    #[must_use]
    pub fn new(file: impl Into<String>, mut errors: Vec<ConfigError>) -> Self {
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
    pub fn errors(&self) -> &[ConfigError] {
        &self.errors
    }
}

impl ConfigErrors {
    /// Each fault with file and line.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let line = |error: &ConfigError| match error.line {
            Some(line) => format!("{}:{line}: {error}", self.file),
            None => format!("{}: {error}", self.file),
        };
        self.errors.iter().map(line).collect()
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.lines().join("\n"))
    }
}

impl std::error::Error for ConfigErrors {}
