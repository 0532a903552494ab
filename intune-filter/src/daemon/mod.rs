//! The daemon: keeps the programs attached and the maps in step with the machine.
//!
//! What is attached works without it. [`engine`] and [`learner`] decide, [`mod@run`] does.

pub mod ahead;
pub mod asker;
pub mod confirmation;
pub(crate) mod devices;
pub mod engine;
pub mod forget;
pub mod last_good;
pub mod learner;
pub mod mended;
pub mod problems;
mod punted;
pub mod reload;
pub mod resolution;
pub mod restore;
pub mod rings;
pub mod run;
pub mod saved;
pub mod saver;
pub mod setup;
pub mod source;
mod streams;
mod teach;
pub mod warm_up;
