//! Keeps the gate's table in step: shut before anything else at a start, opened for what is
//! attached, gone where it is not wanted.

use anyhow::{Context as _, Result};

use super::{Gate, TABLE, removal};
use crate::{
    config::{Boot, Config, Paths},
    daemon::netlink,
    kernel::Pins,
    nft,
};

/// Shuts the gate before a daemon's start has loaded anything. What an earlier daemon has attached
/// passes, and a table that is there stays as it is.
///
/// # Errors
/// It cannot be shut.
pub fn shut(config: &Config, paths: &Paths) -> Result<()> {
    if config.boot == Boot::Open || is_there() {
        return Ok(());
    }
    let pins = Pins::open(&paths.pin_dir).ok().flatten();
    let gate = Gate::new(&config.zones(), &netlink::snapshot()?, |interface| {
        let mode = pins.as_ref().map(|pins| pins.enforced(interface));
        matches!(mode, Some(Ok(Some(_))))
    });
    write(&gate)
}

/// Removes the table. Nothing to remove is no error.
///
/// # Errors
/// It may still be there.
pub fn open() -> Result<()> {
    match nft::load(&removal()) {
        // Without nft there was none.
        Ok(()) | Err(nft::Error::NotInstalled) => Ok(()),
        Err(error) => Err(error).with_context(|| {
            format!("cannot open the gate of `boot: closed` (`nft delete table inet {TABLE}` does)")
        }),
    }
}

/// The table as it was last written.
#[derive(Debug, Default)]
pub struct Keeper {
    /// What is in force: none if the gate is gone; unknown at first, and after a failure.
    written: Option<Option<Gate>>,
    error: Option<String>,
}

impl Keeper {
    /// Sees to it that this is the gate in force; none is an open one.
    pub fn keep(&mut self, wanted: Option<Gate>) {
        if self.written.as_ref() == Some(&wanted) {
            return;
        }
        let result = match &wanted {
            Some(gate) => write(gate),
            None if self.written.is_none() && !is_there() => Ok(()),
            None => open(),
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

    /// Looks whether the table is still there: whoever loads a ruleset may flush all others.
    pub fn look(&mut self) {
        if matches!(self.written, Some(Some(_))) && !is_there() {
            log::warn!("somebody has removed the table inet {TABLE} of nftables; making it anew");
            self.written = None;
        }
    }

    /// What is wrong with it, for the commands.
    #[must_use]
    pub fn error(&self) -> Option<&str> {
        self.error.as_deref()
    }
}

fn write(gate: &Gate) -> Result<()> {
    nft::load(&gate.ruleset()).context("`boot: closed` is NOT kept")
}

fn is_there() -> bool {
    nft::ask(&["list", "table", "inet", TABLE]).is_ok()
}
