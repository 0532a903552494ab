//! Tracks the time for the confirmation of a new configuration, and the rollback: time in,
//! decisions out, no I/O.

use std::time::{Duration, Instant};

/// Delay after a failed rollback before the next attempt.
const RETRY: Duration = Duration::from_secs(5);

/// Pending confirmation of the configuration in force, if any.
#[derive(Debug, Default)]
pub(crate) struct Confirmation {
    waiting: Option<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    until: Instant,
    /// Error of the last rollback, and the time of the next attempt.
    failed: Option<(String, Instant)>,
}

/// Pending confirmation as commands show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TrialStatus {
    /// Seconds left, rounded up; 0 once the time is over.
    pub seconds_left: u64,
    /// Error that prevents the return of the previous configuration.
    pub error: Option<String>,
}

impl Confirmation {
    /// Whether the configuration in force waits for a confirmation.
    #[must_use]
    pub(crate) const fn is_awaited(&self) -> bool {
        self.waiting.is_some()
    }

    /// Whether a configuration may replace the one in force. One that itself has to be confirmed
    /// always may, since the configuration to return to stays. Another one may not, since it would
    /// end a safeguard that someone may rely on.
    ///
    /// # Errors
    /// The configuration in force waits for its confirmation; the text says so.
    pub(crate) fn may_apply(&self, to_be_confirmed: bool, now: Instant) -> Result<(), String> {
        match &self.waiting {
            Some(Waiting { failed: None, .. }) if !to_be_confirmed => Err(format!(
                "the configuration in force waits for its confirmation, {} s more: `intune-filter \
                 confirm` keeps it, `intune-filter apply --confirm` tries another",
                self.seconds_left(now)
            )),
            _ => Ok(()),
        }
    }

    /// Whether the file may be reloaded: not while the configuration in force waits, since a reload
    /// would confirm or drop it unasked.
    ///
    /// # Errors
    /// The configuration in force waits for its confirmation; the text says so.
    pub(crate) fn may_reload(&self, now: Instant) -> Result<(), String> {
        match &self.waiting {
            None => Ok(()),
            Some(_) => Err(format!(
                "the configuration in force waits for its confirmation, {} s more; nothing is \
                 reloaded until then",
                self.seconds_left(now)
            )),
        }
    }

    /// Starts the wait for the confirmation of a configuration that is now in force, in place of an
    /// earlier wait.
    pub(crate) fn begin(&mut self, patience: Duration, now: Instant) {
        self.waiting = Some(Waiting { until: now + patience, failed: None });
    }

    /// Whether a confirmation at `now` is in time.
    ///
    /// # Errors
    /// There is nothing to confirm, or it is too late; the text says so.
    pub(crate) fn may_confirm(&self, now: Instant) -> Result<(), String> {
        match &self.waiting {
            None => Err("nothing to confirm: no configuration waits for it (what was not \
                         confirmed in time is no longer in force)"
                .to_owned()),
            Some(waiting) if now >= waiting.until => Err(match &waiting.failed {
                Some((error, _)) => format!(
                    "too late to confirm: the time is over, and going back to the configuration \
                     before fails ({error}); `intune-filter apply` puts another into force"
                ),
                None => "too late to confirm: the time is over".to_owned(),
            }),
            Some(_) => Ok(()),
        }
    }

    /// Ends the wait: the configuration is confirmed, replaced, or rolled back.
    pub(crate) fn end(&mut self) {
        self.waiting = None;
    }

    /// Returns the time at which the previous configuration has to return.
    #[must_use]
    pub(crate) fn due(&self) -> Option<Instant> {
        let waiting = self.waiting.as_ref()?;
        Some(waiting.failed.as_ref().map_or(waiting.until, |(_, next)| *next))
    }

    /// Records a failed rollback. Returns whether the error is new.
    pub(crate) fn failed(&mut self, error: String, now: Instant) -> bool {
        let Some(waiting) = &mut self.waiting else { return false };
        let before = waiting.failed.replace((error.clone(), now + RETRY));
        before.is_none_or(|(before, _)| before != error)
    }

