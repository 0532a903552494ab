//! Goals: what a figure is to be, and whether it is.

use serde::{Deserialize, Serialize};

use super::{Measurement, measurement::Unit};

/// On which side of a figure one has to be.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// No more than that.
    AtMost(f64),
    /// No less than that.
    AtLeast(f64),
}

/// A figure with a goal.
#[derive(Clone, Debug)]
pub struct Goal {
    /// Compared measurements.
    pub name: String,
    /// Unit of the figure: mostly [`Unit::Ratio`], which other machines may be held to as well.
    pub unit: Unit,
    /// The figure.
    pub value: f64,
    /// Between which figures it is, 19 times out of 20.
    pub interval: (f64, f64),
    /// Bound of the figure.
    pub bound: Bound,
}

impl Goal {
    /// Ratio of the first to the second: pair by pair where both were measured alternately, which
    /// removes common disturbances.
    #[must_use]
    pub fn ratio(
        name: impl Into<String>,
        one: &Measurement,
        other: &Measurement,
        bound: Bound,
    ) -> Self {
        let ratios = if one.runs() == other.runs() {
            one.values().iter().zip(other.values()).map(|(one, other)| one / other).collect()
        } else {
            vec![one.median() / other.median()]
        };
        Self::figure(&Measurement::new(name, Unit::Ratio, ratios), bound)
    }

    /// Goal of a measurement itself.
    #[must_use]
    pub fn figure(measurement: &Measurement, bound: Bound) -> Self {
        Self {
            name: measurement.name.clone(),
            unit: measurement.unit,
            value: measurement.median(),
            interval: measurement.interval(),
            bound,
        }
    }

    /// Whether the figure meets its bound.
    #[must_use]
    pub fn is_met(&self) -> bool {
        self.is_within(self.bound, 1.0)
    }

    /// Whether it is out by twice: no noise does that to a ratio, so something is wrong. Where
    /// `published` says what it was when figures were published last, and that misses the goal, it
    /// is out by twice of that.
    #[must_use]
    pub fn is_far(&self, published: Option<f64>) -> bool {
        let bound = match (self.bound, published) {
            (Bound::AtMost(most), Some(before)) => Bound::AtMost(most.max(before)),
            (Bound::AtLeast(least), Some(before)) => Bound::AtLeast(least.min(before)),
            (bound, None) => bound,
        };
        self.unit == Unit::Ratio && !self.is_within(bound, 2.0)
    }

    fn is_within(&self, bound: Bound, leeway: f64) -> bool {
        match bound {
            Bound::AtMost(most) => self.value <= most * leeway,
            Bound::AtLeast(least) => self.value >= least / leeway,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[f64]) -> Measurement {
        Measurement::new("", Unit::Time, values.to_vec())
    }

    #[test]
    fn what_disturbs_both_measurements_of_a_pair_is_taken_out() {
        let (one, other) = (of(&[20.0, 200.0, 20.0]), of(&[10.0, 100.0, 10.0]));
        let goal = Goal::ratio("twice", &one, &other, Bound::AtMost(2.0));
        assert_eq!((goal.value, goal.interval), (2.0, (2.0, 2.0)));
        assert!(goal.is_met() && !goal.is_far(None));
    }

    #[test]
    fn measurements_of_unequal_numbers_are_compared_by_their_medians() {
        let goal = Goal::ratio("", &of(&[9.0, 1.0, 8.0]), &of(&[2.0]), Bound::AtLeast(4.0));
        assert!(goal.is_met() && goal.value == 4.0);
    }

    #[test]
    fn a_goal_is_far_when_it_is_out_by_twice() {
        let goal = |value: f64, bound| Goal::ratio("", &of(&[value]), &of(&[1.0]), bound);
        for (value, bound, met, far) in [
            (1.0, Bound::AtMost(1.0), true, false),
            (1.9, Bound::AtMost(1.0), false, false),
            (2.1, Bound::AtMost(1.0), false, true),
            (0.6, Bound::AtLeast(1.0), false, false),
            (0.4, Bound::AtLeast(1.0), false, true),
        ] {
            let goal = goal(value, bound);
            assert_eq!((goal.is_met(), goal.is_far(None)), (met, far), "{value} {bound:?}");
        }
    }

    #[test]
    fn a_goal_that_was_missed_before_is_far_when_it_is_twice_as_far() {
        let goal = |value: f64, bound| Goal::ratio("", &of(&[value]), &of(&[1.0]), bound);
        for (value, bound, published, far) in [
            (2.1, Bound::AtMost(1.0), 3.0, false),
            (5.9, Bound::AtMost(1.0), 3.0, false),
            (6.1, Bound::AtMost(1.0), 3.0, true),
            (2.1, Bound::AtMost(1.0), 0.5, true),
            (0.3, Bound::AtLeast(1.0), 0.5, false),
            (0.2, Bound::AtLeast(1.0), 0.5, true),
        ] {
            assert_eq!(goal(value, bound).is_far(Some(published)), far, "{value} {bound:?}");
        }
    }

    #[test]
    fn only_ratios_are_far_since_other_figures_depend_on_the_machine() {
        let goal = Goal::figure(&of(&[100.0]), Bound::AtMost(1.0));
        assert!(!goal.is_met() && !goal.is_far(None));
    }
}
