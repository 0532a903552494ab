//! The daemon: keeps the programs attached and the maps in step with the machine.
//!
//! What is attached works without it. [`engine`] and [`learner`] decide, [`mod@run`] does.

pub mod ahead;
pub mod confirmation;
pub(crate) mod devices;
pub mod engine;
pub mod last_good;
pub mod mended;
pub mod problems;
pub mod reload;
pub mod rings;
pub mod run;
pub mod saved;
pub mod setup;
pub mod source;
pub mod warm_up;
