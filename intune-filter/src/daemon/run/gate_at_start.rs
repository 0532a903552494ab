//! The gate before any configuration is read, and where none can be used.

use nix::unistd::Pid;

use crate::{
    boot_guard::{self, GuardState},
    config::{Boot, Config},
    control::Client,
    daemon::config_source::ConfigSource,
    kernel::{self, PinDirectory, Pins},
    system::logging::CRITICAL,
};

/// Shuts the gate if the configuration that was last in force for good says so. Returns what that
/// says, if it is known.
pub(super) fn shut_as_kept(source: &ConfigSource<'_>) -> Option<Boot> {
    // Where the state is may be said by the file, which is then read for that alone.
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

/// A start has failed: nothing stays half-way. What a first one has made goes, and the gate lets
/// pass no more than is still attached; what was in force stays.
pub(super) fn undo_start(config: &Config, source: &ConfigSource<'_>, made: Option<&PinDirectory>) {
    if let Some(Err(error)) = made.map(kernel::remove_all) {
        log::error!("{error:#}");
    }
    shut(config, source);
}

/// Keeps clients out until programs are attached, if the configuration says so. A failure is no
/// reason not to attach them. A daemon that runs keeps its own gate.
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

/// The same by a configuration of which only a part can be read: a table that is there may know
/// of more.
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
        // The next configuration in force replaces it.
        log::error!("{error:#}");
        None
    })
}

/// No configuration can be used, and none is kept: says who passes now. `known` is what the
/// configuration before said of the gate.
pub(super) fn all_lost(source: &ConfigSource<'_>, known: Option<Boot>) {
    // What can be read of the file tells whom to keep out until it is mended.
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
