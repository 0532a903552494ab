//! A learner by itself, where no program reports anything to it.

use anyhow::Result;
use intune_filter::names::learning::{Learner, Reports};

/// No reports, and the learner that would take them in.
pub struct Unreported<'a>(pub &'a mut Learner);

impl Reports for Unreported<'_> {
    fn learner(&mut self) -> &mut Learner {
        self.0
    }

    fn catch_up(&mut self) -> Result<()> {
        Ok(())
    }
}
