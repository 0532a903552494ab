//! Keeps the guard's table in step: closed before anything else at a start, open for attached
//! interfaces, absent where it is not wanted.

use std::time::Instant;

use anyhow::Result;
use serde_json::Value;

use super::{
    netfilter::Ownership,
    pace::Pace,
    rules::{GuardRules, TABLE},
    state::GuardState,
    strays::Strays,
    table::{self, Kind},
};
use crate::{
    config::{Boot, Config, Paths},
    kernel::{PinDirectory, Pins, named_snapshot},
    system::Interface,
};

/// Closes the guard before a daemon's start has loaded anything. Interfaces with attached programs
/// pass, and no others: a table from before may list interfaces that no program judges any more.
///
/// # Errors
/// The table cannot be written.
pub(crate) fn shut(config: &Config, paths: &Paths) -> Result<()> {
    if config.boot == Boot::Open {
        return Ok(());
    }
    let pins = Pins::open(&paths.pin_dir).ok().flatten();
    let snapshot = named_snapshot(&PinDirectory::new(&paths.pin_dir), &config.interface_names())?;
    let is_judged = |interface: &Interface| {
        let mode = pins.as_ref().map(|pins| pins.enforced(interface));
        matches!(mode, Some(Ok(Some(_))))
    };
    let zones = config.zones();
    // What a table remembers is held back under the configuration that wrote it.
    let kept = GuardState::load(&paths.state_dir).ok().flatten();
    let before = kept.map_or_else(|| zones.clone(), |kept| kept.to_config().zones());
    let held = Strays::remembered(before, &snapshot).observe(&zones, &snapshot, is_judged);
    let gate = GuardRules { held, ..GuardRules::new(&zones, &snapshot, is_judged) };
    table::write(&gate).map(drop)
}

/// Guard with the table as it was last written.
#[derive(Debug, Default)]
pub(crate) struct BootGuard {
    /// Rules in force: `Some(None)` without a table; `None` at first, and after a failure.
    written: Option<Option<GuardRules>>,
    /// Listing of the table right after it was written.
    shown: Option<Value>,
    /// Ownership of the table, which excludes changes by others; `None` where kernel or nft lack
    /// it.
    owned: Option<Ownership>,
    pace: Pace,
    error: Option<String>,
}

impl BootGuard {
    /// Ensures that these rules are in force; `None` for no table.
    pub(crate) fn keep(&mut self, wanted: Option<GuardRules>) {
        if self.written.as_ref() == Some(&wanted) {
            return;
        }
        let result = match &wanted {
            Some(gate) => self.write(gate),
            None if self.written.is_none() && !table::is_there() => Ok(()),
            None => self.open(),
        };
        match result {
            Ok(()) => {
                self.written = Some(wanted);
                self.error = None;
            }
            Err(error) => {
                let error = format!("{error:#}");
                if self.error.as_ref() != Some(&error) {
                    log::error!("{error}");
                }
                (self.written, self.error) = (None, Some(error));
            }
        }
    }

    fn write(&mut self, gate: &GuardRules) -> Result<()> {
        // Nft can change the table only without an owner; the ownership ends with its socket.
        self.owned = None;
        self.shown = None;
        if table::write(gate)? == Kind::Persistent {
            match Ownership::take() {
                Ok(owned) => self.owned = Some(owned),
                Err(error) => log::warn!("{error:#}"),
            }
        }
        self.shown = table::listed();
        Ok(())
    }

    /// Removes the table.
    ///
    /// # Errors
    /// The table may still be there.
    pub(crate) fn open(&mut self) -> Result<()> {
        self.owned = None;
        table::open()
    }

    /// Records that the table may have changed.
    pub(crate) fn heard(&mut self, now: Instant) {
        if matches!(self.written, Some(Some(_))) {
            self.pace.heard(now);
        }
    }

    /// Returns the time at which to verify the table, if it may have changed.
    #[must_use]
    pub(crate) const fn due(&self) -> Option<Instant> {
        self.pace.due()
    }

    /// Verifies that the table is as it was written, since loading a ruleset may flush all other
    /// tables. Returns false if the table has to be written again.
    pub(crate) fn verify(&mut self, now: Instant) -> bool {
        if !matches!(self.written, Some(Some(_))) {
            return true;
        }
        let shown = table::listed();
        let intact = shown.is_some() && (self.shown.is_none() || shown == self.shown);
        self.pace.looked(now, intact);
        if !intact {
            let what = if shown.is_some() { "changed" } else { "removed" };
            log::warn!("somebody has {what} the table inet {TABLE} of nftables; making it anew");
            self.written = None;
        }
        intact
    }

    /// Whether no other process can change or remove the table while this one runs.
    #[must_use]
    pub(crate) const fn is_owned(&self) -> bool {
        self.owned.is_some()
    }

    /// Returns the last error, for commands.
    #[must_use]
    pub(crate) fn error(&self) -> Option<&str> {
        self.error.as_deref()
    }
}
