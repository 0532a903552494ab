//! What waits for files that are read ahead.

use crate::control::Call;

/// What is done once its files have been read.
#[derive(Debug)]
pub(super) enum Errand {
    /// Loads the configuration file again.
    Reload,
    /// The same, since the file may have been mended that could not be used.
    Mended,
    /// Goes back to what was confirmed.
    RollBack,
    /// Answers a command.
    Call(Call),
}
