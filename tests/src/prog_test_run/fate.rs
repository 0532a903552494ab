//! What became of a frame.

/// What a program has done with a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It goes on its way.
    Passed,
    /// It is dropped.
    Dropped,
    /// It is sent back, in this form.
    Answered(Vec<u8>),
}
