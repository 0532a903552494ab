//! Keeps the files of a catalogue as they are on disk, so that they can be stored and read again.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{Catalogue, CatalogueError};
use crate::system::regular_file::{self, READ_TIMEOUT, SIZE_MAX};

/// Texts of all `*.yaml` of a directory, in the order of their names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CatalogueFiles {
    /// Path and text of each file.
    pub texts: Vec<(PathBuf, String)>,
}

impl Catalogue {
    /// Loads every `*.yaml` of a directory, in the order of their names.
    ///
    /// # Errors
    /// The directory or a file cannot be read, a file is no catalogue, or a check refuses it.
    pub fn load(directory: &Path) -> Result<Self, CatalogueError> {
        CatalogueFiles::read(directory)?.parse()
    }
}

impl CatalogueFiles {
    /// Reads the files of a directory.
    ///
    /// # Errors
    /// The directory or a file cannot be read in time, the directory has no `*.yaml`, a file is not
    /// regular, or the files together exceed the size limit of one file.
    pub fn read(directory: &Path) -> Result<Self, CatalogueError> {
        let path = directory.to_owned();
        regular_file::within(READ_TIMEOUT, move || Self::read_here(&path))
            .map_err(|error| CatalogueError::Read { path: directory.to_owned(), error })?
    }

    /// Reads the files on the calling thread, which waits as long as the file system takes.
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

    /// Parses and checks the files as one catalogue.
    ///
    /// # Errors
    /// A text is no catalogue, or a check refuses it; the error has file and line.
    pub fn parse(&self) -> Result<Catalogue, CatalogueError> {
        let named: Vec<(String, &str)> =
            self.texts.iter().map(|(path, text)| (path.display().to_string(), &**text)).collect();
        Catalogue::parse(named.iter().map(|(name, text)| (name.as_str(), *text)))
    }
}
