//! The files of a catalogue as they are on disk, so that they can be kept and read again.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{Catalogue, CatalogueError};
use crate::system::regular_file::{self, READ_TIMEOUT, SIZE_MAX};

/// Every `*.yaml` of a directory, in the order of their names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CatalogueFiles {
    /// Each file's path and text.
    pub texts: Vec<(PathBuf, String)>,
}

impl Catalogue {
    /// Reads every `*.yaml` of a directory, in the order of their names.
    ///
    /// # Errors
    /// When the directory or a file cannot be read, holds no catalogue, or is refused by a check.
    pub fn load(directory: &Path) -> Result<Self, CatalogueError> {
        CatalogueFiles::read(directory)?.parse()
    }
}

impl CatalogueFiles {
    /// Reads them.
    ///
    /// # Errors
    /// The directory or a file cannot be read, not in time, or there is none; the files are no
    /// regular ones, or larger together than one file may be.
    pub fn read(directory: &Path) -> Result<Self, CatalogueError> {
        let path = directory.to_owned();
        regular_file::within(READ_TIMEOUT, move || Self::read_here(&path))
            .map_err(|error| CatalogueError::Read { path: directory.to_owned(), error })?
    }

    /// The same by the thread that calls, however long the file system takes to answer.
    pub(crate) fn read_here(directory: &Path) -> Result<Self, CatalogueError> {
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
        let (mut texts, mut room) = (Vec::new(), SIZE_MAX);
        for path in paths {
            let octets = regular_file::read(&path).map_err(read(&path))?;
            let Some(left) = room.checked_sub(octets.len() as u64) else {
                let error = format!("with the files before it larger than {} MiB", SIZE_MAX >> 20);
                return Err(read(&path)(io::Error::other(error)));
            };
            room = left;
            let text = String::from_utf8(octets)
                .map_err(|error| read(&path)(io::Error::new(io::ErrorKind::InvalidData, error)))?;
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
