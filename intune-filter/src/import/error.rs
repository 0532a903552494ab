//! Describes the faults of a list, each with its position.

use std::fmt;

/// Faults that are told of one file at most.
const TOLD_MAX: usize = 100;

/// Fault at a position of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Line, set or tag, such as `line 7` or `set 56, urls[2]`; empty for the file as a whole.
    pub at: String,
    /// Fault and expected value.
    pub message: String,
}

/// Faults of one file, displayed one per line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportError {
    /// Name of the file.
    pub file: String,
    /// Faults, in the order of the file.
    pub faults: Vec<Fault>,
}

impl fmt::Display for ImportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, Fault { at, message }) in self.faults.iter().take(TOLD_MAX).enumerate() {
            let (end, colon) =
                (if index == 0 { "" } else { "\n" }, if at.is_empty() { "" } else { ": " });
            write!(f, "{end}{}: {at}{colon}{message}", self.file)?;
        }
        match self.faults.len().saturating_sub(TOLD_MAX) {
            0 => Ok(()),
            more => write!(f, "\n{}: {more} more faults", self.file),
        }
    }
}

impl std::error::Error for ImportError {}
