//! Limits questions to resolvers: their rate, the number in flight, and the interval between
//! repeats.

use std::time::{Duration, Instant};

/// Questions in flight at most.
pub(crate) const MAX_IN_FLIGHT: usize = 16;

/// Least interval between two questions: 50 a second.
const MIN_SPACING: Duration = Duration::from_millis(20);

/// Least interval between repeats of a question that was answered with addresses.
const LEAST: Duration = Duration::from_secs(5);

/// Interval after an answer without records; a client that asks earlier teaches the same.
const AFTER_NOTHING: Duration = Duration::from_secs(900);

/// Interval after the first failure; doubled by each further one.
const AFTER_FAILURE: Duration = Duration::from_secs(2);

/// Longest interval after a failure.
const AFTER_FAILURES: Duration = Duration::from_secs(300);

/// Rate limit and jittered intervals of questions.
#[derive(Debug)]
pub(super) struct Pace {
    next: Option<Instant>,
    random: u64,
}

impl Pace {
    pub(super) fn new(seed: u64) -> Self {
        Self { next: None, random: seed }
    }

    /// Returns the earliest time for a question that is due at `due`.
    pub(super) fn not_before(&self, due: Instant) -> Instant {
        self.next.map_or(due, |next| next.max(due))
    }

    /// Records that a question was sent.
    pub(super) fn asked(&mut self, now: Instant) {
        self.next = Some(now + MIN_SPACING);
    }

    /// Returns the delay before a repeat whose answer is forgotten after `lifetime`: three quarters
    /// to nine tenths of it. Addresses live for the TTL and the grace, so the resolver's cache has
    /// expired by then and it asks anew.
    pub(super) fn before_expiry(&mut self, lifetime: Duration) -> Duration {
        lifetime.mul_f64(self.between(0.75, 0.9)).max(LEAST)
    }

    /// Returns the delay after an answer without records.
    pub(super) fn after_nothing(&mut self) -> Duration {
        AFTER_NOTHING.mul_f64(self.between(0.75, 1.0))
    }

    /// Returns the delay after `failures` failures in a row.
    pub(super) fn after_failures(&mut self, failures: u32) -> Duration {
        let doubled = 1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX);
        let wait = AFTER_FAILURE.saturating_mul(doubled.max(1)).min(AFTER_FAILURES);
        wait.mul_f64(self.between(0.75, 1.0))
    }

    /// Returns a number in a range, so that questions asked together spread out: splitmix64
    /// (Steele, Lea and Flood, 2014). Nothing depends on it being unpredictable.
    fn between(&mut self, least: f64, most: f64) -> f64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let unit = f64::from((mixed >> 32) as u32) / f64::from(u32::MAX);
        least + unit * (most - least)
    }
}
