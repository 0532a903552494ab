//! Benchmarks: what is measured, and how it is told.

pub mod dns;
pub mod goal;
pub mod machine;
pub mod measurement;
pub mod programs;
pub mod reload;
pub mod report;

pub use goal::{Bound, Goal};
pub use measurement::{Measurement, Unit};

use anyhow::Result;

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
    }
}

impl From<Vec<Measurement>> for Findings {
    fn from(measurements: Vec<Measurement>) -> Self {
        Self { measurements, ..Self::default() }
    }
}

/// A benchmark: measures one or more things.
pub type Benchmark = fn(Effort) -> Result<Findings>;

/// Every benchmark by its name, in the order in which they run.
pub const ALL: [(&str, Benchmark); 3] =
    [("programs", programs::run), ("dns", dns::run), ("reload", reload::run)];
