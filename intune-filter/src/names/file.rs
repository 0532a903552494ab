//! Saves and loads the table of names: a versioned JSON file in wall time, replaced as a whole.

use std::{
    collections::BTreeMap,
    fs, io,
    net::IpAddr,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

use super::{Names, key_of_target};
use crate::system::{atomic_file, clock::Clocks};

/// Name of the file in the state directory.
pub const FILE_NAME: &str = "names.json";

/// Name in the state directory under which an unusable file is kept.
const DAMAGED: &str = "names.json.damaged";

/// Version of the file format.
const VERSION: u32 = 3;

/// Nanoseconds in a millisecond.
const MILLISECOND: u64 = 1_000_000;

/// Table of names in the form of the file and of the control socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedNames {
    version: u32,
    /// Wall time of the save, in milliseconds since 1970.
    saved: u64,
    /// Rules of all bindings, each once; bindings refer to them by index.
    rules: Vec<String>,
    names: Vec<SavedName>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct SavedName {
    name: String,
    addresses: Vec<SavedBinding>,
    /// Targets of the name's service records.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    targets: Vec<SavedTarget>,
}

/// Address, expiry in milliseconds since 1970, and indices of the address's rules.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct SavedBinding(IpAddr, u64, Vec<usize>);

/// Name of a target, in place of the address: its key is good for one boot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct SavedTarget(String, u64, Vec<usize>);

/// Upper bounds for the remaining lifetime of saved bindings, in seconds.
#[derive(Clone, Copy, Debug)]
pub struct Lives {
    /// Bound for every binding, whatever expiry the file has.
    pub most: u64,
    /// Bound if the clock is behind the file, whose age is unknown then.
    pub clock_behind: u64,
}

impl Lives {
    /// No bounds: every binding keeps the expiry of the file.
    pub const ANY: Self = Self { most: u64::MAX, clock_behind: u64::MAX };
}

/// The table as the text of its file.
///
/// # Errors
/// A name cannot be written as JSON.
pub fn to_text(names: &Names, now: Clocks) -> Result<Vec<u8>> {
    Ok(serde_json::to_vec(&SavedNames::new(names, now))?)
}

impl SavedNames {
    /// Returns the table with its times in wall time.
    #[must_use]
    pub fn new<'a>(names: &'a Names, now: Clocks) -> Self {
        let mut numbers = BTreeMap::new();
        let mut rules = Vec::new();
        let mut number_of = |rule: &'a String| {
            *numbers.entry(rule.as_str()).or_insert_with(|| {
                rules.push(rule.clone());
                rules.len() - 1
            })
        };
        let mut saved: Vec<SavedName> = Vec::new();
        for (name, address, binding) in names.iter() {
            let rules = binding.rules.iter().map(&mut number_of).collect();
            let expires = now.to_wall(binding.expires);
            if saved.last().is_none_or(|last| last.name != name) {
                let (addresses, targets) = Default::default();
                saved.push(SavedName { name: name.to_owned(), addresses, targets });
            }
            let Some(last) = saved.last_mut() else { continue };
            match &binding.target {
                None => last.addresses.push(SavedBinding(address, expires, rules)),
                Some(name) => last.targets.push(SavedTarget(name.to_string(), expires, rules)),
            }
        }
        Self { version: VERSION, saved: now.wall, rules, names: saved }
    }

    /// Restores the table without expired bindings.
    ///
    /// # Errors
    /// A binding refers to a rule that the table has not.
    pub fn into_names(self, now: Clocks) -> Result<Names> {
        // Any seed will do, where no key meets the kernel's.
        let mut names = self.restore(now, Lives::ANY, 0)?;
        names.forget_lapsed(u64::MAX, u64::MAX, |_| false);
        Ok(names)
    }

    fn restore(self, now: Clocks, lives: Lives, seed: u64) -> Result<Names> {
        // Wall clocks are corrected by parts of a second all the time: that is no step back.
        let is_behind = now.wall / 1000 < self.saved / 1000;
        let (from, most) = if is_behind {
            (self.saved, lives.most.min(lives.clock_behind))
        } else {
            (now.wall, lives.most)
        };
        let most = most.saturating_mul(1000);
        let mut names = Names::default();
        let expiry = |expires: u64| {
            let left = expires.saturating_sub(from).min(most);
            now.boot.saturating_add(left.saturating_mul(MILLISECOND))
        };
        for SavedName { name, addresses, targets } in self.names {
            let rules_of = |rules: Vec<usize>| {
                let rules: Option<Vec<String>> =
                    rules.into_iter().map(|number| self.rules.get(number).cloned()).collect();
                rules.with_context(|| format!("a rule of {name} is not in the table"))
            };
            for SavedBinding(address, expires, rules) in addresses {
                names.learn(&name, address, rules_of(rules)?, expiry(expires));
            }
            for SavedTarget(target, expires, rules) in targets {
                let rules = rules_of(rules)?;
                if let Some(key) = key_of_target(&target, seed) {
                    names.learn_target(&name, (&target, key), rules, expiry(expires));
                }
            }
        }
        names.expire(now.boot);
        Ok(names)
    }
}

