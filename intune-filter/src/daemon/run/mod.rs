//! Runs the daemon: waits for events, asks the reconciler, and carries out its commands.
//!
//! [`state`] holds the daemon's state, and each file beside it does one of its tasks.

mod active_config;
mod apply_policy;
mod commands;
mod configure;
mod errand;
mod error;
mod gate;
mod gate_at_start;
mod keep;
mod last_reload;
mod maintenance;
mod metrics;
mod poll_events;
mod preview;
mod read_ahead;
mod reconcile;
mod resolve;
mod serve;
mod start;
mod state;
mod tags;
mod waiting;
mod warming;
mod watchdog;
mod watched;

pub(crate) use error::RunError;
pub(crate) use start::run;
