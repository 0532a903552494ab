//! Operates the boot guard before any configuration is read, and when none can be used.

use nix::unistd::Pid;

use crate::{
    boot_guard::{self, GuardState},
    config::{Boot, Config},
    control::Client,
    daemon::config_source::ConfigSource,
    kernel::{self, PinDirectory, Pins},
    system::logging::CRITICAL,
};

/// Closes the guard if the last good configuration says so. Returns the value of `boot`, if it is
/// known.
pub(super) fn shut_as_kept(source: &ConfigSource<'_>) -> Option<Boot> {
    // The file may name another state directory, and is then read for that alone.
    let first = source.first_paths().state_dir;
    let kept = load(&first).or_else(|| {
        let file = source.read().ok();
        let state = source.paths(file.as_ref()).state_dir;
        (state != first).then(|| load(&state)).flatten()
    });
    let config = kept?.to_config();
    shut(&config, source);
    Some(config.boot)
}

/// Reverses a failed start: removes the pins of a first start, and closes the guard for all but
/// attached interfaces. Earlier attachments stay.
pub(super) fn undo_start(config: &Config, source: &ConfigSource<'_>, made: Option<&PinDirectory>) {
    if let Some(Err(error)) = made.map(kernel::remove_all) {
        log::error!("{error:#}");
    }
    shut(config, source);
}

/// Closes the guard until programs are attached, if the configuration says so. A failure does not
/// prevent the attachment. A daemon that already runs keeps its own guard.
pub(super) fn shut(config: &Config, source: &ConfigSource<'_>) {
    let mut paths = config.paths.clone();
    (source.adjust)(&mut paths);
    if Client::connect(&paths.runtime_dir).is_some_and(|client| !is_here(&client)) {
        return;
    }
    if let Err(error) = boot_guard::shut(config, &paths) {
        log::error!("{error:#}");
    }
}

/// Closes the guard by a configuration that is readable in part, unless there is a table, which may
/// know more.
fn shut_by_part(config: &Config, source: &ConfigSource<'_>) {
    if boot_guard::presence() != Some(true) {
        shut(config, source);
    }
}

/// Whether the daemon at the other end is this process, which has failed to start.
fn is_here(client: &Client) -> bool {
    client.daemon().is_ok_and(|daemon| daemon == Pid::this())
}

fn load(state: &std::path::Path) -> Option<GuardState> {
    GuardState::load(state).unwrap_or_else(|error| {
        // The next configuration in force replaces the file.
        log::error!("{error:#}");
        None
    })
}

/// Logs which traffic passes if no configuration can be used, and none is kept. `known` is the
/// earlier configuration's value of `boot`.
pub(super) fn all_lost(source: &ConfigSource<'_>, known: Option<Boot>) {
    // The readable part of the file names the interfaces to block until it is mended.
    let readable = source.read().ok();
    let readable = readable.and_then(|file| Config::parse_part(&file.file, &file.text).0);
    readable.iter().for_each(|config| shut_by_part(config, source));
    let says = readable.map(|config| config.boot);
    let pins = Pins::open(&source.first_paths().pin_dir).ok().flatten();
    let links = pins.and_then(|pins| pins.directory().linked_interfaces().ok());
    let goes_on = links.is_some_and(|links| !links.is_empty());
    let what = if goes_on {
        "what is attached goes on filtering by the policy before"
    } else if [known, says].contains(&Some(Boot::Closed)) {
        "nothing is forwarded for clients (boot: closed) until it is mended"
    } else {
        "packets pass UNJUDGED until it is mended"
    };
    log::error!(
        target: CRITICAL,
        "no configuration can be used, and no last good one is kept: {what}"
    );
}
