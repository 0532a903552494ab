//! What is wrong with a catalogue, and where.

use std::{fmt, io, path::PathBuf};

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
    Invalid {
        /// The file.
        file: String,
        /// The line, if it is known.
        line: Option<usize>,
        /// What was found and what was expected.
        message: String,
    },
}

impl CatalogueError {
    pub(super) fn syntax(file: &str, error: &serde_yaml::Error) -> Self {
        let mut message = error.to_string();
        let line = error.location().map(|location| {
            let suffix = format!(" at line {} column {}", location.line(), location.column());
            message.truncate(message.strip_suffix(&suffix).map_or(message.len(), str::len));
            location.line()
        });
        Self::Invalid { file: file.to_owned(), line, message }
    }

    pub(super) fn at(place: Place, message: String) -> Self {
        Self::Invalid { file: place.file, line: place.line, message }
    }
}

impl fmt::Display for CatalogueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read { path, error } => write!(f, "{}: {error}", path.display()),
            Self::NoFiles(path) => {
                write!(f, "{}: no *.yaml, expected the files of a catalogue", path.display())
            }
            Self::Invalid { file, line, message } => {
                let place = Place { file: file.clone(), line: *line };
                write!(f, "{place}: {message}")
            }
        }
    }
}

impl std::error::Error for CatalogueError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Read { error, .. } => Some(error),
            Self::NoFiles(_) | Self::Invalid { .. } => None,
        }
    }
}

/// A place in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) file: String,
    pub(super) line: Option<usize>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        self.line.map_or(Ok(()), |line| write!(f, ":{line}"))
    }
}
