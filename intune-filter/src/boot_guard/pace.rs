//! When to look after the table: at once when word of a change comes, and ever more seldom where
//! somebody removes it again and again.

use std::time::{Duration, Instant};

/// How long after word of a change: of what is done in one go, most comes at once.
const SETTLE: Duration = Duration::from_millis(50);

/// How long after the look before, at least; twice as long after each loss that follows another.
const SPACING: Duration = Duration::from_millis(200);
const SPACING_MAX: Duration = Duration::from_secs(60);

/// The table was left alone for so long: a loss now follows no other.
const PEACE: Duration = Duration::from_secs(120);

/// Decides when to look.
#[derive(Debug, Default)]
pub struct Pace {
    due: Option<Instant>,
    looked: Option<Instant>,
    lost: Option<Instant>,
    /// Losses that followed each other.
    losses: u32,
}

impl Pace {
    /// The table may have changed.
    pub fn heard(&mut self, now: Instant) {
        let earliest = self.looked.map_or(now, |looked| looked + self.spacing());
        self.due.get_or_insert(earliest.max(now + SETTLE));
    }

    /// When to look, if at all.
    #[must_use]
    pub const fn due(&self) -> Option<Instant> {
        self.due
    }

    /// It was looked, and the table was there as it was written, or was not.
    pub fn looked(&mut self, now: Instant, intact: bool) {
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
        // What was written is word of a change itself.
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
        // Left alone, it is looked after as before.
        looks_in(&mut pace, 600, 900, false);
        assert!(looks_in(&mut pace, 900, 910, false) >= 9);
    }
}
