//! Opponents: variants that are measured against each other.

use anyhow::Result;

use super::wiring::Wiring;
use intune_filter_tests::xdp::PassAll;

/// A filter on a gateway; gone on drop.
pub trait Opponent {
    /// Forgets every flow that it knows.
    fn forget(&self, _: &Wiring) -> Result<()> {
        Ok(())
    }
}

/// Nothing.
pub struct Nothing;

impl Opponent for Nothing {}

/// An XDP program that passes everything.
impl Opponent for PassAll {}
