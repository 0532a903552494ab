//! Defines the JSON of a command that failed.

use serde::Serialize;

use crate::yaml::FileError;

/// Failure of a command, on standard output beside the text on standard error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Failed {
    /// Number of the contract, [`super::SCHEMA`].
    pub schema: u32,
    /// Always false.
    pub ok: bool,
    /// What is wrong, at least one line.
    pub errors: Vec<FailedLine>,
}

/// One fault.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct FailedLine {
    /// File, if the fault is in one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Line in the file, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// Path of the key, such as `clients[0].networks[1]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Fault and expected value.
    pub message: String,
    /// Known word that may be meant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub did_you_mean: Option<String>,
}

impl FailedLine {
    /// A fault without a place.
    #[must_use]
    pub fn new(message: &str) -> Self {
        Self { message: message.to_owned(), ..Self::default() }
    }

    /// A fault of a file.
    pub(crate) fn of(file: &str, error: &FileError) -> Self {
        let key = (!error.key.is_empty()).then(|| error.key.clone());
        let (line, message) = (error.line, error.message.clone());
        let did_you_mean = error.did_you_mean.clone();
        Self { file: Some(file.to_owned()), line, key, message, did_you_mean }
    }
}
