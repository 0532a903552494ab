//! Runs the daemon, which keeps the programs attached and the maps in step with the machine.
//!
//! Attached programs work without the daemon. [`interfaces`] and
//! [`names::learning`](crate::names::learning) decide, [`mod@run`] acts.

pub(crate) mod config_source;
mod destinations;
mod flow_review;
pub(crate) mod intake;
pub(crate) mod interfaces;
pub(crate) mod problems;
pub mod reload;
pub(crate) mod ring_buffer;
pub(crate) mod run;
pub mod setup;
pub(crate) mod warm_up;
