//! `config show`, `config diff [FILE]` and `apply --dry-run`: the configuration in force, and what
//! another one would change.

use std::{fmt::Write as _, path::Path};

use serde_json::Value;

use super::{
    apply,
    args::Global,
    failure::{Failure, Outcome},
    output,
};
use crate::control::Request;

/// Lines of each kind that are printed for people.
const LINES: usize = 40;

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

/// What an answer of the daemon says that opens, closes, is set and ends.
pub fn changes(answer: &Value) -> String {
    let mut text = String::new();
    for (key, sign, line) in [
        ("opens", '+', grant as fn(&Value) -> String),
        ("closes", '-', grant),
        ("settings", '~', setting),
    ] {
        let all = answer[key].as_array().map(Vec::as_slice).unwrap_or_default();
        for one in all.iter().take(LINES) {
            let _ = writeln!(text, "{sign} {}", line(one));
        }
        if all.len() > LINES {
            let _ = writeln!(text, "{sign} and {} more (--json has all)", all.len() - LINES);
        }
    }
    let count = |key: &str| answer[key].as_u64().unwrap_or_default();
    let (flows, names) = (count("flows_ended"), count("names_forgotten"));
    if flows + names > 0 {
        let _ = writeln!(text, "{flows} flows end, {names} names are forgotten");
    }
    text
}

fn grant(grant: &Value) -> String {
    let word = |key: &str| grant[key].as_str().unwrap_or_default();
    let clients = grant["clients"].as_str().map(|clients| format!(" ({clients})"));
    let mut text =
        format!("{}{} to {}", word("group"), clients.unwrap_or_default(), word("destination"));
    for protocol in ["tcp", "udp"] {
        let ports = grant[protocol].as_array().into_iter().flatten().filter_map(Value::as_str);
        let ports: Vec<&str> = ports.collect();
        if !ports.is_empty() {
            let _ = write!(text, " {protocol} {}", ports.join(" "));
        }
    }
    text
}

fn setting(setting: &Value) -> String {
    let text = |value: &Value| match value {
        Value::Null => "nothing".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let key = setting["key"].as_str().unwrap_or_default();
    format!("{key}: {}, until now {}", text(&setting["to"]), text(&setting["from"]))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn changes_are_told_line_by_line() {
        let answer = json!({
            "opens": [{"group": "devices", "destination": "*.web.test", "tcp": ["80", "443"],
                       "udp": ["443"]}],
            "closes": [{"group": "guests", "clients": "10.0.0.0/24 on lan", "destination": "any",
                        "tcp": [], "udp": []}],
            "settings": [{"key": "region", "from": null, "to": "europe"}],
            "flows_ended": 2,
            "names_forgotten": 1,
        });
        assert_eq!(
            changes(&answer),
            "+ devices to *.web.test tcp 80 443 udp 443\n\
             - guests (10.0.0.0/24 on lan) to any\n\
             ~ region: europe, until now nothing\n\
             2 flows end, 1 names are forgotten\n"
        );
        let grant = json!({"group": "g", "destination": "d", "tcp": [], "udp": []});
        let many = changes(&json!({"opens": vec![grant; LINES + 7]}));
        assert_eq!(many.lines().count(), LINES + 1);
        assert!(many.ends_with("+ and 7 more (--json has all)\n"), "{many}");
    }
}
