//! Where the daemon's configuration comes from: its file, or what is kept in place of that.

use std::{cell::RefCell, path::Path};

use super::{
    ahead::Ahead,
    saved::{Document, Saved},
};
use crate::{
    catalogue::CatalogueFiles,
    config::{Config, ConfigErrors, Paths},
    policy::{self, Loaded, RuleBits},
};

/// The configuration file, and the flags that go before what it says.
pub struct Source<'a> {
    /// The configuration file.
    pub path: &'a Path,
    /// Puts paths in the place of a configuration's.
    pub adjust: &'a dyn Fn(&mut Paths),
    /// What was read ahead, while that is gone by.
    pub ahead: RefCell<Option<Ahead>>,
}

impl Source<'_> {
    /// Reads the configuration file.
    ///
    /// # Errors
    /// It cannot be read, or is not UTF-8.
    pub fn read(&self) -> Result<Document, ConfigErrors> {
        let text = match &*self.ahead.borrow() {
            Some(ahead) => ahead.text.clone()?,
            None => Config::read_text(self.path)?,
        };
        Ok(Document { file: self.path.display().to_string(), text })
    }

    /// Checks and compiles a configuration, for rules that have the bits given.
    ///
    /// # Errors
    /// Every fault that can be found.
    pub fn load(&self, document: &Document, bits: &RuleBits) -> Result<Loaded, ConfigErrors> {
        let catalogue = |directory: &Path| match &*self.ahead.borrow() {
            Some(ahead) => ahead.catalogue(directory),
            None => CatalogueFiles::read(directory).map_err(|error| error.to_string()),
        };
        policy::load_text_with(&document.file, &document.text, self.adjust, bits, catalogue)
    }

    /// What a start loads, and what is kept in the state directory.
    ///
    /// # Errors
    /// It is the file, and that cannot be read.
    pub fn choose(&self) -> Result<(Document, Option<Saved>), ConfigErrors> {
        let file = self.read();
        let saved =
            Saved::load(&self.paths(file.as_ref().ok()).state_dir).unwrap_or_else(|error| {
                log::warn!("going by the configuration file alone: {error:#}");
                None
            });
        let document = match (&saved, file) {
            (Some(saved), Err(_)) if saved.unconfirmed.is_some() => saved.kept.clone(),
            (Some(saved), Ok(file)) if saved.passes_over(&file.text) => saved.kept.clone(),
            (_, file) => file?,
        };
        Ok((document, saved))
    }

    /// The paths that can be told from a file, which may be faulty or missing.
    fn paths(&self, file: Option<&Document>) -> Paths {
        let config = file.and_then(|file| Config::parse_part(&file.file, &file.text).0);
        let mut paths = config.map(|config| config.paths).unwrap_or_default();
        (self.adjust)(&mut paths);
        paths
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn document(text: &str) -> Document {
        Document { file: "kept.yaml".into(), text: text.into() }
    }

    /// What a start loads for what the file and the state directory hold; errors as `None`.
    fn chosen(file: Option<&str>, saved: Option<&Saved>) -> Option<String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.yaml");
        if let Some(text) = file {
            fs::write(&path, text).unwrap();
        }
        Saved::store(saved, directory.path()).unwrap();
        let adjust = |paths: &mut Paths| paths.state_dir = directory.path().to_owned();
        let source = Source { path: &path, adjust: &adjust, ahead: RefCell::default() };
        source.choose().ok().map(|(document, _)| document.text)
    }

    #[test]
    fn the_file_is_loaded_unless_something_is_kept_in_its_place() {
        assert_eq!(chosen(Some("file"), None).as_deref(), Some("file"));
        assert_eq!(chosen(None, None), None);
        let applied = Saved::applied(&document("applied"), Some("file"));
        assert_eq!(chosen(Some("file"), applied.as_ref()).as_deref(), Some("applied"));
        assert_eq!(chosen(Some("edited"), applied.as_ref()).as_deref(), Some("edited"));
        assert_eq!(chosen(None, applied.as_ref()), None, "the file is missed");
    }

    #[test]
    fn what_was_not_confirmed_is_never_loaded_whatever_became_of_the_file() {
        let saved = Saved::awaiting(document("old"), document("new"));
        for file in [Some("new"), Some("old"), Some("edited"), Some("{faulty"), None] {
            assert_eq!(chosen(file, Some(&saved)).as_deref(), Some("old"), "{file:?}");
        }
        let saved = saved.rolled_back(Some("new"));
        assert_eq!(chosen(Some("new"), Some(&saved)).as_deref(), Some("old"));
        assert_eq!(chosen(Some("edited"), Some(&saved)).as_deref(), Some("edited"));
    }

    #[test]
    fn a_file_that_says_where_the_state_is_may_be_faulty_elsewhere() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.yaml");
        let state = directory.path().display();
        fs::write(&path, format!("paths: {{state_dir: {state}}}\nclients: 7\n")).unwrap();
        let saved = Saved::awaiting(document("old"), document("new"));
        Saved::store(Some(&saved), directory.path()).unwrap();
        let source = Source { path: &path, adjust: &|_| {}, ahead: RefCell::default() };
        assert_eq!(source.choose().unwrap(), (document("old"), Some(saved)));
    }

    #[test]
    fn what_is_kept_and_cannot_be_read_does_not_stop_the_daemon() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.yaml");
        fs::write(&path, "file").unwrap();
        fs::write(directory.path().join(super::super::saved::FILE_NAME), "{").unwrap();
        let adjust = |paths: &mut Paths| paths.state_dir = directory.path().to_owned();
        let source = Source { path: &path, adjust: &adjust, ahead: RefCell::default() };
        let (document, saved) = source.choose().unwrap();
        assert_eq!((document.text.as_str(), saved), ("file", None));
    }
}
