//! Stores the guard's state at a start, where it is found before any configuration is read.

use std::{io, path::Path};

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

use crate::{
    config::{Boot, Config},
    system::{atomic_file, regular_file},
};

/// Name of the file in the state directory.
pub(super) const FILE_NAME: &str = "boot.json";

/// Version of the file's format.
const FORMAT: u32 = 1;

/// Part of the last good configuration that concerns the guard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct GuardState {
    format: u32,
    /// `closed` or `open`.
    boot: Choice,
    /// Interfaces with clients.
    interfaces: Vec<Interface>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Choice {
    Closed,
    Open,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Interface {
    name: String,
    vlans: Vec<u16>,
}

impl GuardState {
    /// Returns the state for a configuration.
    #[must_use]
    pub(crate) fn of(config: &Config) -> Self {
        let boot = match config.boot {
            Boot::Closed => Choice::Closed,
            Boot::Open => Choice::Open,
        };
        let interfaces = config.interfaces.iter().map(|interface| Interface {
            name: interface.name.clone(),
            vlans: interface.vlans.clone(),
        });
        Self { format: FORMAT, boot, interfaces: interfaces.collect() }
    }

    /// Returns a configuration of this state alone, to close the guard with.
    #[must_use]
    pub(crate) fn to_config(&self) -> Config {
        let boot = match self.boot {
            Choice::Closed => Boot::Closed,
            Choice::Open => Boot::Open,
        };
        let interfaces = self.interfaces.iter().map(|interface| crate::config::Interface {
            name: interface.name.clone(),
            mode: Default::default(),
            vlans: interface.vlans.clone(),
            source_check: Default::default(),
        });
        Config { boot, ..Config::bare(interfaces.collect()) }
    }

    /// Loads the state; `None` if there is no file.
    ///
    /// # Errors
    /// The file cannot be read or used.
    pub(crate) fn load(state_directory: &Path) -> Result<Option<Self>> {
        let path = state_directory.join(FILE_NAME);
        let octets = match regular_file::read(&path) {
            Ok(octets) => octets,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read {}", path.display()));
            }
        };
        parse(&octets).map(Some).with_context(|| format!("cannot use {}", path.display()))
    }

    /// Stores the state, unless the file has it already.
    ///
    /// # Errors
    /// The file cannot be written; its earlier contents are kept.
    pub(crate) fn store(&self, state_directory: &Path) -> Result<()> {
        let path = state_directory.join(FILE_NAME);
        let text = serde_json::to_vec(self)?;
        if regular_file::read(&path).is_ok_and(|kept| kept == text) {
            return Ok(());
        }
        if Self::load(state_directory).is_err() {
            let kept = atomic_file::set_aside(&path)
                .with_context(|| format!("cannot set {} aside", path.display()))?;
            log::warn!("{} cannot be used; it is kept as {}", path.display(), kept.display());
        }
        atomic_file::write(&path, &text).with_context(|| format!("cannot write {}", path.display()))
    }
}

fn parse(octets: &[u8]) -> Result<GuardState> {
    #[derive(Deserialize)]
    struct Format {
        format: u32,
    }

    let Format { format } = serde_json::from_slice(octets)?;
    if format != FORMAT {
        bail!("it is of format {format}, expected {FORMAT}");
    }
    Ok(serde_json::from_slice(octets)?)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn config(boot: &str) -> Config {
        let text = format!(
            "interfaces: [{{name: lan}}, {{name: eth1, vlans: [20, 30]}}]\n\
             clients: [{{name: all, networks: [10.0.0.0/24]}}]\n\
             dns: {{resolvers: [10.0.0.1]}}\nboot: {boot}\n"
        );
        Config::parse("test", &text).unwrap()
    }

    #[test]
    fn what_is_kept_leads_to_the_same_zones() {
        let state = tempfile::tempdir().unwrap();
        assert_eq!(GuardState::load(state.path()).unwrap(), None);
        for boot in ["closed", "open"] {
            let config = config(boot);
            GuardState::of(&config).store(state.path()).unwrap();
            let back = GuardState::load(state.path()).unwrap().unwrap().to_config();
            assert_eq!((back.boot, back.zones()), (config.boot, config.zones()));
        }
        let text = fs::read_to_string(state.path().join(FILE_NAME)).unwrap();
        assert_eq!(
            text,
            r#"{"format":1,"boot":"open","interfaces":[{"name":"lan","vlans":[]},{"name":"eth1","vlans":[20,30]}]}"#
        );
    }

    #[test]
    fn what_is_damaged_or_newer_is_an_error_that_names_it() {
        let state = tempfile::tempdir().unwrap();
        for text in
            ["", "{}", r#"{"format": 2, "boot": "ajar"}"#, r#"{"format": 1, "boot": "ajar"}"#]
        {
            fs::write(state.path().join(FILE_NAME), text).unwrap();
            let error = format!("{:#}", GuardState::load(state.path()).unwrap_err());
            assert!(error.contains(FILE_NAME), "{error}");
        }
        fs::remove_file(state.path().join(FILE_NAME)).unwrap();
        fs::create_dir(state.path().join(FILE_NAME)).unwrap();
        GuardState::load(state.path()).unwrap_err();
        GuardState::of(&config("open")).store(state.path()).unwrap();
        assert!(GuardState::load(state.path()).unwrap().is_some());
    }
}
