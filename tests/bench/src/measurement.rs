//! Result of a number of runs, and its confidence.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Unit of a figure.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub enum Unit {
    /// Nanoseconds.
    #[serde(rename = "ns")]
    Time,
    /// Number in a second.
    #[serde(rename = "1/s")]
    Rate,
    /// Octets.
    #[serde(rename = "octets")]
    Memory,
    /// A part of one: 0.5 is half.
    #[serde(rename = "share")]
    Share,
    /// Multiple of another figure.
    #[serde(rename = "ratio")]
    Ratio,
    /// A number of things.
    #[serde(rename = "count")]
    Count,
}

/// Figures of one thing.
#[derive(Clone, Debug)]
pub struct Measurement {
    /// Name of the measurement.
    pub name: String,
    /// Unit of the figures.
    pub unit: Unit,
    /// In the order of the runs; never empty.
    values: Vec<f64>,
    /// From the smallest on.
    sorted: Vec<f64>,
}

impl Measurement {
    /// At least one figure, in the order of the runs.
    ///
    /// # Panics
    /// Without any.
    #[must_use]
    pub fn new(name: impl Into<String>, unit: Unit, values: Vec<f64>) -> Self {
        assert!(!values.is_empty(), "something was measured");
        let mut sorted = values.clone();
        sorted.sort_unstable_by(f64::total_cmp);
        Self { name: name.into(), unit, values, sorted }
    }

    /// Times, at least one.
    ///
    /// # Panics
    /// Without any.
    #[must_use]
    pub fn times(name: impl Into<String>, times: impl IntoIterator<Item = Duration>) -> Self {
        let nanos = times.into_iter().map(|time| time.as_nanos() as f64);
        Self::new(name, Unit::Time, nanos.collect())
    }

    /// The figures in the order of the runs.
    #[must_use]
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    /// Number of runs.
    #[must_use]
    pub const fn runs(&self) -> usize {
        self.values.len()
    }

    /// The smallest figure.
    #[must_use]
    pub fn least(&self) -> f64 {
        self.percentile(0)
    }

    /// Half of the runs came to no more.
    #[must_use]
    pub fn median(&self) -> f64 {
        self.percentile(50)
    }

    /// Of a hundred runs, 99 came to no more; of fewer runs, none did.
    #[must_use]
    pub fn p99(&self) -> f64 {
        self.percentile(99)
    }

    /// The largest figure.
    #[must_use]
    pub fn greatest(&self) -> f64 {
        self.percentile(100)
    }

    /// Between which figures the median of ever more runs would be, 19 times out of 20: the ranks
    /// that a binomial distribution gives, whatever that of the figures is.
    #[must_use]
    pub fn interval(&self) -> (f64, f64) {
        /// Standard deviations to either side that hold 95 %.
        const DEVIATIONS: f64 = 1.96;
        let runs = self.runs() as f64;
        let (middle, reach) = (runs / 2.0, DEVIATIONS * runs.sqrt() / 2.0);
        let last = self.runs() - 1;
        let low = (middle - reach).floor().max(0.0) as usize;
        let high = ((middle + reach).ceil() as usize).min(last);
        (self.sorted[low.min(last)], self.sorted[high])
    }

    /// Percentile of the runs (nearest rank).
    fn percentile(&self, percent: usize) -> f64 {
        let rank = (self.runs() * percent).div_ceil(100).max(1);
        self.sorted[rank - 1]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: impl IntoIterator<Item = u32>) -> Measurement {
        Measurement::new("", Unit::Count, values.into_iter().map(f64::from).collect())
    }

    #[test]
    fn percentiles_are_figures_that_were_measured() {
        let all = of((1..=200).rev());
        let found = [all.least(), all.median(), all.p99(), all.greatest()];
        assert_eq!(found, [1.0, 100.0, 198.0, 200.0]);
        assert_eq!(all.values()[0], 200.0, "the order of the runs is kept");
    }

    #[test]
    fn of_few_runs_the_99th_percentile_is_the_greatest() {
        let few = of([5, 1, 9]);
        assert_eq!((few.median(), few.p99()), (5.0, few.greatest()));
        let one = of([7]);
        assert_eq!((one.least(), one.p99(), one.runs()), (one.greatest(), one.median(), 1));
    }

    #[test]
    fn more_runs_make_a_narrower_interval_around_the_median() {
        assert_eq!(of(1..=100).interval(), (41.0, 61.0));
        assert_eq!(of(1..=5).interval(), (1.0, 5.0));
        assert_eq!(of([3]).interval(), (3.0, 3.0));
    }

    #[test]
    fn times_are_nanoseconds() {
        let times = Measurement::times("", [Duration::from_micros(2)]);
        assert_eq!((times.unit, times.median()), (Unit::Time, 2000.0));
    }
}
