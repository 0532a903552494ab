//! Reads the programs' reports: at once when a client waits, else periodically.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::state::Daemon;
use crate::daemon::ring_buffer::{RECORDS, RingReports};

/// Records read before other work has its turn.
const BATCH_MAX: usize = 1024;

/// How long after it was read the ring is read again, if there was something.
const SOON: Duration = Duration::from_millis(20);

/// Interval to the next read of an empty ring. The programs wake the daemon only for records that a
/// client waits for.
const LATER: Duration = Duration::from_millis(400);

impl Daemon<'_> {
    /// Reads the ring, and schedules the next read.
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

    /// Reads all reports that the kernel has made so far.
    pub(super) fn catch_up(&mut self) {
        if let Err(error) = self.read(RECORDS) {
            log::error!("{error:#}");
        }
    }

    /// Reads `most` records at most, and returns their number.
    pub(super) fn read(&mut self, most: usize) -> Result<usize> {
        RingReports::new(&mut self.events.buffer, &mut self.intake, &self.kernel).drain(most)
    }
}
