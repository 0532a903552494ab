//! Defines the errors that end the daemon or refuse a command.

use std::fmt;

use crate::yaml::FileErrors;

/// Error of the daemon or of its configuration.
#[derive(Debug)]
pub(crate) enum RunError {
    /// The configuration cannot be used.
    Configuration(FileErrors),
    /// Any other error.
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
