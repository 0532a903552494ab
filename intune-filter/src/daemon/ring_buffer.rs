//! Reads the ring buffers of the kernel's programs.

use std::os::fd::AsFd;

use anyhow::{Context as _, Result};
use aya::maps::{MapData, RingBuf};
use tokio::io::Interest;

use super::intake::{Intake, Learned};
use crate::{
    events::records,
    kernel::{Diagnostics, Kernel, Pins},
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

/// Ring buffers of the programs' records.
pub(crate) struct EventRings {
    /// What a client may wait for, denials, flows.
    events: Ring<RingBuf<MapData>>,
    /// Denied queries, and answers that taught nothing.
    dns: Ring<RingBuf<MapData>>,
}

impl EventRings {
    /// Opens the pinned ring buffers.
    pub(crate) fn open(pins: &Pins) -> Result<Self> {
        let open = |name| Ring::new(pins.map(name)?);
        Ok(Self { events: open("EVENTS")?, dns: open("DNS_EVENTS")? })
    }

    /// Waits until something comes.
    pub(crate) async fn filled(&self) -> Result<()> {
        tokio::select! {
            filled = self.events.filled() => filled,
            filled = self.dns.filled() => filled,
        }
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

/// The records in the programs' rings, and what takes them in.
pub(crate) struct RingReports<'a> {
    rings: &'a mut EventRings,
    intake: &'a mut Intake,
    kernel: &'a Kernel,
    learned: Learned,
    most: usize,
}

impl<'a> RingReports<'a> {
    /// The reports while the policy stays as it is.
    pub(crate) const fn new(
        rings: &'a mut EventRings,
        intake: &'a mut Intake,
        kernel: &'a Kernel,
    ) -> Self {
        Self { rings, intake, kernel, learned: Learned::Stand, most: RECORDS }
    }

    /// The reports while another policy is put into force.
    pub(crate) const fn during_change(
        rings: &'a mut EventRings,
        intake: &'a mut Intake,
        kernel: &'a Kernel,
    ) -> Self {
        Self { rings, intake, kernel, learned: Learned::AreEntered, most: usize::MAX }
    }

    /// Takes records until the rings are empty, `most` of each at most; returns how many of one there were.
    ///
    /// What an answer tells of an address comes before the denial of a packet there: the ring with the
    /// names is read after a record of the other one has been taken out, and before it is taken in.
    pub(crate) fn drain(&mut self, most: usize) -> Result<usize> {
        let Self { rings, intake, kernel, learned, .. } = self;
        let mut take_in = |octets: &[u8]| {
            let Some(record) = records::read(octets) else {
                let length = octets.len();
                log::debug!("a record of {length} octets is none that this version knows");
                return Ok(());
            };
            intake.take_in(&record, *kernel, *learned, clock::boot_time())
        };
        let (mut taken, mut names) = (0, 0);
        loop {
            let next = if taken < most { rings.events.buffer.next() } else { None };
            while names < most
                && let Some(octets) = rings.dns.buffer.next()
            {
                take_in(&octets)?;
                names += 1;
            }
            let Some(octets) = next else { return Ok(taken.max(names)) };
            take_in(&octets)?;
            taken += 1;
        }
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
