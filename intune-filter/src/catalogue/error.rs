//! Describes errors of a catalogue by file and line.

use std::{fmt, io, path::PathBuf};

use crate::yaml::FileErrors;

/// Error of an unusable catalogue.
#[derive(Debug)]
pub enum CatalogueError {
    /// A directory or file cannot be read.
    Read {
        /// Path of the directory or file.
        path: PathBuf,
        /// Error of the system call.
        error: io::Error,
    },
    /// The directory has no `*.yaml`.
    NoFiles(PathBuf),
    /// A file is refused.
    Invalid(FileErrors),
}

impl fmt::Display for CatalogueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read { path, error } => write!(f, "{}: {error}", path.display()),
            Self::NoFiles(path) => {
                write!(f, "{}: no *.yaml, expected the files of a catalogue", path.display())
            }
            Self::Invalid(errors) => errors.fmt(f),
        }
    }
}

impl std::error::Error for CatalogueError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Read { error, .. } => Some(error),
            Self::Invalid(errors) => Some(errors),
            Self::NoFiles(_) => None,
        }
    }
}

/// File and line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) file: String,
    pub(super) line: Option<u32>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        self.line.map_or(Ok(()), |line| write!(f, ":{line}"))
    }
}
