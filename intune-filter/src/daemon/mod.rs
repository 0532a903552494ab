//! The daemon: keeps the programs attached and the maps in step with the machine.
//!
//! What is attached works without it. [`engine`] and [`learner`] decide, [`mod@run`] does.

pub mod ahead;
pub mod asker;
pub mod chronicle;
pub mod confirmation;
pub mod control;
pub(crate) mod devices;
pub mod engine;
pub mod feed;
mod figures;
pub mod forget;
pub mod last_good;
pub mod learner;
pub mod ledger;
pub mod mended;
mod metrics;
mod metrics_server;
pub mod problems;
mod punted;
pub mod records;
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
pub mod tally;
mod teach;
pub mod warm_up;
