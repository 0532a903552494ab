//! Defines the errands that wait for files to be read ahead.

use crate::control::Call;

/// Errand that is run once its files have been read.
#[derive(Debug)]
pub(super) enum Errand {
    /// Reload of the configuration file.
    Reload,
    /// Reload of a configuration file that may have been mended.
    Mended,
    /// Return to the confirmed configuration.
    RollBack,
    /// Answer to a command.
    Call(Call),
}
