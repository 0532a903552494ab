//! Keeps what a file of format 2 holds, with the lines of its keys.

use crate::{
    catalogue::CatalogueError,
    yaml::{self, FileErrors, Lines, Read, Text},
};

/// File that has been read, with the lines of its keys.
pub(super) struct Parsed<T> {
    /// Name of the file.
    pub name: String,
    /// Lines of the keys.
    pub lines: Lines,
    /// Contents.
    pub value: T,
}

impl<T: Read> Parsed<T> {
    /// Parses a text; `what` names the expected contents.
    pub(super) fn parse(name: &str, text: Text<'_>, what: &str) -> Result<Self, CatalogueError> {
        let reading = yaml::read(text, what);
        match reading.value {
            Some(value) if reading.errors.is_empty() => {
                Ok(Self { name: name.to_owned(), lines: reading.lines, value })
            }
            _ => Err(CatalogueError::Invalid(FileErrors::new(name, reading.errors))),
        }
    }
}
