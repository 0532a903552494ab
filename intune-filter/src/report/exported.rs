//! Defines the JSON of `endpoints export` and `endpoints import`.

use serde::Serialize;

use crate::import::Written;

/// Result of `endpoints export`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Exported {
    /// Number of the contract, [`super::SCHEMA`].
    pub schema: u32,
    /// Directory of the files.
    pub directory: String,
    /// Files that were written.
    pub files: Vec<ExportedFile>,
    /// Files of an earlier export that were removed.
    pub removed: Vec<String>,
}

/// File that was exported.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ExportedFile {
    /// Name in the directory.
    pub name: String,
    /// What the form cannot say of this service.
    pub losses: Vec<String>,
}

/// Result of `endpoints import`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Imported {
    /// Number of the contract, [`super::SCHEMA`].
    pub schema: u32,
    /// File that was written; `None` if none was asked for.
    pub file: Option<String>,
    /// Form that the list was read in.
    pub form: String,
    /// Services, rules and destinations of the file.
    #[serde(flatten)]
    pub written: Written,
    /// Entries of the list.
    pub read: usize,
    /// Entries that were there before with the same ports.
    pub repeated: usize,
    /// Entries of areas and tags that were not asked for.
    pub unasked: usize,
    /// Optional entries that were left out.
    pub optional: usize,
    /// Fields, columns and sets that hold no destination.
    pub passed_over: Vec<String>,
}
