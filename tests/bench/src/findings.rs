//! Findings of a benchmark, and the effort that it is asked for.

use std::fmt;

use super::{
    goal::Goal,
    measurement::{Measurement, Unit},
    profile::Profile,
};

/// Effort of a benchmark.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Runs of each measurement.
    pub runs: usize,
}

impl Effort {
    /// For figures that are worth keeping.
    pub const FULL: Self = Self { runs: 50 };
    /// To see that it works, and about how fast.
    pub const QUICK: Self = Self { runs: 5 };
}

/// Findings of a benchmark.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    /// Measurements.
    pub measurements: Vec<Measurement>,
    /// Goals.
    pub goals: Vec<Goal>,
    /// Charts.
    pub charts: Vec<Chart>,
    /// Profiles: parts of measured times.
    pub profiles: Vec<Profile>,
    /// Notes on the figures: measurements that were impossible here, and why.
    pub notes: Vec<String>,
}

/// Means that a benchmark needs and this machine lacks: no fault of the filter.
#[derive(Debug)]
pub struct Unavailable(pub String);

impl std::error::Error for Unavailable {}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not measured: {}", self.0)
    }
}

/// Figures of one unit side by side: a group of bars for each thing, a bar in it for each variant.
#[derive(Clone, Debug)]
pub struct Chart {
    /// Title.
    pub title: String,
    /// Unit of the figures.
    pub unit: Unit,
    /// The variants, such as table sizes; a single empty one where there are none.
    pub variants: Vec<String>,
    /// Each thing, and a figure for each variant that it was measured in.
    pub rows: Vec<(String, Vec<Option<f64>>)>,
}

impl Findings {
    /// Adds what another has found.
    pub fn add(&mut self, other: Self) {
        self.measurements.extend(other.measurements);
        self.goals.extend(other.goals);
        self.charts.extend(other.charts);
        self.profiles.extend(other.profiles);
        self.notes.extend(other.notes);
    }
}

impl From<Vec<Measurement>> for Findings {
    fn from(measurements: Vec<Measurement>) -> Self {
        Self { measurements, ..Self::default() }
    }
}
