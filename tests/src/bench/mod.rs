//! Benchmarks: what is measured, and how it is told.

pub mod daemon;
pub mod dns;
pub mod figures;
mod findings;
pub mod gateway;
pub mod goal;
pub mod learning;
pub mod machine;
pub mod markdown;
pub mod measurement;
mod object;
pub mod picture;
pub mod profile;
pub mod programs;
pub mod reload;
pub mod report;
pub mod text;
pub mod written;

pub use findings::{Chart, Effort, Findings, Unavailable};
pub use goal::{Bound, Goal};
pub use measurement::{Measurement, Unit};

use anyhow::Result;

/// A benchmark: measures one or more things.
pub type Benchmark = fn(Effort) -> Result<Findings>;

/// Every benchmark by its name, in the order in which they run.
pub const ALL: [(&str, Benchmark); 6] = [
    ("programs", programs::run),
    ("gateway", gateway::run),
    ("dns", dns::run),
    ("learning", learning::run),
    ("daemon", daemon::run),
    ("reload", reload::run),
];
