//! Operates the warm-up: begins it at a start without learned addresses, and reports its beginning
//! and end.

use std::time::Instant;

use anyhow::Result;

use super::state::Daemon;
use crate::{config::Config, daemon::warm_up::WarmUp, kernel::Pins, names::Names, system::clock};

/// Returns the warm-up of a starting daemon, by the pins and the saved names.
pub(super) fn begin(config: &Config, pins: &Pins, names: &Names) -> Result<WarmUp> {
    let pinned = if pins.active()?.generation != 0 {
        Some(pins.settings()?.warm_up_until)
    } else if names.is_empty() {
        None
    } else {
        Some(0)
    };
    Ok(WarmUp::start(config.warm_up, pinned, clock::boot_time()))
}

impl Daemon<'_> {
    /// Records that a policy with this deadline is in force.
    pub(super) fn warm_up_is(&mut self, warm_up: WarmUp) {
        self.warm_up = warm_up;
        if let Some(left) = self.warm_up.in_force(clock::boot_time()) {
            log::warn!(
                "warm-up: destinations that nobody knows yet are let through, and audited, for \
                 {} s more",
                left.as_secs()
            );
        }
    }

    /// Returns the time at which the end of the warm-up has to be reported.
    pub(super) fn warm_up_due(&self) -> Option<Instant> {
        self.warm_up.due(clock::boot_time(), Instant::now())
    }

    /// Reports the end of the warm-up, by the kernel or by a policy.
    pub(super) fn tell_end_of_warm_up(&mut self) {
        self.warm_up.ended();
        log::warn!("the warm-up is over: destinations that nobody knows are denied");
    }
}
