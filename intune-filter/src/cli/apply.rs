//! Implements `apply [FILE] [--confirm TIME]`, `confirm` and `reload` through the daemon, which
//! also rolls back by itself, so that nothing depends on the life of the command or its terminal.

use std::{fmt::Write as _, path::Path, time::Duration};

use anyhow::anyhow;

use super::{
    args::Global,
    changes::{changes, cut_off},
    context,
    error::{ExitStatus, Failure},
    output,
};
use crate::{
    config::{Config, OtherVlans, Paths, Seconds},
    control::{Client, Invalid, Reply, Request, Unexpected},
    policy::{self, RuleBits},
    report::{Changed, Confirmed, FailedInterface, Preview},
};

/// Time limit for the daemon, which compiles the policy, fills maps and searches the flows.
const APPLY_TIMEOUT: Duration = Duration::from_secs(120);

/// Runs `apply`.
pub(super) fn run(
    global: &Global,
    file: Option<&Path>,
    confirm: Option<Seconds>,
) -> Result<(ExitStatus, String), Failure> {
    let confirm_s = confirm.map(|seconds| seconds.0);
    if confirm_s.is_none() {
        warn_of_denied_vlans(global, file)?;
    }
    let changed: Changed = ask(global, &request(global, file, confirm_s, false)?)?;
    if global.json {
        return Ok((outcome(&changed), output::json(&changed)?));
    }
    let mut text = in_force(&changed);
    text += &told(&changed);
    if let Some(seconds) = changed.confirm_within_s {
        let _ = writeln!(
            text,
            "the configuration before comes back in {seconds} s, unless you say: intune-filter \
             confirm"
        );
    } else {
        if confirm.is_some() {
            text += "there is nothing to confirm\n";
        }
        text += &overriding(global, changed.overrides_file);
    }
    text += &failed(&changed.failed_interfaces);
    Ok((outcome(&changed), text))
}

/// Runs `confirm`.
pub(super) fn confirm(global: &Global) -> Result<(ExitStatus, String), Failure> {
    let confirmed: Confirmed = ask(global, &Request::Confirm {})?;
    let text = if global.json {
        output::json(&confirmed)?
    } else {
        let Confirmed { file, generation, overrides_file, .. } = &confirmed;
        let over = overriding(global, *overrides_file);
        format!("confirmed; {file} is in force, policy generation {generation}\n{over}")
    };
    Ok((ExitStatus::Yes, text))
}

/// Runs `reload`, which succeeds only if the file is in force on every existing interface.
pub(super) fn reload(global: &Global) -> Result<(ExitStatus, String), Failure> {
    let changed: Changed = ask(global, &Request::Reload {})?;
    let text = if global.json {
        output::json(&changed)?
    } else {
        in_force(&changed) + &told(&changed) + &failed(&changed.failed_interfaces)
    };
    Ok((outcome(&changed), text))
}

/// Builds the request of `apply`, after the file has been checked.
pub(super) fn request(
    global: &Global,
    file: Option<&Path>,
    confirm_s: Option<u32>,
    dry_run: bool,
) -> Result<Request, Failure> {
    let path = file.map_or_else(|| context::config_path(global), Path::to_owned);
    let text = Config::read_text(&path)?;
    // Checked here too, so that faults are reported even without a daemon.
    let adjust = |paths: &mut Paths| *paths = global.paths(paths);
    policy::load_text(&path.display().to_string(), &text, adjust, &RuleBits::new())?;
    // The daemon's log messages would not reach the user: the file's name is made absolute for it.
    let file = std::path::absolute(&path)?.display().to_string();
    Ok(Request::Apply { file, text, confirm_s, dry_run })
}

/// Sends a request to the daemon, and fails without one.
pub(super) fn ask<T>(global: &Global, request: &Request) -> Result<T, Failure>
where
    T: TryFrom<Reply, Error = Unexpected>,
{
    let paths = context::quiet_paths(global);
    let client = Client::connect_if_allowed(&paths.runtime_dir)?.ok_or_else(|| {
        anyhow!(
            "no daemon listens in {}: `intune-filter run` (or `systemctl start intune-filter`) \
             loads the configuration file; nothing was changed",
            paths.runtime_dir.display()
        )
    })?;
    client.ask(request, APPLY_TIMEOUT).map_err(|error| match error.downcast::<Invalid>() {
        Ok(Invalid(lines)) => Failure::Configuration(lines),
        Err(error) => Failure::Other(error),
    })
}

fn told(changed: &Changed) -> String {
    let Changed { difference, denied_vlans, flows_ended, names_forgotten, .. } = changed;
    changes(difference, denied_vlans, *flows_ended, *names_forgotten)
}

/// Warns, before it happens, of VLANs that are cut off: the result may no longer reach who asked.
fn warn_of_denied_vlans(global: &Global, file: Option<&Path>) -> Result<(), Failure> {
    let path = file.map_or_else(|| context::config_path(global), Path::to_owned);
    if !Config::load(&path).is_ok_and(|config| config.other_vlans == OtherVlans::Deny) {
        return Ok(());
    }
    let preview: Preview = ask(global, &request(global, file, None, true)?)?;
    for vlan in &preview.denied_vlans {
        log::warn!("{}, unless --confirm brings back what is in force", cut_off(vlan));
    }
    Ok(())
}

fn in_force(changed: &Changed) -> String {
    let Changed { file, generation, .. } = changed;
    if changed.changed {
        format!("{file} is in force, policy generation {generation}\n")
    } else {
        format!("{file} is in force, and changes nothing: policy generation {generation} stays\n")
    }
}

/// Returns success only if the configuration is in force on every existing interface.
const fn outcome(changed: &Changed) -> ExitStatus {
    if changed.failed_interfaces.is_empty() { ExitStatus::Yes } else { ExitStatus::Partly }
}

/// Lists the interfaces to which the configuration could not be applied.
fn failed(interfaces: &[FailedInterface]) -> String {
    let mut text = String::new();
    for FailedInterface { name, error } in interfaces {
        let _ = writeln!(text, "{name} is NOT enforced: {error}");
    }
    text
}

/// Notes that the configuration file differs from the configuration in force.
fn overriding(global: &Global, overrides_file: bool) -> String {
    if !overrides_file {
        return String::new();
    }
    let file = context::config_path(global);
    format!("a restart keeps it, until {} changes, which still says otherwise\n", file.display())
}
