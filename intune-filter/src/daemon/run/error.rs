//! Why the daemon has ended, or did not do what it was told.

use std::fmt;

use crate::yaml::FileErrors;

/// The daemon failed, or its configuration did.
#[derive(Debug)]
pub enum RunError {
    /// The configuration is not usable.
    Configuration(FileErrors),
    /// Anything else.
    Other(anyhow::Error),
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Configuration(errors) => errors.fmt(f),
            Self::Other(error) => write!(f, "{error:#}"),
        }
    }
}

impl From<anyhow::Error> for RunError {
    fn from(error: anyhow::Error) -> Self {
        Self::Other(error)
    }
}

impl From<FileErrors> for RunError {
    fn from(errors: FileErrors) -> Self {
        Self::Configuration(errors)
    }
}
