//! Defines the results of commands and their exit codes.

use std::{fmt, process::ExitCode};

use crate::{
    catalogue::CatalogueError,
    report::{Failed, FailedLine, SCHEMA},
    yaml::FileErrors,
};

/// Result of a command that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitStatus {
    /// Success: exit code 0.
    Yes,
    /// Success with the answer no: exit code 4.
    No,
    /// Success in some places only: exit code 1.
    Partly,
}

impl From<ExitStatus> for ExitCode {
    fn from(outcome: ExitStatus) -> Self {
        match outcome {
            ExitStatus::Yes => Self::SUCCESS,
            ExitStatus::No => Self::from(4),
            ExitStatus::Partly => Self::FAILURE,
        }
    }
}

/// Failure of a command.
#[derive(Debug)]
pub enum Failure {
    /// Arguments that do not go together: exit code 2.
    Usage(String),
    /// Faults of a configuration or catalogue by file and line: exit code 3.
    Invalid(FileErrors),
    /// Unusable configuration, catalogue or list: exit code 3.
    Configuration(String),
    /// Any other failure: exit code 1.
    Other(anyhow::Error),
}

impl Failure {
    /// Returns the failure as `--json` prints it.
    #[must_use]
    pub(super) fn report(&self) -> Failed {
        let errors = match self {
            Self::Invalid(errors) => {
                errors.errors().iter().map(|error| FailedLine::of(errors.file(), error)).collect()
            }
            _ => self.to_string().lines().map(FailedLine::new).collect(),
        };
        Failed { schema: SCHEMA, ok: false, errors }
    }

    /// Returns the exit code.
    #[must_use]
    pub fn code(&self) -> ExitCode {
        match self {
            Self::Usage(_) => ExitCode::from(2),
            Self::Invalid(_) | Self::Configuration(_) => ExitCode::from(3),
            Self::Other(_) => ExitCode::FAILURE,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(message) | Self::Configuration(message) => f.write_str(message),
            Self::Invalid(errors) => errors.fmt(f),
            Self::Other(error) => write!(f, "{error:#}"),
        }
    }
}

impl From<FileErrors> for Failure {
    fn from(errors: FileErrors) -> Self {
        Self::Invalid(errors)
    }
}

impl From<CatalogueError> for Failure {
    fn from(error: CatalogueError) -> Self {
        match error {
            CatalogueError::Invalid(errors) => Self::Invalid(errors),
            error => Self::Configuration(error.to_string()),
        }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Other(error)
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::Other(error.into())
    }
}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Self {
        Self::Other(error.into())
    }
}
