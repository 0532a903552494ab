//! The demo: what it probes, how it probes, and how it tells.

pub mod plan;
pub mod report;
pub mod run;
pub mod services;
