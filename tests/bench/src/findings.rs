//! What a benchmark has found, and how thoroughly it is asked to look.

use std::fmt;

use super::{
    goal::Goal,
    measurement::{Measurement, Unit},
    profile::Profile,
};

/// How thoroughly is measured.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// How often each thing is measured.
    pub runs: usize,
}

impl Effort {
    /// For figures that are worth keeping.
    pub const FULL: Self = Self { runs: 50 };
    /// To see that it works, and about how fast.
    pub const QUICK: Self = Self { runs: 5 };
}

/// What a benchmark has found.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    /// What was measured.
    pub measurements: Vec<Measurement>,
    /// What it was to be.
    pub goals: Vec<Goal>,
    /// What is worth a picture.
    pub charts: Vec<Chart>,
    /// What makes up what was measured.
    pub profiles: Vec<Profile>,
    /// What has to be known of the figures: what could not be measured here, and why.
    pub notes: Vec<String>,
}

/// What a benchmark needs and this machine does not have: no fault of what is measured.
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
    /// What it shows.
    pub title: String,
    /// What the figures are measured in.
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
