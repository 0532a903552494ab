//! What a number of runs took, and what that comes to.

use std::time::Duration;

/// Times of one thing.
#[derive(Clone, Debug)]
pub struct Measurement {
    /// What was measured.
    pub name: String,
    /// From the shortest on; never empty.
    times: Vec<Duration>,
}

impl Measurement {
    /// At least one time, in any order.
    ///
    /// # Panics
    /// Without any.
    #[must_use]
    pub fn new(name: impl Into<String>, mut times: Vec<Duration>) -> Self {
        assert!(!times.is_empty(), "something was measured");
        times.sort_unstable();
        Self { name: name.into(), times }
    }

    /// How often it was measured.
    #[must_use]
    pub const fn runs(&self) -> usize {
        self.times.len()
    }

    /// The shortest time.
    #[must_use]
    pub fn shortest(&self) -> Duration {
        self.percentile(0)
    }

    /// Half of the runs took no longer.
    #[must_use]
    pub fn median(&self) -> Duration {
        self.percentile(50)
    }

    /// Of a hundred runs, 99 took no longer; of fewer runs, none did.
    #[must_use]
    pub fn p99(&self) -> Duration {
        self.percentile(99)
    }

    /// The longest time.
    #[must_use]
    pub fn longest(&self) -> Duration {
        self.percentile(100)
    }

    /// The shortest time that so many percent of the runs did not exceed (nearest rank).
    fn percentile(&self, percent: usize) -> Duration {
        let rank = (self.times.len() * percent).div_ceil(100).max(1);
        self.times[rank - 1]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(times: impl IntoIterator<Item = u64>) -> Measurement {
        Measurement::new("", times.into_iter().map(Duration::from_millis).collect())
    }

    #[test]
    fn percentiles_are_times_that_were_measured() {
        let all = of((1..=200).rev());
        let found = [all.shortest(), all.median(), all.p99(), all.longest()];
        assert_eq!(found, [1, 100, 198, 200].map(Duration::from_millis));
    }

    #[test]
    fn of_few_runs_the_99th_percentile_is_the_longest() {
        let few = of([5, 1, 9]);
        assert_eq!((few.median(), few.p99()), (Duration::from_millis(5), few.longest()));
        let one = of([7]);
        assert_eq!((one.shortest(), one.p99(), one.runs()), (one.longest(), one.median(), 1));
    }
}
