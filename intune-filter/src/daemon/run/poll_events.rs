//! Reads the programs' reports: at once when a client waits, else periodically.

use std::time::{Duration, Instant};

use anyhow::Result;
use intune_filter_ebpf::abi::{Flow, FlowKey, NO_RULE, V6, flow_flags};

use super::state::Daemon;
use crate::{
    daemon::ring_buffer::{RECORDS, RingReports},
    kernel::{FlowFate, ReviewTime},
    names::learning::forget_due,
};

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
        self.take_back();
        let rest = match taken {
            0 => LATER,
            BATCH_MAX => Duration::ZERO,
            _ => SOON,
        };
        self.listens = Instant::now() + rest;
        Ok(())
    }

    /// Takes from addresses what differing answers have given them, and ends the flows that this alone
    /// allowed.
    fn take_back(&mut self) {
        let disputed = self.intake.learner.disputed();
        if disputed.is_empty() {
            return;
        }
        let (kernel, events) = (&self.kernel, &mut self.events);
        let mut reports = RingReports::new(events, &mut self.intake, kernel);
        if let Err(error) = forget_due(kernel, &mut reports) {
            log::error!("{error:#}");
        }
        let learner = &self.intake.learner;
        let judge = |key: &FlowKey<V6>, flow: &Flow| {
            let remote = key.remote.into();
            let is_ruled = flow.flags & (flow_flags::UNRULED | flow_flags::AUDITED) == 0
                && flow.rule != NO_RULE;
            let policy = learner.policy();
            let learned_as = || policy.nat64.learned_as(remote);
            if !is_ruled || !learned_as().any(|address| disputed.contains(&address)) {
                return FlowFate::Goes;
            }
            let by_networks = policy.rules_of_address(remote);
            let backed = learned_as().fold(by_networks, |rules, one| rules | learner.backed(one).0);
            if backed.contains(flow.rule) { FlowFate::Goes } else { FlowFate::Ends }
        };
        if let Err(error) = kernel.review_flows(ReviewTime::After, judge) {
            log::error!("{error:#}");
        }
        self.intake.recorder.revoked(&kernel.take_revoked(), self.intake.learner.names());
    }

    /// Reads all reports that the kernel has made so far.
    pub(super) fn catch_up(&mut self) {
        if let Err(error) = self.read(RECORDS) {
            log::error!("{error:#}");
        }
    }

    /// Reads `most` records at most, and returns their number.
    pub(super) fn read(&mut self, most: usize) -> Result<usize> {
        RingReports::new(&mut self.events, &mut self.intake, &self.kernel).drain(most)
    }
}
