//! Writes gathered entries as a file of a site's catalogue, each with its source.

use std::{collections::BTreeMap, fmt::Write as _};

use intune_filter_ebpf::abi::TransportProtocol;
use serde::Serialize;

use super::{
    address::Destination,
    gather::{Gathered, Group, slug},
};
use crate::{
    catalogue::{Date, Risk},
    pattern::{Broad, Pattern, broad, on_shared},
};

/// Longest id of a rule that is made of its ports, in octets.
const RULE_ID_MAX: usize = 20;

/// First line of a file.
const HEADER: &str = "# Imported; the next import from this source replaces this file.";

/// Whether a file's content is that of an import.
#[must_use]
pub fn is_ours(content: &[u8]) -> bool {
    content.starts_with(HEADER.as_bytes())
}

/// Source of the entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Id in the catalogue, of which the services have theirs.
    pub id: String,
    /// Title for people.
    pub title: String,
    /// Day of the document, if it is known.
    pub date: Option<Date>,
    /// Name of the file that was read.
    pub file: String,
    /// SHA-256 of its octets, in hexadecimal.
    pub sha256: String,
}

/// File of a catalogue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Written {
    /// Text of the file, in format 2.
    #[serde(skip)]
    pub text: String,
    /// Ids of its services.
    pub services: Vec<String>,
    /// Number of its rules.
    pub rules: usize,
    /// Number of its names and patterns, each counted in each rule that has it.
    pub names: usize,
    /// Number of its prefixes, likewise.
    pub prefixes: usize,
    /// Patterns that match names of strangers, each with the reason.
    pub broad: BTreeMap<String, String>,
}

/// Writes a file of a catalogue. Groups are services of their own: `ID` if there is one, `ID-GROUP`
/// if there are several.
#[must_use]
pub fn write(gathered: &Gathered, source: &Source) -> Written {
    let mut written = Written {
        text: String::new(),
        services: Vec::new(),
        rules: 0,
        names: 0,
        prefixes: 0,
        broad: BTreeMap::new(),
    };
    let text = &mut written.text;
    let _ = writeln!(text, "{HEADER}");
    let _ = writeln!(
        text,
        "format: 2\nsources:\n  {}:\n    title: {}",
        source.id,
        quoted(&source.title)
    );
    if let Some(date) = &source.date {
        let _ = writeln!(text, "    date: {date}");
    }
    let (file, sha256) = (quoted(&source.file), &source.sha256);
    let _ = writeln!(text, "    read: {{file: {file}, sha256: \"{sha256}\"}}\nservices:");
    let is_alone = gathered.groups.len() == 1;
    for group in &gathered.groups {
        let id = if is_alone || group.id.is_empty() {
            source.id.clone()
        } else {
            format!("{}-{}", source.id, group.id)
        };
        let title = if group.title.is_empty() {
            source.title.clone()
        } else {
            format!("{}: {}", source.title, group.title)
        };
        let _ = writeln!(written.text, "  - id: {id}\n    title: {}\n    rules:", quoted(&title));
        written.services.push(id);
        write_rules(group, source, &mut written);
    }
    written
}

fn write_rules(group: &Group, source: &Source, written: &mut Written) {
    for (number, (ports, destinations)) in group.rules.iter().enumerate() {
        let of = |protocol: TransportProtocol| {
            let ranges = ports.get(protocol.position() as usize).into_iter().flatten();
            ranges.map(ToString::to_string).collect::<Vec<_>>()
        };
        let named = TransportProtocol::ALL.map(|protocol| (protocol.as_str(), of(protocol)));
        let named = named.iter().filter(|(_, ranges)| !ranges.is_empty());
        let id = named
            .clone()
            .map(|(word, ranges)| format!("{word}-{}", ranges.join("-")))
            .collect::<Vec<_>>()
            .join("-");
        let id = if id.len() > RULE_ID_MAX { format!("ports-{}", number + 1) } else { id };
        let text = &mut written.text;
        let _ = writeln!(text, "      - id: {id}");
        for (word, ranges) in named {
            let ranges: Vec<String> = ranges.iter().map(|range| quoted(range)).collect();
            let _ = writeln!(text, "        {word}: [{}]", ranges.join(", "));
        }
        let _ = writeln!(text, "        to:");
        for (destination, datum) in destinations {
            let section = slug(&datum.section);
            let from = if section.is_empty() {
                source.id.clone()
            } else {
                format!("{}#{section}", source.id)
            };
            let need = if datum.is_optional { ", need: optional" } else { "" };
            let risk = risk(destination, &mut written.broad);
            let (key, count) = match destination {
                Destination::Name(_) => ("fqdn", &mut written.names),
                Destination::Network(_) => ("cidr", &mut written.prefixes),
            };
            *count += 1;
            let (to, from) = (quoted(&destination.to_string()), quoted(&from));
            let _ = writeln!(written.text, "          - {{{key}: {to}, from: {from}{need}{risk}}}");
        }
        written.rules += 1;
    }
}

/// Returns the key of a risk that a name has in itself; a pattern that matches names of strangers is
/// also told.
fn risk(destination: &Destination, told: &mut BTreeMap<String, String>) -> String {
    let Destination::Name(name) = destination else { return String::new() };
    let Ok(pattern) = name.parse::<Pattern>() else { return String::new() };
    let matches = broad(&pattern);
    if let Some(why) = matches {
        told.insert(name.clone(), why.to_string());
    }
    let risk = match matches.or_else(|| on_shared(name)) {
        None => return String::new(),
        Some(Broad::Everything | Broad::Public(_)) => Risk::OverBroad,
        Some(Broad::Storage(_)) => Risk::SharedStorage,
        Some(Broad::Shared(_)) => Risk::SharedCdn,
    };
    format!(", risk: {risk}")
}

/// Quotes a text for YAML, which reads a JSON string as it is.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
