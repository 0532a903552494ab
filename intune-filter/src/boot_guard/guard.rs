//! Keeps the gate's table in step: shut before anything else at a start, opened for what is
//! attached, gone where it is not wanted.

use std::time::Instant;

use anyhow::Result;
use serde_json::Value;

use super::{
    netfilter::Ownership,
    pace::Pace,
    rules::{GuardRules, TABLE},
    table::{self, Kind},
};
use crate::{
    config::{Boot, Config, Paths},
    kernel::Pins,
    system::netlink,
};

/// Shuts the gate before a daemon's start has loaded anything. What an earlier daemon has attached
/// passes, and nothing else: a table that is there may tell of what no program judges any more.
///
/// # Errors
/// It cannot be shut.
pub fn shut(config: &Config, paths: &Paths) -> Result<()> {
    if config.boot == Boot::Open {
        return Ok(());
    }
    let pins = Pins::open(&paths.pin_dir).ok().flatten();
    let gate = GuardRules::new(&config.zones(), &netlink::snapshot()?, |interface| {
        let mode = pins.as_ref().map(|pins| pins.enforced(interface));
        matches!(mode, Some(Ok(Some(_))))
    });
    table::write(&gate).map(drop)
}

/// The table as it was last written.
#[derive(Debug, Default)]
pub struct BootGuard {
    /// What is in force: none if the gate is gone; unknown at first, and after a failure.
    written: Option<Option<GuardRules>>,
    /// How the kernel has shown what was written.
    shown: Option<Value>,
    /// Keeps everybody else from changing it, where kernel and nft can.
    owned: Option<Ownership>,
    pace: Pace,
    error: Option<String>,
}

impl BootGuard {
    /// Sees to it that this is the gate in force; none is an open one.
    pub fn keep(&mut self, wanted: Option<GuardRules>) {
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
        // Nft may change it when nobody owns it, which ends with the socket.
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
    /// It may still be there.
    pub fn open(&mut self) -> Result<()> {
        self.owned = None;
        table::open()
    }

    /// The table may have changed.
    pub fn heard(&mut self, now: Instant) {
        if matches!(self.written, Some(Some(_))) {
            self.pace.heard(now);
        }
    }

    /// When to look whether it has.
    #[must_use]
    pub const fn due(&self) -> Option<Instant> {
        self.pace.due()
    }

    /// Verifies that the table is as it was written: whoever loads a ruleset may flush all others.
    /// False if it has to be made anew.
    pub fn verify(&mut self, now: Instant) -> bool {
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

    /// Whether nobody else can change or remove the table while this process runs.
    #[must_use]
    pub const fn is_owned(&self) -> bool {
        self.owned.is_some()
    }

    /// What is wrong with it, for the commands.
    #[must_use]
    pub fn error(&self) -> Option<&str> {
        self.error.as_deref()
    }
}
