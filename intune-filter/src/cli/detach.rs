//! Implements `detach`, the way back: nothing is filtered afterwards.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use nix::sys::signal::{Signal, kill};

use super::{
    args::Global,
    context,
    error::{ExitStatus, Failure},
    output,
};
use crate::{
    boot_guard,
    config::Paths,
    control::{Client, NothingFiltered, Request},
    kernel::{self, PinDirectory},
    report::{Detached, SCHEMA},
};

/// Time limit for a daemon to detach, and for a killed one to end.
const DETACH_TIMEOUT: Duration = Duration::from_secs(5);

/// Runs the command. A running daemon is asked to detach and end, and killed if it does not answer.
/// Only a daemon that its socket does not reach keeps the pins, unless forced.
pub(super) fn run(global: &Global, force: bool) -> Result<(ExitStatus, String), Failure> {
    let paths = context::paths(global);
    let mut stopped = stop_daemon(&paths)?;
    let removed = remove(&paths, force || stopped)?;
    boot_guard::open()?;
    stopped |= removed;
    let text = if global.json {
        output::json(&Detached { schema: SCHEMA, detached: stopped })?
    } else if stopped {
        "detached: nothing is filtered any more\n".to_owned()
    } else {
        format!("nothing to detach: nothing is pinned in {}\n", paths.pin_dir.display())
    };
    Ok((ExitStatus::Yes, text))
}

/// Makes the daemon detach and end, if there is one; returns whether there was.
fn stop_daemon(paths: &Paths) -> anyhow::Result<bool> {
    let Some(client) = Client::connect_if_allowed(&paths.runtime_dir)? else { return Ok(false) };
    let daemon = client.daemon()?;
    let result: anyhow::Result<NothingFiltered> = client.ask(&Request::Detach {}, DETACH_TIMEOUT);
    if let Err(error) = result {
        log::warn!("{error:#}; killing the daemon, process {daemon}");
        kill(daemon, Signal::SIGKILL)
            .with_context(|| format!("cannot kill the daemon, process {daemon}"))?;
    }
    Ok(true)
}

/// Removes the pins of every layout, whichever program made them.
fn remove(paths: &Paths, force: bool) -> anyhow::Result<bool> {
    if !paths.pin_dir.exists() {
        return Ok(false);
    }
    let until = Instant::now() + DETACH_TIMEOUT;
    let lock = loop {
        match kernel::try_acquire(&paths.pin_dir)? {
            Some(lock) => break Some(lock),
            None if Instant::now() < until && force => {
                std::thread::sleep(Duration::from_millis(20));
            }
            None if force => {
                log::warn!(
                    "{} is still locked; removing its pins all the same",
                    paths.pin_dir.display()
                );
                break None;
            }
            None => bail!(
                "a daemon holds {}, and does not listen in {}: stop it first (for example \
                 `systemctl stop intune-filter`), give its --runtime-dir, or take --force",
                paths.pin_dir.display(),
                paths.runtime_dir.display()
            ),
        }
    };
    let removed = kernel::remove_all(&PinDirectory::new(&paths.pin_dir))?;
    drop(lock);
    Ok(removed)
}
