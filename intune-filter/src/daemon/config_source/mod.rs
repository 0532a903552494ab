//! Where the configuration in force comes from: the file, what `apply` has put in its place, the last
//! good one; read ahead, watched, and confirmed.

pub(crate) mod ahead;
pub(crate) mod config_override;
pub(crate) mod confirmation;
pub(crate) mod last_good;
pub(crate) mod mended;
mod source;

pub(crate) use source::{Chosen, ConfigSource};