/// Writes a table's text beside `directory`'s old one, then in its place.
///
/// # Errors
/// The file cannot be written.
pub fn save(directory: &Path, text: &[u8]) -> Result<()> {
    let path = directory.join(FILE_NAME);
    // Names that clients asked for are private: the file is root's alone.
    atomic_file::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// Reads the table back, with the keys of targets under the kernel's seed. What has expired has lapsed:
/// flows that it opened may live. No file is an empty table.
///
/// # Errors
/// The file cannot be read, or is none that this version knows.
pub fn load(directory: &Path, now: Clocks, lives: Lives, seed: u64) -> Result<Names> {
    let path = directory.join(FILE_NAME);
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Names::default()),
        Err(error) => {
            return Err(error).with_context(|| format!("cannot read {}", path.display()));
        }
    };
    parse(&text)
        .and_then(|saved| saved.restore(now, lives, seed))
        .with_context(|| format!("cannot use {}", path.display()))
}

fn parse(text: &[u8]) -> Result<SavedNames> {
    #[derive(Deserialize)]
    struct Version {
        version: u32,
    }

    // The version is read first: a file of another version is reported as such, whatever else is in
    // it.
    let Version { version } = serde_json::from_slice(text).context("no table of names")?;
    if version != VERSION {
        bail!("a table of names of version {version}, expected {VERSION}");
    }
    serde_json::from_slice(text).context("no table of names")
}

