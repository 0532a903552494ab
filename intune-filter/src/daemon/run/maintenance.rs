//! Does periodic work: removes expired addresses and flows, and saves names.

use std::{
    collections::HashSet,
    net::IpAddr,
    time::{Duration, Instant},
};

use anyhow::Result;

use super::state::Daemon;
use crate::{
    daemon::ring_buffer::{RECORDS, RingReports},
    events::flow_reaper::has_expired,
    names::learning::forget_expired,
    system::clock,
};

/// Time for which an expired address stays in the maps, so that a denial is explained as expired.
const EXPIRED_FOR: Duration = Duration::from_secs(3600);

/// Time for which an expired address stays in a crowded map.
const EXPIRED_FOR_IF_CROWDED: Duration = Duration::from_secs(60);

impl Daemon<'_> {
    /// Removes expired entries, and saves the table of names.
    pub(super) async fn tidy(&mut self) {
        self.keep_good();
        self.retry_metrics().await;
        if self.in_force.in_doubt && !self.confirmation.is_awaited() {
            self.restore_in_force().await;
        }
        self.look_at_gate();
        self.examine();
        self.forget();
        let now = clock::boot_time();
        let ago = |time: Duration| now.saturating_sub(time.as_nanos() as u64);
        match self.kernel.remove_expired_hosts(ago(EXPIRED_FOR), ago(EXPIRED_FOR_IF_CROWDED)) {
            Ok(0) => {}
            Ok(removed) => log::debug!("removed {removed} expired addresses"),
            Err(error) => log::error!("{error:#}"),
        }
        if let Err(error) = self.prune_accounts() {
            log::error!("{error:#}");
        }
        if let Err(error) = self.kernel.count_hosts() {
            log::error!("{error:#}");
        }
        if let Err(error) = self.kernel.reorder_hosts() {
            log::error!("{error:#}");
        }
        if let Err(error) = self.look_at_flows() {
            log::error!("{error:#}");
        }
        self.save();
    }

    /// Finds addresses with rules that no known name backs: those of a daemon that was killed, and
    /// of lost reports.
    fn examine(&mut self) {
        let now = clock::boot_time();
        match self.kernel.pins().hosts() {
            Ok(hosts) => {
                hosts
                    .iter()
                    .for_each(|(address, host)| self.intake.learner.examine(*address, host, now));
            }
            Err(error) => log::error!("{error:#}"),
        }
    }

    /// Forgets expired names, and takes from addresses what these names alone gave.
    pub(super) fn forget(&mut self) {
        let (kernel, events) = (&self.kernel, &mut self.events);
        let mut reports = RingReports::new(events, &mut self.intake, kernel);
        if let Err(error) = forget_expired(kernel, &mut reports) {
            log::error!("{error:#}");
        }
    }

    /// Forgets the refreshes of addresses that the kernel has removed.
    fn prune_accounts(&mut self) -> Result<()> {
        if self.intake.learner.tracker().is_crowded() {
            let hosts = self.kernel.pins().hosts()?;
            let known: HashSet<IpAddr> = hosts.into_iter().map(|(address, _)| address).collect();
            self.intake.learner.tracker().retain(|address| known.contains(address));
        }
        Ok(())
    }

    /// Removes the flows that have expired, records those that are gone, and forgets the names that
    /// only they needed.
    fn look_at_flows(&mut self) -> Result<()> {
        // Ends that the kernel has reported have to be known first.
        self.read(RECORDS)?;
        let now = clock::boot_time();
        let swept = self.kernel.sweep_flows(|protocol, flow| has_expired(protocol, flow, now))?;
        self.intake.recorder.look(&swept, now, self.intake.learner.names());
        let remotes = swept.left.iter().map(|entry| entry.key.remote.into());
        self.intake.learner.forget_lapsed(remotes, now);
        Ok(())
    }

    /// Saves the table of names when its time has come.
    pub(super) fn save(&mut self) {
        if let Err(error) = self.writer.look(&mut self.intake.learner, Instant::now()) {
            log::error!("{error:#}");
        }
    }
}
