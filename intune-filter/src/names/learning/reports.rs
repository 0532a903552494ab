//! What is done with names and addresses between one report of the kernel's and the next needs both:
//! the learner, and word of what was reported until now.

use anyhow::Result;

use super::learner::Learner;

/// The kernel's reports of the answers that it has learned from, and the learner that takes them in.
pub trait Reports {
    /// The learner, as far as the reports were read.
    fn learner(&mut self) -> &mut Learner;

    /// Takes in what the kernel has reported until now.
    ///
    /// # Errors
    /// The reports cannot be read, or what follows from one cannot be written.
    fn catch_up(&mut self) -> Result<()>;
}