/// Keeps a file that cannot be used where nobody writes over it; returns where.
///
/// # Errors
/// The file cannot be renamed.
pub fn set_aside(directory: &Path) -> Result<PathBuf> {
    let kept = directory.join(DAMAGED);
    fs::rename(directory.join(FILE_NAME), &kept)
        .with_context(|| format!("cannot rename {FILE_NAME} to {}", kept.display()))?;
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIVES: Lives = Lives { most: 100, clock_behind: 5 };
    const SECOND: u64 = 1000 * MILLISECOND;
    const RULES: [&str; 2] = ["intune-core/core", "push/wns"];

    fn table() -> Names {
        let mut names = Names::default();
        let rules = RULES.map(str::to_owned);
        names.learn("a.example", "192.0.2.1".parse().unwrap(), rules.clone(), 110 * SECOND);
        names.learn("b.example", "2001:db8::1".parse().unwrap(), rules.clone(), 160 * SECOND);
        names.learn("b.example", "192.0.2.2".parse().unwrap(), rules, 900 * SECOND);
        names
    }

    /// Saves the table, loads it at wall time `wall` in seconds, and returns each binding's
    /// remaining seconds.
    fn left_at(wall: u64) -> Vec<(String, IpAddr, u64)> {
        let directory = tempfile::tempdir().unwrap();
        let text = to_text(&table(), Clocks { boot: 100 * SECOND, wall: 5_000_000 }).unwrap();
        save(directory.path(), &text).unwrap();
        assert!(!directory.path().join("names.json.new").exists());
        let boot = 3 * SECOND;
        let clocks = Clocks { boot, wall: wall * 1000 };
        let loaded = load(directory.path(), clocks, LIVES, 7).unwrap();
        let live = loaded.iter().filter(|(.., binding)| !binding.lapsed);
        assert_eq!(loaded.iter().count(), 3, "flows may need what has lapsed");
        let all = live.map(|(name, address, binding)| {
            assert!(binding.rules.iter().eq(&RULES));
            (name.to_owned(), address, (binding.expires - boot) / SECOND)
        });
        all.collect()
    }

    fn binding(name: &str, address: &str, left: u64) -> (String, IpAddr, u64) {
        (name.to_owned(), address.parse().unwrap(), left)
    }

    #[test]
    fn what_was_saved_comes_back_under_another_boot_clock() {
        let most = binding("b.example", "192.0.2.2", 100);
        assert_eq!(left_at(5_020), [most.clone(), binding("b.example", "2001:db8::1", 40)]);
        assert_eq!(left_at(5_060), [most]);
        assert_eq!(left_at(50_000), []);
    }

    #[test]
    fn nothing_expires_before_its_time_for_having_been_saved() {
        let expires = 110 * SECOND + 987_654_321;
        let mut names = Names::default();
        names.learn("a.example", "192.0.2.1".parse().unwrap(), RULES.map(str::to_owned), expires);
        // Both clocks go on by a second and a half, whatever parts of seconds they show.
        for (wall, boot) in [(5_000_000, 0), (5_000_999, 999_999_999), (5_000_600, 400_000_001)] {
            let saved = Clocks { boot: 100 * SECOND + boot, wall };
            let later = Clocks { boot: saved.boot + 3 * SECOND / 2, wall: wall + 1500 };
            let back = SavedNames::new(&names, saved).into_names(later).unwrap();
            let (.., binding) = back.iter().next().unwrap();
            assert!(binding.expires >= expires, "{} ns early", expires - binding.expires);
            assert!(binding.expires <= expires + 2 * MILLISECOND);
        }
    }

    #[test]
    fn a_clock_that_is_behind_leaves_the_grace_alone() {
        for wall in [0, 4_999] {
            assert_eq!(
                left_at(wall),
                [
                    binding("a.example", "192.0.2.1", 5),
                    binding("b.example", "192.0.2.2", 5),
                    binding("b.example", "2001:db8::1", 5)
                ]
            );
        }
        assert_eq!(left_at(5_000).len(), 3);
    }

    #[test]
    fn the_file_and_the_answer_to_commands_are_one_format() {
        let now = Clocks { boot: 100 * SECOND, wall: 5_000_000 };
        let saved = SavedNames::new(&table(), now);
        let text: SavedNames = serde_json::from_slice(&to_text(&table(), now).unwrap()).unwrap();
        assert_eq!(saved, text);
        assert_eq!(saved.into_names(now).unwrap(), table());
    }

    /// Of another boot, whose kernel gives them other keys.
    #[test]
    fn targets_come_back_by_their_names() {
        let directory = tempfile::tempdir().unwrap();
        let (now, rules) = (Clocks { boot: 0, wall: 5_000_000 }, RULES.map(str::to_owned));
        let mut names = table();
        let key = |seed| key_of_target("t.example", seed).unwrap();
        names.learn_target("b.example", ("t.example", key(3)), rules.clone(), 90 * SECOND);
        names.learn("t.example", "192.0.2.9".parse().unwrap(), rules, 90 * SECOND);
        let text = to_text(&names, now).unwrap();
        assert!(!String::from_utf8(text.clone()).unwrap().contains("ff00:"));
        save(directory.path(), &text).unwrap();
        let loaded = load(directory.path(), now, LIVES, 7).unwrap();
        let found: Vec<_> = loaded.of_target("t.example").map(|(name, _)| name).collect();
        assert_eq!(found, ["b.example"]);
        assert_eq!(loaded.of_address(key(7)).count(), 1);
        assert_eq!(loaded.of_address(key(3)).count(), 0);
        let (_, binding) = loaded.of_target("t.example").next().unwrap();
        assert!(binding.expires == 90 * SECOND && binding.rules.iter().eq(&RULES));
    }

    #[test]
    fn a_file_that_cannot_be_used_is_named_and_kept() {
        let directory = tempfile::tempdir().unwrap();
        let now = Clocks { boot: 0, wall: 0 };
        assert!(load(directory.path(), now, LIVES, 7).unwrap().is_empty());
        let wrong_rule = r#"{"version": 3, "saved": 1000, "rules": [],
            "names": [{"name": "a", "addresses": [["192.0.2.1", 9000, [0]]]}]}"#;
        let unusable = [
            ("", "no table"),
            ("[]", "no table"),
            (r#"{"version": 2, "names": 5}"#, "of version 2"),
            (r#"{"version": 3, "names": []}"#, "no table"),
            (wrong_rule, "a rule of a"),
        ];
        for (text, why) in unusable {
            fs::write(directory.path().join(FILE_NAME), text).unwrap();
            let error = format!("{:#}", load(directory.path(), now, LIVES, 7).unwrap_err());
            assert!(error.contains(FILE_NAME) && error.contains(why), "{error}");
            let kept = set_aside(directory.path()).unwrap();
            assert_eq!(fs::read_to_string(kept).unwrap(), text);
            assert!(load(directory.path(), now, LIVES, 7).unwrap().is_empty());
        }
    }
}
