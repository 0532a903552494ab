//! Runs the daemon's loop: waits for events, and does the work that is due.

use std::time::{Duration, Instant};

use anyhow::Result;
use sd_notify::NotifyState;
use tokio::{
    signal::unix::{SignalKind, signal},
    time::sleep_until,
};

use super::{
    errand::Errand,
    state::Daemon,
    waiting::{next_of, ticks, wait_until},
    watchdog::Watchdog,
    watched::Watched,
};
use crate::daemon::ring_buffer::flush;
use crate::metrics::configuration;

/// Interval at which the machine's state is read even without a report of a change.
const RESYNC_INTERVAL: Duration = Duration::from_secs(5);

/// Interval at which expired addresses are removed, and the table of names is saved.
const MAINTENANCE_INTERVAL: Duration = Duration::from_secs(60);

/// Interval at which expired names are forgotten.
const EXPIRY_INTERVAL: Duration = Duration::from_secs(5);

impl Daemon<'_> {
    /// Works until a signal or a command ends the daemon.
    pub(super) async fn serve(&mut self) -> Result<()> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut hangup = signal(SignalKind::hangup())?;
        let mut look = ticks(RESYNC_INTERVAL);
        let mut tidy = ticks(MAINTENANCE_INTERVAL);
        let mut forget = ticks(EXPIRY_INTERVAL);
        let mut watchdog = Watchdog::new();
        self.announce();
        loop {
            configuration::state(self.confirmation.is_awaited(), self.problems.kinds());
            tokio::select! {
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                _ = hangup.recv() => self.read_ahead(Errand::Reload, None),
                () = wait_until(self.roll_back_due()) => self.read_ahead(Errand::RollBack, None),
                () = wait_until(self.guard.due()) => self.look_at_gate(),
                () = wait_until(self.warm_up_due()) => self.tell_end_of_warm_up(),
                (errand, ahead) = self.reader.next() => {
                    if self.run_errand(errand, ahead).await {
                        return Ok(());
                    }
                }
                () = watchdog.due() => watchdog.feed(),
                () = wait_until(self.resolution.due()) => self.resolve(),
                () = Watched::changed(&mut self.watched) => self.read_ahead(Errand::Mended, None),
                (question, answer) = self.dns_client.next() => self.resolved(&question, answer),
                () = self.netlink.changed() => self.heard_of_change(),
                () = wait_until(self.look_pace.due()) => self.look().await,
                () = next_of(self.nftables.as_mut()) => self.guard.heard(Instant::now()),
                _ = look.tick() => self.look().await,
                _ = tidy.tick() => self.tidy().await,
                _ = forget.tick() => self.forget(),
                result = self.events.filled() => result.and_then(|()| self.poll_events())?,
                () = sleep_until(self.listens.into()) => self.poll_events()?,
                result = flush(self.diagnostics.as_mut()) => result?,
                Some(call) = self.calls.recv() => {
                    if self.take_call(call).await {
                        return Ok(());
                    }
                }
            }
        }
        let _ = sd_notify::notify(&[NotifyState::Stopping]);
        // While no daemon runs, nothing else would roll back.
        self.roll_back().await;
        self.catch_up();
        if let Err(error) = self.writer.finish(&mut self.intake.learner) {
            log::error!("{error:#}");
        }
        log::info!("stopping; what is attached stays in force");
        Ok(())
    }
}
