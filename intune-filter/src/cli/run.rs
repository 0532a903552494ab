//! Implements `run`: runs the daemon.

use std::cell::RefCell;

use super::{
    args::Global,
    context,
    error::{ExitStatus, Failure},
};
use crate::{
    config::Paths,
    daemon::{
        config_source::ConfigSource,
        run::{RunError, run as run_daemon},
    },
};

/// Runs the daemon until it ends.
pub(super) fn run(global: &Global) -> Result<(ExitStatus, String), Failure> {
    let path = context::config_path(global);
    let adjust = |paths: &mut Paths| *paths = global.paths(paths);
    let source = ConfigSource { path: &path, adjust: &adjust, ahead: RefCell::default() };
    // The programs' log messages name clients, and are therefore off unless asked for.
    let kernel_log = match global.verbose {
        0 => log::LevelFilter::Off,
        1 => log::LevelFilter::Debug,
        _ => log::LevelFilter::Trace,
    };
    match run_daemon(&source, kernel_log) {
        Ok(()) => Ok((ExitStatus::Yes, String::new())),
        Err(RunError::Configuration(errors)) => Err(errors.into()),
        Err(RunError::Other(error)) => Err(error.into()),
    }
}
