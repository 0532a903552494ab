//! The warm-up in the daemon's life: begun by a start that finds nothing learned, told of at its
//! beginning and its end.

use std::time::Instant;

use anyhow::Result;

use super::state::Daemon;
use crate::{config::Config, daemon::warm_up::WarmUp, kernel::Pins, names::Names, system::clock};

/// The warm-up of a daemon that starts, by what is pinned and what was saved.
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
    /// A policy is in force, with this deadline.
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

    /// When the end of the warm-up is to be told of.
    pub(super) fn warm_up_due(&self) -> Option<Instant> {
        self.warm_up.due(clock::boot_time(), Instant::now())
    }

    /// The kernel has ended the warm-up, or a policy has.
    pub(super) fn tell_end_of_warm_up(&mut self) {
        self.warm_up.ended();
        log::warn!("the warm-up is over: destinations that nobody knows are denied");
    }
}
