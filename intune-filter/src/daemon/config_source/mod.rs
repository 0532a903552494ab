//! Finds the configuration to run: the file, the override by `apply`, or the last good one; reads
//! ahead, watches, and tracks confirmations.

pub(crate) mod ahead;
pub(crate) mod config_override;
pub(crate) mod confirmation;
pub(crate) mod last_good;
pub(crate) mod mended;
mod source;

pub(crate) use source::{Chosen, ConfigSource};
