//! Chooses and loads the daemon's configuration: the file's, or one that is kept in its place.

use std::{
    cell::RefCell,
    path::{Path, PathBuf},
};

use super::{
    ahead::Ahead,
    config_override::{self, ConfigOverride, Document},
    last_good::{self, LastGood},
};
use crate::{
    catalogue::CatalogueFiles,
    config::{Config, Paths, writable_by_others},
    policy::{self, Loaded, RuleBits},
    report::Origin,
    system::regular_file,
    yaml::FileErrors,
};

/// Configuration file, with the flags that override its paths.
pub(crate) struct ConfigSource<'a> {
    /// Path of the configuration file.
    pub path: &'a Path,
    /// Replaces paths of a configuration by those of flags.
    pub adjust: &'a dyn Fn(&mut Paths),
    /// Files read ahead, while these are to be used.
    pub ahead: RefCell<Option<Ahead>>,
}

/// Configuration that a start has chosen.
pub(crate) struct Chosen {
    /// Configuration as its author wrote it.
    pub document: Document,
    /// Origin relative to the configuration file.
    pub origin: Origin,
    /// Configuration with catalogue and policy.
    pub loaded: Loaded,
    /// Override in the state directory.
    pub saved: Option<ConfigOverride>,
    /// Errors of the configuration that would have come first.
    pub refused: Option<FileErrors>,
    /// Unusable files in the state directory, each with the reason.
    pub damaged: Vec<(PathBuf, String)>,
}

