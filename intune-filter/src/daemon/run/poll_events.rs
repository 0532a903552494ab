//! Listens to the programs: reads what they report when a client waits for it, and else from time to
//! time.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::state::Daemon;
use crate::daemon::ring_buffer::{RECORDS, RingReports};

/// Records taken from the ring before anything else has its turn.
const BATCH_MAX: usize = 1024;

/// How long after it was read the ring is read again, if there was something.
const SOON: Duration = Duration::from_millis(20);

/// The same if there was nothing. The programs wake the daemon only for what a client waits for.
const LATER: Duration = Duration::from_millis(400);

impl Daemon<'_> {
    /// Takes what the ring holds.
    pub(super) fn poll_events(&mut self) -> Result<()> {
        let taken = self.read(BATCH_MAX)?;
        let rest = match taken {
            0 => LATER,
            BATCH_MAX => Duration::ZERO,
            _ => SOON,
        };
        self.listens = Instant::now() + rest;
        Ok(())
    }

    /// Reads what the kernel has reported until now.
    pub(super) fn catch_up(&mut self) {
        if let Err(error) = self.read(RECORDS) {
            log::error!("{error:#}");
        }
    }

    /// Reads `most` records at most; returns how many there were.
    pub(super) fn read(&mut self, most: usize) -> Result<usize> {
        RingReports::new(&mut self.events.buffer, &mut self.intake, &self.kernel).drain(most)
    }
}
