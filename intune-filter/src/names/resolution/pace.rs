//! How often resolvers are asked: a rate, a limit on what is under way, and when a question is due
//! again.

use std::time::{Duration, Instant};

/// Questions that wait for their answers at most.
pub const MAX_IN_FLIGHT: usize = 16;

/// Between two questions at least: 50 a second.
const MIN_SPACING: Duration = Duration::from_millis(20);

/// Between two times that the same question is asked at least, unless it failed.
const LEAST: Duration = Duration::from_secs(5);

/// After an answer that gave nothing; a client that asks earlier teaches the same.
const AFTER_NOTHING: Duration = Duration::from_secs(900);

/// After the first failure; doubled by each further one.
const AFTER_FAILURE: Duration = Duration::from_secs(2);

/// After a failure at most.
const AFTER_FAILURES: Duration = Duration::from_secs(300);

/// When to ask.
#[derive(Debug)]
pub(super) struct Pace {
    next: Option<Instant>,
    random: u64,
}

impl Pace {
    pub fn new(seed: u64) -> Self {
        Self { next: None, random: seed }
    }

    /// When a question that is due then may be asked.
    pub fn not_before(&self, due: Instant) -> Instant {
        self.next.map_or(due, |next| next.max(due))
    }

    /// A question was asked.
    pub fn asked(&mut self, now: Instant) {
        self.next = Some(now + MIN_SPACING);
    }

    /// How long to wait with a question whose answer is forgotten after `lifetime`: three quarters
    /// to nine tenths of that. Of an address that lives for its time to live and the grace, the
    /// resolver has forgotten it by then, too, and asks anew.
    pub fn before_expiry(&mut self, lifetime: Duration) -> Duration {
        lifetime.mul_f64(self.between(0.75, 0.9)).max(LEAST)
    }

    /// The same after an answer that gave nothing.
    pub fn after_nothing(&mut self) -> Duration {
        AFTER_NOTHING.mul_f64(self.between(0.75, 1.0))
    }

    /// The same after failures in a row.
    pub fn after_failures(&mut self, failures: u32) -> Duration {
        let doubled = 1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX);
        let wait = AFTER_FAILURE.saturating_mul(doubled.max(1)).min(AFTER_FAILURES);
        wait.mul_f64(self.between(0.75, 1.0))
    }

    /// A number in a range, so that questions which were asked together part: splitmix64 (Steele,
    /// Lea and Flood, 2014). Nothing depends on it being hard to guess.
    fn between(&mut self, least: f64, most: f64) -> f64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let unit = f64::from((mixed >> 32) as u32) / f64::from(u32::MAX);
        least + unit * (most - least)
    }
}
