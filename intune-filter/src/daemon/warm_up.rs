//! Computes the deadline of the warm-up, during which unknown destinations may be tried after a
//! start without learned addresses.
//!
//! The kernel ends the warm-up by its own clock, whether or not a daemon runs. A start alone sets
//! the deadline; afterwards it is kept or brought forward.

use std::time::{Duration, Instant};

use crate::config::Seconds;

const SECOND: u64 = 1_000_000_000;

/// Deadline of the warm-up, and whether its end has yet to be reported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct WarmUp {
    /// Deadline in nanoseconds of CLOCK_BOOTTIME; 0 without a warm-up.
    until: u64,
    running: bool,
}

impl WarmUp {
    /// Returns the warm-up of a starting daemon. `pinned` is the deadline of the policy in force;
    /// `None` without a policy and without known addresses.
    #[must_use]
    pub(crate) fn start(configured: Seconds, pinned: Option<u64>, now: u64) -> Self {
        let until = match pinned {
            Some(until) => until,
            None => now + u64::from(configured.0) * SECOND,
        };
        Self { until, running: false }.under(configured, now)
    }

    /// Limits the warm-up by a configuration: to its own deadline, and to the configured time from
    /// `now`.
    #[must_use]
    pub(crate) fn under(self, configured: Seconds, now: u64) -> Self {
        let until = self.until.min(now + u64::from(configured.0) * SECOND);
        Self { until: if until > now { until } else { 0 }, ..self }
    }

    /// Returns the deadline in the kernel's form.
    #[must_use]
    pub(crate) const fn until(self) -> u64 {
        self.until
    }

    /// Records that a policy with this deadline is in force. Returns the remaining time, if the
    /// warm-up is news.
    pub(crate) fn in_force(&mut self, now: u64) -> Option<Duration> {
        let left = self.until.checked_sub(now).filter(|left| *left > 0);
        let news = left.is_some() && !self.running;
        self.running |= news;
        left.filter(|_| news).map(Duration::from_nanos)
    }

    /// Returns the time at which the end has to be reported.
    #[must_use]
    pub(crate) fn due(self, now: u64, instant: Instant) -> Option<Instant> {
        self.running.then(|| instant + Duration::from_nanos(self.until.saturating_sub(now)))
    }

    /// Records that the end has been reported.
    pub(crate) const fn ended(&mut self) {
        *self = Self { until: 0, running: false };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 100 * SECOND;
    const MINUTE: Seconds = Seconds(60);

    #[test]
    fn it_begins_where_nothing_is_known_and_goes_on_where_it_has_begun() {
        assert_eq!(WarmUp::start(MINUTE, None, NOW).until(), 160 * SECOND);
        assert_eq!(WarmUp::start(Seconds(0), None, NOW).until(), 0);
        for (pinned, until) in [(0, 0), (99, 0), (100, 0), (120, 120), (500, 160)] {
            let warm_up = WarmUp::start(MINUTE, Some(pinned * SECOND), NOW);
            assert_eq!(warm_up.until(), until * SECOND, "{pinned}");
        }
    }

    #[test]
    fn a_reload_makes_it_no_longer_and_does_not_begin_it_anew() {
        let warm_up = WarmUp::start(MINUTE, None, NOW);
        assert_eq!(warm_up.under(Seconds(3600), NOW).until(), 160 * SECOND);
        assert_eq!(warm_up.under(Seconds(10), NOW).until(), 110 * SECOND);
        let ended = warm_up.under(Seconds(0), NOW);
        assert_eq!(ended.until(), 0);
        assert_eq!(ended.under(MINUTE, NOW).until(), 0);
        assert_eq!(warm_up.under(MINUTE, 160 * SECOND).until(), 0);
    }

    #[test]
    fn beginning_and_end_are_told_of_once() {
        let mut warm_up = WarmUp::start(MINUTE, None, NOW);
        let instant = Instant::now();
        assert_eq!(warm_up.due(NOW, instant), None);
        assert_eq!(warm_up.in_force(NOW), Some(Duration::from_secs(60)));
        assert_eq!(warm_up.in_force(NOW + SECOND), None);
        let due = warm_up.due(NOW + SECOND, instant);
        assert_eq!(due, Some(instant + Duration::from_secs(59)));
        // A reload ends the warm-up at once.
        let mut warm_up = warm_up.under(Seconds(0), NOW + SECOND);
        assert_eq!(warm_up.due(NOW + SECOND, instant), Some(instant));
        warm_up.ended();
        assert_eq!(warm_up.due(NOW, instant), None);
        assert_eq!(warm_up.in_force(NOW), None);
    }
}
