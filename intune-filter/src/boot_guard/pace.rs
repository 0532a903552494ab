//! Schedules checks of the table: soon after a report of a change, and at growing intervals while
//! others remove the table again and again.

use std::time::{Duration, Instant};

/// Delay after the report of a change, so that related changes are seen together.
const SETTLE: Duration = Duration::from_millis(50);

/// Least interval between checks; doubled by each loss that follows another.
const SPACING: Duration = Duration::from_millis(200);
const SPACING_MAX: Duration = Duration::from_secs(60);

/// Time without a loss after which the next one counts as the first.
const PEACE: Duration = Duration::from_secs(120);

/// Schedule of the checks.
#[derive(Debug, Default)]
pub(super) struct Pace {
    due: Option<Instant>,
    looked: Option<Instant>,
    lost: Option<Instant>,
    /// Losses in a row.
    losses: u32,
}

impl Pace {
    /// Records a report that the table may have changed.
    pub(super) fn heard(&mut self, now: Instant) {
        let earliest = self.looked.map_or(now, |looked| looked + self.spacing());
        self.due.get_or_insert(earliest.max(now + SETTLE));
    }

    /// Returns the time of the next check, if any.
    #[must_use]
    pub(super) const fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Records a check that found the table intact, or not.
    pub(super) fn looked(&mut self, now: Instant, intact: bool) {
        self.due = None;
        self.looked = Some(now);
        let peaceful = self.lost.is_none_or(|lost| now.duration_since(lost) >= PEACE);
        if peaceful {
            self.losses = 0;
        }
        if !intact {
            self.losses += 1;
            self.lost = Some(now);
        }
    }

    fn spacing(&self) -> Duration {
        let doubled = 1 << self.losses.saturating_sub(1).min(10);
        (SPACING * doubled).min(SPACING_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loss_is_seen_at_once_and_the_next_soon_enough() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        assert_eq!(pace.due(), None);
        pace.heard(start);
        pace.heard(start + SETTLE / 2);
        assert_eq!(pace.due(), Some(start + SETTLE), "word that follows changes nothing");
        pace.looked(start + SETTLE, false);
        assert_eq!(pace.due(), None);
        // The guard's own writing is reported as a change.
        pace.heard(start + SETTLE);
        assert_eq!(pace.due(), Some(start + SETTLE + SPACING));
        pace.looked(start + SETTLE + SPACING, true);
        let later = start + PEACE;
        pace.heard(later);
        assert_eq!(pace.due(), Some(later + SETTLE));
    }

    #[test]
    fn whoever_removes_it_every_second_is_fought_ever_more_seldom() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        let looks_in = |pace: &mut Pace, from: u64, to: u64, is_removed: bool| {
            let mut looks = 0;
            for tenth in from * 10..to * 10 {
                let now = start + Duration::from_millis(tenth * 100);
                if tenth % 10 == 0 {
                    pace.heard(now);
                }
                if pace.due().is_some_and(|due| due <= now) {
                    pace.looked(now, !is_removed);
                    looks += 1;
                }
            }
            looks
        };
        let (first, then) =
            (looks_in(&mut pace, 0, 120, true), looks_in(&mut pace, 120, 600, true));
        assert!((8..=11).contains(&first), "{first}");
        assert!((7..=9).contains(&then), "{then}");
        // After a quiet time, checks are as frequent as before.
        looks_in(&mut pace, 600, 900, false);
        assert!(looks_in(&mut pace, 900, 910, false) >= 9);
    }
}
