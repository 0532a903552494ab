//! Implements `config show`, `config diff [FILE]` and `apply --dry-run`: shows the configuration in
//! force, and the effect of another one.

use std::{fmt::Write as _, path::Path};

use super::{
    apply,
    args::Global,
    changes::changes,
    error::{ExitStatus, Failure},
    output,
};
use crate::{
    control::Request,
    report::{ConfigInForce, Preview},
};

/// Runs `config show`.
pub(super) fn show(global: &Global) -> Result<(ExitStatus, String), Failure> {
    let shown: Box<ConfigInForce> = apply::ask(global, &Request::Configuration {})?;
    let text = if global.json {
        output::json(&shown)?
    } else {
        let configuration = serde_yaml::to_string(&shown.configuration)
            .map_err(|error| Failure::Other(error.into()))?;
        format!(
            "# In force, with every default, policy generation {}; from {} ({})\n{configuration}",
            shown.generation,
            shown.file,
            shown.origin.as_str()
        )
    };
    Ok((ExitStatus::Yes, text))
}

/// Runs `config diff`.
pub(super) fn diff(global: &Global, file: Option<&Path>) -> Result<(ExitStatus, String), Failure> {
    let preview = preview(global, file)?;
    let text = if global.json {
        output::json(&preview)?
    } else if preview.changed {
        told(&preview)
    } else {
        nothing(&preview)
    };
    Ok((ExitStatus::Yes, text))
}

/// Runs `apply --dry-run`.
pub(super) fn dry_run(
    global: &Global,
    file: Option<&Path>,
) -> Result<(ExitStatus, String), Failure> {
    let preview = preview(global, file)?;
    let text = if global.json {
        output::json(&preview)?
    } else if preview.changed {
        let mut text = told(&preview);
        for flow in &preview.flows {
            let port = flow.port.map(|port| format!(" port {port}")).unwrap_or_default();
            let _ = writeln!(
                text,
                "  flow of {} to {}{port}/{}",
                flow.client, flow.destination, flow.protocol
            );
        }
        for name in &preview.names {
            let _ = writeln!(text, "  name {} ({})", name.name, name.address);
        }
        text + "nothing was changed\n"
    } else {
        nothing(&preview)
    };
    Ok((ExitStatus::Yes, text))
}

fn preview(global: &Global, file: Option<&Path>) -> Result<Preview, Failure> {
    apply::ask(global, &apply::request(global, file, None, true)?)
}

fn told(preview: &Preview) -> String {
    let Preview { difference, denied_vlans, flows_ended, names_forgotten, .. } = preview;
    changes(difference, denied_vlans, *flows_ended, *names_forgotten)
}

fn nothing(preview: &Preview) -> String {
    format!("{} comes to what is in force ({})\n", preview.file, preview.in_force)
}