    /// Returns the state of the wait, if there is one.
    #[must_use]
    pub(crate) fn status(&self, now: Instant) -> Option<TrialStatus> {
        let waiting = self.waiting.as_ref()?;
        let error = waiting.failed.as_ref().map(|(error, _)| error.clone());
        Some(TrialStatus { seconds_left: self.seconds_left(now), error })
    }

    fn seconds_left(&self, now: Instant) -> u64 {
        let left = self.waiting.as_ref().map(|waiting| waiting.until.duration_since(now));
        left.unwrap_or_default().as_millis().div_ceil(1000) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);
    const SECOND: Duration = Duration::from_secs(1);

    fn waiting() -> (Confirmation, Instant) {
        let (mut confirmation, now) = (Confirmation::default(), Instant::now());
        confirmation.begin(MINUTE, now);
        (confirmation, now)
    }

    #[test]
    fn nothing_waits_at_first() {
        let (confirmation, now) = (Confirmation::default(), Instant::now());
        assert!(!confirmation.is_awaited());
        assert_eq!((confirmation.due(), confirmation.status(now)), (None, None));
        confirmation.may_apply(false, now).unwrap();
        confirmation.may_reload(now).unwrap();
        assert!(confirmation.may_confirm(now).unwrap_err().contains("nothing to confirm"));
    }

    #[test]
    fn a_confirmation_counts_until_the_time_is_over_and_not_from_then_on() {
        let (mut confirmation, now) = waiting();
        assert_eq!(confirmation.due(), Some(now + MINUTE));
        confirmation.may_confirm(now + MINUTE - SECOND / 1000).unwrap();
        let late = confirmation.may_confirm(now + MINUTE).unwrap_err();
        assert!(late.contains("too late"), "{late}");
        confirmation.end();
        assert_eq!(confirmation.due(), None);
    }

    #[test]
    fn seconds_are_counted_up_so_that_one_left_is_never_none() {
        let (confirmation, now) = waiting();
        for (passed, left) in [
            (Duration::ZERO, 60),
            (SECOND / 1000, 60),
            (SECOND, 59),
            (MINUTE - SECOND / 1000, 1),
            (MINUTE, 0),
            (MINUTE * 2, 0),
        ] {
            let status = confirmation.status(now + passed).unwrap();
            assert_eq!(status, TrialStatus { seconds_left: left, error: None }, "{passed:?}");
        }
    }

    #[test]
    fn what_waits_is_replaced_only_by_what_is_to_be_confirmed_itself() {
        let (mut confirmation, now) = waiting();
        let later = now + SECOND * 18;
        let refusal = confirmation.may_apply(false, later).unwrap_err();
        assert!(refusal.contains("42 s more"), "{refusal}");
        assert!(confirmation.may_reload(later).unwrap_err().contains("42 s more"));
        confirmation.may_apply(true, later).unwrap();
        confirmation.begin(MINUTE * 2, later);
        assert_eq!(confirmation.due(), Some(later + MINUTE * 2));
    }

    #[test]
    fn a_rollback_that_fails_is_tried_again_and_is_news_once() {
        let (mut confirmation, now) = waiting();
        let over = now + MINUTE;
        assert!(confirmation.failed("no memory".into(), over));
        assert_eq!(confirmation.due(), Some(over + RETRY));
        assert!(!confirmation.failed("no memory".into(), over + RETRY));
        assert_eq!(confirmation.due(), Some(over + RETRY * 2));
        assert!(confirmation.failed("another".into(), over + RETRY * 2));
        let status = confirmation.status(over).unwrap();
        assert_eq!(status, TrialStatus { seconds_left: 0, error: Some("another".into()) });
        let late = confirmation.may_confirm(over + RETRY).unwrap_err();
        assert!(late.contains("another"), "{late}");
    }

    #[test]
    fn while_going_back_fails_anything_may_be_applied() {
        let (mut confirmation, now) = waiting();
        confirmation.failed("no memory".into(), now + MINUTE);
        confirmation.may_apply(false, now + MINUTE).unwrap();
        assert!(confirmation.may_reload(now + MINUTE).is_err());
        confirmation.end();
        assert!(!confirmation.failed("no memory".into(), now), "nothing waits any more");
    }
}
