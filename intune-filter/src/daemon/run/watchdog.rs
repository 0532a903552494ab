//! Tells systemd that the loop goes round, where systemd wants to know.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::Interval;

use super::waiting::ticks;

/// The loop's sign of life. Nobody but the loop gives it: a daemon whose loop hangs is started anew,
/// and what is attached stays in force meanwhile.
pub(super) struct Watchdog(Option<Interval>);

impl Watchdog {
    /// Gives a sign twice in the time that systemd waits for one.
    pub(super) fn new() -> Self {
        let period = sd_notify::watchdog_enabled().map(|patience| patience / 2);
        Self(period.filter(|period| *period > Duration::ZERO).map(ticks))
    }

    /// Waits until the next sign is due; for ever if nobody waits for any.
    pub(super) async fn due(&mut self) {
        match &mut self.0 {
            Some(ticks) => drop(ticks.tick().await),
            None => std::future::pending().await,
        }
    }

    /// Gives a sign.
    pub(super) fn feed(&self) {
        let _ = sd_notify::notify(&[NotifyState::Watchdog]);
    }
}