impl ConfigSource<'_> {
    /// Reads the configuration file.
    ///
    /// # Errors
    /// The file cannot be read, or is not UTF-8.
    pub(crate) fn read(&self) -> Result<Document, FileErrors> {
        let text = match &*self.ahead.borrow() {
            Some(ahead) => ahead.text.clone()?,
            None => Config::read_text(self.path)?,
        };
        Ok(Document { file: self.path.display().to_string(), text })
    }

    /// Checks and compiles a configuration, with bits that rules keep.
    ///
    /// # Errors
    /// Every fault that can be found.
    pub(crate) fn load(&self, document: &Document, bits: &RuleBits) -> Result<Loaded, FileErrors> {
        let catalogue = |directory: &Path| match &*self.ahead.borrow() {
            Some(ahead) => ahead.catalogue(directory),
            None => CatalogueFiles::read(directory).map_err(|error| error.to_string()),
        };
        policy::load_text_with(&document.file, &document.text, self.adjust, bits, catalogue)
    }

    /// Chooses the configuration of a start: the file's, or the one applied in its place; if that
    /// cannot be used, the last good one.
    ///
    /// # Errors
    /// None can be used; the faults are those of the first.
    pub(crate) fn choose(&self, bits: &RuleBits) -> Result<Chosen, FileErrors> {
        let file = self.read();
        let state = self.paths(file.as_ref().ok()).state_dir;
        let mut damaged = Vec::new();
        let saved = ConfigOverride::load(&state).unwrap_or_else(|error| {
            damaged.push((state.join(config_override::FILE_NAME), format!("{error:#}")));
            None
        });
        let on_disk = file.as_ref().ok().map(|file| file.text.clone());
        let first = match (&saved, file) {
            (Some(saved), Err(_)) if saved.unconfirmed.is_some() => Ok(saved.kept.clone()),
            (Some(saved), Ok(file)) if saved.passes_over(&file.text) => Ok(saved.kept.clone()),
            (_, file) => file,
        };
        let origin_of = |document: &Document| match on_disk.as_deref() == Some(&document.text) {
            true => Origin::File,
            false => Origin::Applied,
        };
        let loaded = first.and_then(|document| Ok((self.load(&document, bits)?, document)));
        let refused = match loaded {
            Ok((loaded, document)) => {
                let origin = origin_of(&document);
                return Ok(Chosen { document, origin, loaded, saved, refused: None, damaged });
            }
            Err(errors) => errors,
        };
        let good = LastGood::load(&state).unwrap_or_else(|error| {
            damaged.push((state.join(last_good::DIRECTORY), format!("{error:#}")));
            None
        });
        // Earlier releases kept the applied configuration, without a last good one.
        let applied = saved.as_ref().map(|saved| (saved.kept.clone(), None));
        let candidates =
            good.map(|good| (good.document, good.catalogue)).into_iter().chain(applied);
        for (document, files) in candidates {
            let (file, text) = (&document.file, &document.text);
            let read = |directory: &Path| match files {
                Some(files) => Ok(files),
                None => CatalogueFiles::read(directory).map_err(|error| error.to_string()),
            };
            match policy::load_text_with(file, text, self.adjust, bits, read) {
                Ok(loaded) => {
                    let (origin, refused) = (Origin::LastGood, Some(refused));
                    return Ok(Chosen { document, origin, loaded, saved, refused, damaged });
                }
                Err(errors) => log::error!("what was in force before cannot be used:\n{errors}"),
            }
        }
        for (_, why) in damaged {
            log::error!("{why}");
        }
        Err(refused)
    }

    /// Returns the paths that a start knows before it has read anything.
    #[must_use]
    pub(crate) fn first_paths(&self) -> Paths {
        self.paths(None)
    }

    /// Returns the paths according to a file, which may be faulty or missing.
    #[must_use]
    pub(crate) fn paths(&self, file: Option<&Document>) -> Paths {
        let config = file.and_then(|file| Config::parse_part(&file.file, &file.text).0);
        let mut paths = config.map(|config| config.paths).unwrap_or_default();
        (self.adjust)(&mut paths);
        paths
    }

    /// Returns the reason why users other than root can change the file, if they can; `None` if
    /// that is unknown.
    #[must_use]
    pub(crate) fn writable_by_others(&self) -> Option<String> {
        match &*self.ahead.borrow() {
            Some(ahead) => ahead.writable.clone(),
            None => {
                let path = self.path.to_owned();
                let look = move || writable_by_others(&path);
                regular_file::within(regular_file::READ_TIMEOUT, look).ok().flatten()
            }
        }
    }

    /// Returns the paths whose change may mend a file that cannot be used.
    #[must_use]
    pub(crate) fn depends_on(&self) -> Vec<PathBuf> {
        let file = self.read().ok();
        let catalogue = self.paths(file.as_ref()).catalogue;
        [self.path.to_owned()].into_iter().chain(catalogue).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn config(service: &str) -> String {
        format!(
            "interfaces: [{{name: lan}}]\n\
             clients: [{{name: all, networks: [10.0.0.0/24], services: [{service}]}}]\n\
             dns: {{resolvers: [10.0.0.1]}}\n\
             services: [{{id: {service}, tcp: [443], cidrs: [192.0.2.0/24]}}]\n"
        )
    }

    fn document(service: &str) -> Document {
        Document { file: "kept.yaml".into(), text: config(service) }
    }

    /// Directory of both the file and the state.
    struct Place(tempfile::TempDir);

    impl Place {
        fn new(file: Option<&str>, saved: Option<&ConfigOverride>, good: Option<&str>) -> Self {
            let place = Self(tempfile::tempdir().unwrap());
            if let Some(text) = file {
                fs::write(place.file(), text).unwrap();
            }
            ConfigOverride::store(saved, place.0.path()).unwrap();
            if let Some(service) = good {
                let (document, digest) = (document(service), String::new());
                let good = LastGood { document, catalogue: None, digest };
                good.store(place.0.path()).unwrap();
            }
            place
        }

        fn file(&self) -> PathBuf {
            self.0.path().join("config.yaml")
        }

        fn choose(&self) -> Result<Chosen, FileErrors> {
            let adjust = |paths: &mut Paths| paths.state_dir = self.0.path().to_owned();
            let source =
                ConfigSource { path: &self.file(), adjust: &adjust, ahead: RefCell::default() };
            source.choose(&RuleBits::new())
        }
    }

    /// Returns the choice of a start for the contents of file and state directory; errors as
    /// `None`.
    fn chosen(
        file: Option<&str>,
        saved: Option<&ConfigOverride>,
        good: Option<&str>,
    ) -> Option<String> {
        let chosen = Place::new(file, saved, good).choose().ok()?;
        assert_eq!(chosen.refused.is_some(), chosen.origin == Origin::LastGood);
        let service = &chosen.loaded.config.services[0].id;
        Some(format!("{service} {:?}", chosen.origin))
    }

    #[test]
    fn the_file_is_loaded_unless_something_is_kept_in_its_place() {
        let (file, edited) = (config("file"), config("edited"));
        assert_eq!(chosen(Some(&file), None, None).as_deref(), Some("file File"));
        assert_eq!(chosen(Some(&file), None, Some("good")).as_deref(), Some("file File"));
        assert_eq!(chosen(None, None, None), None);
        let applied = ConfigOverride::applied(&document("applied"), Some(&file));
        let chosen = |file, good| chosen(file, applied.as_ref(), good);
        assert_eq!(chosen(Some(&file), None).as_deref(), Some("applied Applied"));
        assert_eq!(chosen(Some(&edited), None).as_deref(), Some("edited File"));
        assert_eq!(chosen(None, None).as_deref(), Some("applied LastGood"));
        assert_eq!(chosen(None, Some("good")).as_deref(), Some("good LastGood"));
    }

    #[test]
    fn a_file_that_cannot_be_used_leaves_the_last_good_one() {
        let wrong_key = format!("{}no_such_key: 1\n", config("file"));
        let wrong_service = config("file").replace("id: file", "id: other");
        let no_catalogue = format!("{}paths: {{catalogue: /no/such}}\n", config("file"));
        for file in
            ["", "# nothing\n", "{faulty", "\u{1}", &wrong_key, &wrong_service, &no_catalogue]
        {
            assert_eq!(chosen(Some(file), None, None), None, "{file}");
            let found = chosen(Some(file), None, Some("good"));
            assert_eq!(found.as_deref(), Some("good LastGood"), "{file}");
        }
        let directory = Place::new(None, None, Some("good"));
        fs::create_dir(directory.file()).unwrap();
        assert_eq!(directory.choose().unwrap().origin, Origin::LastGood);
    }

    #[test]
    fn what_was_not_confirmed_is_never_loaded_whatever_became_of_the_file() {
        let saved = ConfigOverride::awaiting(document("old"), document("new"));
        let (new, edited) = (config("new"), config("edited"));
        for file in [Some(&*new), Some(&*edited), Some("{faulty"), None] {
            let found = chosen(file, Some(&saved), Some("good"));
            assert_eq!(found.as_deref(), Some("old Applied"), "{file:?}");
        }
        let found = chosen(Some(&config("old")), Some(&saved), None);
        assert_eq!(found.as_deref(), Some("old File"));
        let saved = saved.rolled_back(Some(&new));
        assert_eq!(chosen(Some(&new), Some(&saved), None).as_deref(), Some("old Applied"));
        assert_eq!(chosen(Some(&edited), Some(&saved), None).as_deref(), Some("edited File"));
    }

    #[test]
    fn a_file_that_says_where_the_state_is_may_be_faulty_elsewhere() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.yaml");
        let state = directory.path().display();
        fs::write(&path, format!("paths: {{state_dir: {state}}}\nclients: 7\n")).unwrap();
        let saved = ConfigOverride::awaiting(document("old"), document("new"));
        ConfigOverride::store(Some(&saved), directory.path()).unwrap();
        let source = ConfigSource { path: &path, adjust: &|_| {}, ahead: RefCell::default() };
        let chosen = source.choose(&RuleBits::new()).unwrap();
        assert_eq!((chosen.document, chosen.saved), (document("old"), Some(saved)));
    }

    #[test]
    fn what_is_kept_and_cannot_be_read_is_named_and_stops_nothing() {
        for file in [config("file"), "{faulty".to_owned()] {
            let place = Place::new(Some(&file), None, Some("good"));
            fs::write(place.0.path().join(config_override::FILE_NAME), "{").unwrap();
            let chosen = place.choose().unwrap();
            assert_eq!(chosen.saved, None);
            let [(path, why)] = &chosen.damaged[..] else { panic!("{:?}", chosen.damaged) };
            assert!(
                path.ends_with(config_override::FILE_NAME)
                    && why.contains(config_override::FILE_NAME),
                "{why}"
            );
        }
        let place = Place::new(Some(&config("file")), None, Some("good"));
        fs::write(place.0.path().join("last-good/config.yaml"), "{").unwrap();
        assert_eq!(place.choose().unwrap().damaged.len(), 0, "nobody has asked for it");
        fs::remove_file(place.file()).unwrap();
        assert!(place.choose().is_err());
    }
}
