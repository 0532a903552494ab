//! Provides commands with configuration, catalogue, paths, and the daemon's table of names.

use std::{
    borrow::Cow,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{args::Global, error::Failure};
use crate::{
    catalogue::Catalogue,
    config::{Config, Paths},
    control::{Client, NamesTable, Request},
    names::{self, Lives, Names},
    policy,
    system::{clock, regular_file},
};

/// Configuration file without a flag.
pub(super) const DEFAULT_CONFIG: &str = "/etc/intune-filter/config.yaml";

/// Time limit for the daemon's reply.
pub(super) const REPLY_TIMEOUT: Duration = Duration::from_secs(5);

/// Returns the path of the configuration file.
#[must_use]
pub(super) fn config_path(global: &Global) -> PathBuf {
    global.config.clone().unwrap_or_else(|| DEFAULT_CONFIG.into())
}

/// Loads the configuration, for commands that need one.
pub(super) fn required_config(global: &Global) -> Result<Config, Failure> {
    Ok(Config::load(&config_path(global))?)
}

/// Loads the configuration; `None` if no flag names one and the default file does not exist.
pub(super) fn optional_config(global: &Global) -> Result<Option<Config>, Failure> {
    if global.config.is_none() && !has_default_file() {
        return Ok(None);
    }
    required_config(global).map(Some)
}

/// Whether the default file exists. A file system that does not respond counts as having it, and its
/// reading then reports that.
pub(super) fn has_default_file() -> bool {
    let exists = || Path::new(DEFAULT_CONFIG).exists();
    regular_file::within(regular_file::READ_TIMEOUT, exists).unwrap_or(true)
}

/// Loads the configuration and paths for commands that read or remove the state in force, which
/// faults of the file must not prevent. The readable part of a faulty file counts.
pub(super) fn lenient(global: &Global) -> (Option<Config>, Paths) {
    let config = match optional_config(global) {
        Ok(config) => config,
        Err(error) => {
            log::warn!("{error}");
            let (config, _) = Config::load_part(&config_path(global));
            if config.is_none() {
                log::warn!("going on with the default paths, where no flag says otherwise");
            }
            config
        }
    };
    let configured = config.as_ref().map(|config| config.paths.clone()).unwrap_or_default();
    (config, global.paths(&configured))
}

/// Returns the paths for a command that reports faults of the file itself, or whose daemon does.
pub(super) fn quiet_paths(global: &Global) -> Paths {
    let (config, _) = Config::load_part(&config_path(global));
    global.paths(&config.map(|config| config.paths).unwrap_or_default())
}

/// Returns the paths, as far as the configuration can be read.
pub(super) fn paths(global: &Global) -> Paths {
    lenient(global).1
}

/// Loads the catalogue that the configuration names: a site's own, else a built-in edition.
pub(super) fn catalogue(config: Option<&Config>) -> Result<Cow<'static, Catalogue>, Failure> {
    let Some(config) = config else { return Ok(Cow::Borrowed(Catalogue::builtin())) };
    if let Some(directory) = &config.paths.catalogue {
        return Ok(Cow::Owned(Catalogue::load(directory)?));
    }
    match Catalogue::edition_named(&config.choice.edition) {
        Some(catalogue) => Ok(Cow::Borrowed(catalogue)),
        None => Err(config.errors(vec![policy::unknown_edition(config)]).into()),
    }
}

/// Returns the daemon's table of names; without a daemon, the saved one.
pub(super) fn names(paths: &Paths) -> Names {
    let live = Client::connect(&paths.runtime_dir).and_then(|daemon| {
        let answer = daemon
            .ask(&Request::Names {}, REPLY_TIMEOUT)
            .and_then(|NamesTable { table }| table.into_names(clock::clocks()));
        answer.inspect_err(|error| log::warn!("{error:#}; showing the saved names")).ok()
    });
    live.unwrap_or_else(|| {
        names::load(&paths.state_dir, clock::clocks(), Lives::ANY, 0).unwrap_or_else(|error| {
            log::warn!("{error:#}");
            Names::default()
        })
    })
}
