//! Paces the readings of the machine's state: the first change is acted on at once, those that follow
//! together.

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

#[cfg(test)]
mod tests {
    use super::*;

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
