//! Random and mutated frames in a row: the loaded programs judge them as the host's build of the
//! same code does, count and remember the same, and what passes is also what an independent reading
//! of the frames and the site allows after all that came before.
//!
//! `INTUNE_CASES` sets how many.

mod frames;
mod host;
mod kernel;
mod memory;
mod model;
mod oracle;
mod reading;
pub mod seeds;

/// Number of frames: `INTUNE_CASES`, or the default.
fn cases(default: u64) -> u64 {
    let cases = std::env::var("INTUNE_CASES").ok();
    cases.map_or(default, |text| text.parse().expect("INTUNE_CASES is a number"))
}
