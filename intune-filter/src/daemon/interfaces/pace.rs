//! Paces the readings of the machine's state: the first change is acted on at once, those that follow
//! together; one may be due without any.

use std::time::{Duration, Instant};

/// Time between two readings that changes have caused.
const PACE: Duration = Duration::from_millis(200);

/// Times of the readings that changes cause.
#[derive(Debug, Default)]
pub(crate) struct LookPace {
    last: Option<Instant>,
    due: Option<Instant>,
}

impl LookPace {
    /// Records a change.
    pub(crate) fn heard(&mut self, now: Instant) {
        let next = self.last.map_or(now, |last| now.max(last + PACE));
        self.due.get_or_insert(next);
    }

    /// Sets a time by which the state is to be read, changed or not; not at once after a reading.
    pub(crate) fn by(&mut self, time: Instant) {
        let next = self.last.map_or(time, |last| time.max(last + PACE));
        self.due = Some(self.due.map_or(next, |due| due.min(next)));
    }

    /// Returns when the machine's state is to be read.
    #[must_use]
    pub(crate) const fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Records a reading.
    pub(crate) fn looked(&mut self, now: Instant) {
        *self = Self { last: Some(now), due: None };
    }
}

/// Time between two readings of the routes after changes of interfaces or addresses.
const ROUTES: Duration = Duration::from_secs(2);

/// Time between two readings without any: the changes of routes are not heard of, since a router may have
/// thousands in a second.
const ROUTES_UNCHANGED: Duration = Duration::from_secs(60);

/// Times at which routes are read along with the machine's state.
#[derive(Debug, Default)]
pub(crate) struct RoutePace {
    read: Option<Instant>,
    changed: bool,
}

impl RoutePace {
    /// Records a change of interfaces or addresses.
    pub(crate) const fn heard(&mut self) {
        self.changed = true;
    }

    /// Whether the routes are to be read now; if so, they are taken for read.
    pub(crate) fn is_due(&mut self, now: Instant) -> bool {
        let wait = if self.changed { ROUTES } else { ROUTES_UNCHANGED };
        if self.read.is_some_and(|read| now.saturating_duration_since(read) < wait) {
            return false;
        }
        *self = Self { read: Some(now), changed: false };
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_are_read_soon_after_changes_and_seldom_without() {
        let (mut pace, start) = (RoutePace::default(), Instant::now());
        assert!(pace.is_due(start) && !pace.is_due(start + ROUTES));
        pace.heard();
        assert!(!pace.is_due(start + ROUTES / 2));
        assert!(pace.is_due(start + ROUTES) && !pace.is_due(start + ROUTES * 2));
        assert!(pace.is_due(start + ROUTES + ROUTES_UNCHANGED));
    }

    #[test]
    fn a_reading_by_a_time_is_not_put_off_by_changes_and_comes_not_at_once() {
        let (mut pace, start) = (LookPace::default(), Instant::now());
        pace.looked(start);
        pace.by(start);
        assert_eq!(pace.due(), Some(start + PACE));
        pace.looked(start);
        pace.by(start + PACE * 9);
        pace.by(start + PACE * 5);
        pace.heard(start + PACE * 7);
        assert_eq!(pace.due(), Some(start + PACE * 5));
    }

    #[test]
    fn a_hundred_changes_a_second_are_five_readings() {
        let (mut pace, start) = (LookPace::default(), Instant::now());
        let mut looks = Vec::new();
        for ms in 0..=1000 {
            let now = start + Duration::from_millis(ms);
            if ms % 10 == 0 && ms < 1000 {
                pace.heard(now);
            }
            if pace.due().is_some_and(|due| due <= now) {
                pace.looked(now);
                looks.push(ms);
            }
        }
        assert_eq!(looks, [0, 200, 400, 600, 800, 1000]);
        assert_eq!(pace.due(), None);
        let later = start + Duration::from_secs(9);
        pace.heard(later);
        assert_eq!(pace.due(), Some(later), "the first of a few is not kept waiting");
    }
}
