//! The files of a catalogue as they are on disk, so that they can be kept and read again.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{Catalogue, CatalogueError};

/// Every `*.yaml` of a directory, in the order of their names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CatalogueFiles {
    /// Each file's path and text.
    pub texts: Vec<(PathBuf, String)>,
}

impl CatalogueFiles {
    /// Reads them.
    ///
    /// # Errors
    /// The directory or a file cannot be read, or there is none.
    pub fn read(directory: &Path) -> Result<Self, CatalogueError> {
        let read = |path: &Path| {
            let path = path.to_owned();
            move |error| CatalogueError::Read { path, error }
        };
        let mut paths = Vec::new();
        for entry in fs::read_dir(directory).map_err(read(directory))? {
            let path = entry.map_err(read(directory))?.path();
            if path.extension().is_some_and(|extension| extension == "yaml") {
                paths.push(path);
            }
        }
        if paths.is_empty() {
            return Err(CatalogueError::NoFiles(directory.to_owned()));
        }
        paths.sort();
        let mut texts = Vec::new();
        for path in paths {
            let text = fs::read_to_string(&path).map_err(read(&path))?;
            texts.push((path, text));
        }
        Ok(Self { texts })
    }

    /// The catalogue that they hold.
    ///
    /// # Errors
    /// A text is no catalogue, or refused by a check; the error names file and line.
    pub fn parse(&self) -> Result<Catalogue, CatalogueError> {
        let named: Vec<(String, &str)> =
            self.texts.iter().map(|(path, text)| (path.display().to_string(), &**text)).collect();
        Catalogue::parse(named.iter().map(|(name, text)| (name.as_str(), *text)))
    }
}
