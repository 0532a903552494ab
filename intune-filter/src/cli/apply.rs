//! `apply [FILE] [--confirm TIME]` and `confirm`: a new configuration, by way of the daemon, which
//! also goes back by itself. Nothing depends on how long the command or its terminal lives.

use std::{fmt::Write as _, path::Path, time::Duration};

use anyhow::anyhow;
use serde_json::Value;

use super::{
    args::Global,
    context,
    failure::{Failure, Outcome},
    output,
};
use crate::{
    config::{Config, Paths, Seconds},
    daemon::control::{Client, Invalid, Request},
    policy::{self, RuleBits},
};

/// How long the daemon may take: it compiles the policy, fills maps and looks through flows.
const PATIENCE: Duration = Duration::from_secs(120);

/// Runs `apply`.
pub fn run(
    global: &Global,
    file: Option<&Path>,
    confirm: Option<Seconds>,
) -> Result<(Outcome, String), Failure> {
    let path = file.map_or_else(|| context::config_path(global), Path::to_owned);
    let text = Config::read_text(&path)?;
    // Also without a daemon a fault is told as one.
    let adjust = |paths: &mut Paths| *paths = global.paths(paths);
    policy::load_text(&path.display().to_string(), &text, adjust, &RuleBits::new())?;
    // A daemon's messages are read elsewhere.
    let file = std::path::absolute(&path)?.display().to_string();
    let confirm_s = confirm.map(|seconds| seconds.0);
    let answer = ask(global, Request::Apply { file, text, confirm_s })?;
    if global.json {
        return Ok((Outcome::Yes, output::json(&answer)?));
    }
    let mut text = in_force(&answer);
    if let Some(seconds) = confirm_s {
        let _ = writeln!(
            text,
            "the configuration before comes back in {seconds} s, unless you say: intune-filter \
             confirm"
        );
    } else {
        text += &overriding(global, &answer);
    }
    for failed in answer["failed_interfaces"].as_array().into_iter().flatten() {
        let word = |key: &str| failed[key].as_str().unwrap_or_default();
        let _ = writeln!(text, "{} is NOT enforced: {}", word("name"), word("error"));
    }
    Ok((Outcome::Yes, text))
}

/// Runs `confirm`.
pub fn confirm(global: &Global) -> Result<(Outcome, String), Failure> {
    let answer = ask(global, Request::Confirm)?;
    let text = if global.json {
        output::json(&answer)?
    } else {
        format!("confirmed; {}{}", in_force(&answer), overriding(global, &answer))
    };
    Ok((Outcome::Yes, text))
}

fn ask(global: &Global, request: Request) -> Result<Value, Failure> {
    let paths = context::paths(global);
    let client = Client::connect(&paths.runtime_dir).ok_or_else(|| {
        anyhow!(
            "no daemon listens in {}: `intune-filter run` (or `systemctl start intune-filter`) \
             loads the configuration file; nothing was changed",
            paths.runtime_dir.display()
        )
    })?;
    client.ask(request, PATIENCE).map_err(|error| match error.downcast::<Invalid>() {
        Ok(Invalid(lines)) => Failure::Configuration(lines),
        Err(error) => Failure::Other(error),
    })
}

fn in_force(answer: &Value) -> String {
    let file = answer["file"].as_str().unwrap_or_default();
    format!("{file} is in force, policy generation {}\n", answer["generation"])
}

/// What to know where the configuration file says otherwise.
fn overriding(global: &Global, answer: &Value) -> String {
    if answer["overrides_file"] != true {
        return String::new();
    }
    let file = context::config_path(global);
    format!("a restart keeps it, until {} changes, which still says otherwise\n", file.display())
}
