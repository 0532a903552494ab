//! Benchmarks: what is measured, and how it is told.

pub mod dns;
pub mod machine;
pub mod measurement;
pub mod reload;
pub mod report;

pub use measurement::Measurement;

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

/// A benchmark: measures one or more things.
pub type Benchmark = fn(Effort) -> Result<Vec<Measurement>>;

/// Every benchmark by its name, in the order in which they run.
pub const ALL: [(&str, Benchmark); 2] = [("dns", dns::run), ("reload", reload::run)];
