//! What commands work with: configuration, catalogue, paths, and the daemon's table of names.

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
    system::{clock, regular_file},
};

/// Where the configuration is unless a flag says otherwise.
pub const DEFAULT_CONFIG: &str = "/etc/intune-filter/config.yaml";

/// How long a command waits for the daemon's answer.
pub const REPLY_TIMEOUT: Duration = Duration::from_secs(5);

/// The configuration's file.
#[must_use]
pub fn config_path(global: &Global) -> PathBuf {
    global.config.clone().unwrap_or_else(|| DEFAULT_CONFIG.into())
}

/// The configuration, for commands that cannot do without.
pub fn required_config(global: &Global) -> Result<Config, Failure> {
    Ok(Config::load(&config_path(global))?)
}

/// The configuration, or `None` if none is named and there is none at the default place.
pub fn optional_config(global: &Global) -> Result<Option<Config>, Failure> {
    // A file system that does not answer has one that is read, and told of.
    let exists = || Path::new(DEFAULT_CONFIG).exists();
    let is_there = || regular_file::within(regular_file::READ_TIMEOUT, exists).unwrap_or(true);
    if global.config.is_none() && !is_there() {
        return Ok(None);
    }
    required_config(global).map(Some)
}

/// The configuration and the paths, for commands that read or remove what is in force: faults
/// must not keep anyone from that. What can be read of a faulty file counts.
pub fn lenient(global: &Global) -> (Option<Config>, Paths) {
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

/// The paths for a command that says, or whose daemon says, what is wrong with the file.
pub fn quiet_paths(global: &Global) -> Paths {
    let (config, _) = Config::load_part(&config_path(global));
    global.paths(&config.map(|config| config.paths).unwrap_or_default())
}

/// The paths alone.
pub fn paths(global: &Global) -> Paths {
    lenient(global).1
}

/// The catalogue that the configuration names, else the built-in one.
pub fn catalogue(paths: &Paths) -> Result<Cow<'static, Catalogue>, Failure> {
    Ok(match &paths.catalogue {
        Some(directory) => Cow::Owned(Catalogue::load(directory)?),
        None => Cow::Borrowed(Catalogue::builtin()),
    })
}

/// The table of names: the daemon's, or what the last one has saved.
pub fn names(paths: &Paths) -> Names {
    let live = Client::connect(&paths.runtime_dir).and_then(|daemon| {
        let answer = daemon
            .ask(&Request::Names {}, REPLY_TIMEOUT)
            .and_then(|NamesTable { table }| table.into_names(clock::clocks()));
        answer.inspect_err(|error| log::warn!("{error:#}; showing the saved names")).ok()
    });
    live.unwrap_or_else(|| {
        names::load(&paths.state_dir, clock::clocks(), Lives::ANY).unwrap_or_else(|error| {
            log::warn!("{error:#}");
            Names::default()
        })
    })
}
