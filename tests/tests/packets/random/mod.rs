//! Random and mutated frames: the loaded programs judge them as the host's build of the same code
//! does, and what passes is also what an independent reading of the frame and the site allows.
//!
//! `INTUNE_CASES` sets how many.

mod frames;
mod host;
mod kernel;
mod model;
mod seeds;

/// How many frames, unless `INTUNE_CASES` says otherwise.
fn cases(default: u64) -> u64 {
    let cases = std::env::var("INTUNE_CASES").ok();
    cases.map_or(default, |text| text.parse().expect("INTUNE_CASES is a number"))
}
