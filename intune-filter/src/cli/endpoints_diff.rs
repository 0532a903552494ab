//! Implements `endpoints diff`: compares two editions of the catalogue.

use std::fmt::Write as _;

use super::{
    args::Global,
    error::{ExitStatus, Failure},
    output,
};
use crate::{
    catalogue::Catalogue,
    policy::{Changed, edition_difference},
    ports::PerProtocol,
    report::{EditionsCompared, SCHEMA},
};

/// Runs the command; the arguments' parser knows the editions.
pub(super) fn run(global: &Global, from: &str, to: &str) -> Result<(ExitStatus, String), Failure> {
    let edition = |name: &str| {
        let known = Catalogue::edition_named(name);
        known.ok_or_else(|| Failure::Usage(format!("unknown edition {name}")))
    };
    let difference = edition_difference(edition(from)?, edition(to)?);
    let compared = EditionsCompared { schema: SCHEMA, difference };
    let text = if global.json { output::json(&compared)? } else { text(&compared) };
    Ok((ExitStatus::Yes, text))
}

fn text(compared: &EditionsCompared) -> String {
    let found = &compared.difference;
    let mut text = format!(
        "from edition {} to {}: {} came, {} went, {} have other ports\n",
        found.from,
        found.to,
        found.came.len(),
        found.went.len(),
        found.changed.len()
    );
    for (sign, list) in [('+', &found.came), ('-', &found.went), ('~', &found.changed)] {
        for one in list {
            let _ = writeln!(text, "{sign} {}", line(one));
        }
    }
    text
}

fn line(one: &Changed) -> String {
    let mut text = format!("{} {}", one.address, ports(&one.ports));
    if let Some(before) = &one.before {
        let _ = write!(text, ", until then {}", ports(before));
    }
    let _ = write!(text, " ({})", one.services.join(", "));
    if let Some(status) = one.status {
        let _ = write!(text, ", now {status}");
    }
    if let Some(by) = &one.replaced_by {
        let _ = write!(text, ", replaced by {by}");
    }
    text
}

fn ports(ports: &PerProtocol<Vec<String>>) -> String {
    let some = ports.iter().filter(|(_, ports)| !ports.is_empty());
    let texts = some.map(|(protocol, ports)| format!("{} {}", protocol.as_str(), ports.join(" ")));
    texts.collect::<Vec<_>>().join("; ")
}
