//! Reads the ring buffers of the kernel's programs.

use std::os::fd::AsFd;

use anyhow::{Context as _, Result};
use aya::maps::{MapData, RingBuf};
use tokio::io::Interest;

use super::intake::{Intake, Learned};
use crate::{
    events::records,
    kernel::{Diagnostics, Kernel},
    names::learning::{Learner, Reports},
    system::{clock, readiness::Readiness},
};

/// A ring buffer that can be waited for.
pub(crate) struct Ring<T> {
    /// The buffer.
    pub buffer: T,
    readiness: Readiness,
}

impl<T: AsFd> Ring<T> {
    /// A buffer, and word of what comes.
    pub(crate) fn new(buffer: T) -> Result<Self> {
        let readiness = Readiness::of(&buffer, Interest::READABLE);
        Ok(Self { readiness: readiness.context("cannot wait for a ring buffer")?, buffer })
    }

    /// Waits until something comes. What comes after that is waited for anew, whether or not it
    /// was read by then.
    pub(crate) async fn filled(&self) -> Result<()> {
        let filled = self.readiness.wait(Interest::READABLE).await;
        filled.context("cannot wait for a ring buffer")
    }
}

/// Waits for the programs' diagnostics, and logs them.
pub(crate) async fn flush(diagnostics: Option<&mut Ring<Diagnostics>>) -> Result<()> {
    let Some(diagnostics) = diagnostics else { return std::future::pending().await };
    diagnostics.filled().await?;
    diagnostics.buffer.flush();
    Ok(())
}

/// Records that are read in one go while the policy stays: more than the ring has room for, unless
/// it is configured to be larger than usual.
pub(crate) const RECORDS: usize = 1 << 16;

/// The records in the programs' ring, and what takes them in.
pub(crate) struct RingReports<'a> {
    ring: &'a mut RingBuf<MapData>,
    intake: &'a mut Intake,
    kernel: &'a Kernel,
    learned: Learned,
    most: usize,
}

impl<'a> RingReports<'a> {
    /// The reports while the policy stays as it is.
    pub(crate) const fn new(
        ring: &'a mut RingBuf<MapData>,
        intake: &'a mut Intake,
        kernel: &'a Kernel,
    ) -> Self {
        Self { ring, intake, kernel, learned: Learned::Stand, most: RECORDS }
    }

    /// The reports while another policy is put into force.
    pub(crate) const fn during_change(
        ring: &'a mut RingBuf<MapData>,
        intake: &'a mut Intake,
        kernel: &'a Kernel,
    ) -> Self {
        Self { ring, intake, kernel, learned: Learned::AreEntered, most: usize::MAX }
    }

    /// Takes records until the ring is empty, `most` at most; returns how many there were.
    pub(crate) fn drain(&mut self, most: usize) -> Result<usize> {
        for taken in 0..most {
            let Some(octets) = self.ring.next() else { return Ok(taken) };
            let Some(record) = records::read(&octets) else {
                let length = octets.len();
                log::debug!("a record of {length} octets is none that this version knows");
                continue;
            };
            self.intake.take_in(&record, self.kernel, self.learned, clock::boot_time())?;
        }
        Ok(most)
    }
}

impl Reports for RingReports<'_> {
    fn learner(&mut self) -> &mut Learner {
        &mut self.intake.learner
    }

    fn catch_up(&mut self) -> Result<()> {
        self.drain(self.most).map(drop)
    }
}
