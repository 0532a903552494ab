//! What is wrong with a catalogue, and where.

use std::{fmt, io, path::PathBuf};

use crate::yaml::FileErrors;

/// A catalogue that cannot be used.
#[derive(Debug)]
pub enum CatalogueError {
    /// A directory or file that cannot be read.
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A directory without `*.yaml`.
    NoFiles(PathBuf),
    /// A file that is refused.
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

/// A place in a file.
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
