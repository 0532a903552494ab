//! Notifies systemd's watchdog that the loop is alive, if systemd asks for it.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::Interval;

use super::waiting::ticks;

/// Watchdog of the loop, fed by the loop alone: systemd restarts a daemon whose loop hangs, and
/// attachments stay in force meanwhile.
pub(super) struct Watchdog(Option<Interval>);

impl Watchdog {
    /// Returns a watchdog that notifies twice per timeout of systemd.
    pub(super) fn new() -> Self {
        let period = sd_notify::watchdog_enabled().map(|patience| patience / 2);
        Self(period.filter(|period| *period > Duration::ZERO).map(ticks))
    }

    /// Waits until the next notification is due; forever if systemd expects none.
    pub(super) async fn due(&mut self) {
        match &mut self.0 {
            Some(ticks) => drop(ticks.tick().await),
            None => std::future::pending().await,
        }
    }

    /// Notifies systemd.
    pub(super) fn feed(&self) {
        let _ = sd_notify::notify(&[NotifyState::Watchdog]);
    }
}
