//! `config show`, `config diff [FILE]` and `apply --dry-run`: the configuration in force, and what
//! another one would change.

use std::{fmt::Write as _, path::Path};

use serde_json::Value;

use super::{
    apply,
    args::Global,
    changes::changes,
    error::{Failure, Outcome},
    output,
};
use crate::control::Request;

/// Runs `config show`.
pub fn show(global: &Global) -> Result<(Outcome, String), Failure> {
    let answer = apply::ask(global, Request::Configuration)?;
    let text = if global.json {
        output::json(&answer)?
    } else {
        let word = |key: &str| answer[key].as_str().unwrap_or_default();
        let configuration = serde_yaml::to_string(&answer["configuration"])
            .map_err(|error| Failure::Other(error.into()))?;
        format!(
            "# In force, with every default, policy generation {}; from {} ({})\n{configuration}",
            answer["generation"],
            word("file"),
            word("origin")
        )
    };
    Ok((Outcome::Yes, text))
}

/// Runs `config diff`.
pub fn diff(global: &Global, file: Option<&Path>) -> Result<(Outcome, String), Failure> {
    let answer = preview(global, file)?;
    let text = if global.json {
        output::json(&answer)?
    } else if answer["changed"] == true {
        changes(&answer)
    } else {
        nothing(&answer)
    };
    Ok((Outcome::Yes, text))
}

/// Runs `apply --dry-run`.
pub fn dry_run(global: &Global, file: Option<&Path>) -> Result<(Outcome, String), Failure> {
    let answer = preview(global, file)?;
    let text = if global.json {
        output::json(&answer)?
    } else if answer["changed"] == true {
        let mut text = changes(&answer);
        for flow in answer["flows"].as_array().into_iter().flatten() {
            let word = |key: &str| flow[key].as_str().unwrap_or_default();
            let port = flow["port"].as_u64().map(|port| format!(" port {port}"));
            let _ = writeln!(
                text,
                "  flow of {} to {}{}/{}",
                word("client"),
                word("destination"),
                port.unwrap_or_default(),
                word("protocol")
            );
        }
        for name in answer["names"].as_array().into_iter().flatten() {
            let word = |key: &str| name[key].as_str().unwrap_or_default();
            let _ = writeln!(text, "  name {} ({})", word("name"), word("address"));
        }
        text + "nothing was changed\n"
    } else {
        nothing(&answer)
    };
    Ok((Outcome::Yes, text))
}

fn preview(global: &Global, file: Option<&Path>) -> Result<Value, Failure> {
    apply::ask(global, apply::request(global, file, None, true)?)
}

fn nothing(answer: &Value) -> String {
    let word = |key: &str| answer[key].as_str().unwrap_or_default();
    format!("{} comes to what is in force ({})\n", word("file"), word("in_force"))
}
