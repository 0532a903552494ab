//! One file of a catalogue, with what its errors need.

use serde::Deserialize;

use super::{
    error::{CatalogueError, Place},
    service::Service,
};
use crate::yaml::Lines;

/// One file of a catalogue.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    services: Vec<Service>,
}

/// A file with what its errors need.
pub struct Document {
    /// The file's name.
    pub name: String,
    /// Where its values stand.
    pub lines: Lines,
    /// Its services.
    pub services: Vec<Service>,
}

impl Document {
    /// Reads a file's text.
    pub fn parse(name: &str, text: &str) -> Result<Self, CatalogueError> {
        let File { services } =
            serde_yaml::from_str(text).map_err(|error| CatalogueError::syntax(name, &error))?;
        Ok(Self { name: name.to_owned(), lines: Lines::of(text), services })
    }

    /// Where a value stands.
    pub fn place(&self, path: &str) -> Place {
        Place { file: self.name.clone(), line: self.lines.line(path) }
    }
}
