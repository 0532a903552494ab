//! Fate of a frame.

/// Fate of a frame: the action of the program that judged it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The frame goes on its way.
    Passed,
    /// The frame is dropped.
    Dropped,
    /// An answer is sent back, these octets.
    Answered(Vec<u8>),
}
