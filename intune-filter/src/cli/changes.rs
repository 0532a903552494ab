//! Changes of the policy, line by line, as `apply`, `reload` and `config diff` print them.

use std::fmt::Write as _;

use serde_json::Value;

/// Lines of each kind that are printed for people.
const LINES: usize = 40;

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
