//! The table on disk: versioned, written whole, in wall time.

use std::{collections::BTreeSet, fs, io, net::IpAddr, path::Path};

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Names;
use crate::whole_file;

/// Its name in the state directory.
pub const FILE_NAME: &str = "names.json";

/// Of the format.
const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Saved {
    version: u32,
    names: Vec<SavedClaim>,
}

#[derive(Serialize, Deserialize)]
struct SavedClaim {
    name: String,
    address: IpAddr,
    rules: BTreeSet<String>,
    /// Seconds since 1970.
    expires: u64,
}

/// Two clocks read at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Clocks {
    /// CLOCK_BOOTTIME in nanoseconds.
    pub boot: u64,
    /// Seconds since 1970.
    pub wall: u64,
}

impl Clocks {
    fn to_wall(self, boot: u64) -> u64 {
        (self.wall + boot / 1_000_000_000).saturating_sub(self.boot / 1_000_000_000)
    }

    fn to_boot(self, wall: u64) -> u64 {
        let left = wall.saturating_sub(self.wall);
        self.boot.saturating_add(left.saturating_mul(1_000_000_000))
    }
}

/// The table as JSON, in wall time.
pub fn to_json(names: &Names, now: Clocks) -> Result<Value> {
    let names = names
        .iter()
        .map(|(name, address, claim)| SavedClaim {
            name: name.to_owned(),
            address,
            rules: claim.rules.clone(),
            expires: now.to_wall(claim.expires),
        })
        .collect();
    Ok(serde_json::to_value(Saved { version: VERSION, names })?)
}

/// The table back from JSON, without what has expired.
pub fn from_json(saved: Value, now: Clocks) -> Result<Names> {
    let saved: Saved = serde_json::from_value(saved).context("no table of names")?;
    if saved.version != VERSION {
        bail!("a table of names of version {}, expected {VERSION}", saved.version);
    }
    let mut names = Names::default();
    for claim in saved.names {
        if claim.expires > now.wall {
            names.learn(&claim.name, claim.address, claim.rules, now.to_boot(claim.expires));
        }
    }
    Ok(names)
}

/// Writes the table beside `directory`'s old one, then in its place.
pub fn save(directory: &Path, names: &Names, now: Clocks) -> Result<()> {
    let text = serde_json::to_vec(&to_json(names, now)?)?;
    let path = directory.join(FILE_NAME);
    // Names that clients asked for are nobody else's business: the file is root's alone.
    whole_file::write(&path, &text).with_context(|| format!("cannot write {}", path.display()))
}

/// Reads the table back, without what has expired. No file is an empty table.
pub fn load(directory: &Path, now: Clocks) -> Result<Names> {
    let path = directory.join(FILE_NAME);
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Names::default()),
        Err(error) => {
            return Err(error).with_context(|| format!("cannot read {}", path.display()));
        }
    };
    serde_json::from_slice(&text)
        .map_err(anyhow::Error::from)
        .and_then(|saved| from_json(saved, now))
        .with_context(|| format!("cannot use {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn table() -> Names {
        let mut names = Names::default();
        let rules = ["intune-core/core".to_owned()];
        names.learn("a.example", "192.0.2.1".parse().unwrap(), rules.clone(), 110 * SECOND);
        names.learn("b.example", "2001:db8::1".parse().unwrap(), rules, 160 * SECOND);
        names
    }

    #[test]
    fn what_was_saved_comes_back_under_another_boot_clock() {
        let directory = tempfile::tempdir().unwrap();
        save(directory.path(), &table(), Clocks { boot: 100 * SECOND, wall: 5_000 }).unwrap();
        assert!(!directory.path().join("names.json.new").exists());
        let loaded = load(directory.path(), Clocks { boot: 3 * SECOND, wall: 5_020 }).unwrap();
        let left: Vec<_> = loaded.iter().map(|(name, _, claim)| (name, claim.expires)).collect();
        assert_eq!(left, [("b.example", 43 * SECOND)]);
    }

    #[test]
    fn no_file_is_an_empty_table_and_a_foreign_one_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let now = Clocks { boot: 0, wall: 0 };
        assert!(load(directory.path(), now).unwrap().is_empty());
        for text in ["", "[]", r#"{"version": 2, "names": []}"#] {
            fs::write(directory.path().join(FILE_NAME), text).unwrap();
            let error = load(directory.path(), now).unwrap_err().to_string();
            assert!(error.contains(FILE_NAME), "{error}");
        }
    }
}
