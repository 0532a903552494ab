//! Parses the files of a catalogue, of either format.

use super::{Catalogue, CatalogueError, format1, format2};
use crate::yaml::Text;

impl Catalogue {
    /// Parses a catalogue from the names and texts of its files: of format 2 if one of them is
    /// called `edition.yaml`, else of format 1.
    ///
    /// # Errors
    /// A text is no catalogue, or a check refuses it; the error has file and line.
    pub fn parse<'a>(
        files: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, CatalogueError> {
        Self::parse_texts(files.into_iter().map(|(name, text)| (name, Text::Written(text))))
    }

    /// Parses a catalogue from the names and texts of its files, written or prepared.
    pub(super) fn parse_texts<'a>(
        files: impl Iterator<Item = (&'a str, Text<'a>)>,
    ) -> Result<Self, CatalogueError> {
        let (editions, files): (Vec<_>, Vec<_>) =
            files.partition(|(name, _)| format2::is_edition(name));
        match editions.first() {
            Some(edition) => format2::parse(*edition, files),
            None => format1::parse(files),
        }
    }
}
