//! Reads typed values from a document's tree, and goes on after an error to find the next.

use std::{collections::BTreeMap, net::IpAddr};

use ipnet::IpNet;

use super::{
    ConfigError,
    duration::Seconds,
    tree::{Entry, Node, Value},
};
use crate::{pattern::Pattern, ports::PortRange};

/// What has been found so far: the faults, and the line of each key.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub errors: Vec<ConfigError>,
    pub lines: BTreeMap<String, u32>,
}

/// A node and where it stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    pub node: &'a Node,
    pub path: &'a str,
}

/// A value that can stand in the configuration.
pub(super) trait Read: Sized {
    /// The value, or `None` after having reported why there is none.
    fn read(place: Place<'_>, findings: &mut Findings) -> Option<Self>;
}

impl Findings {
    /// Reports a fault of the value at `place`.
    pub fn report(&mut self, place: Place<'_>, message: impl Into<String>) {
        self.errors.push(ConfigError {
            line: Some(place.node.line),
            key: place.path.to_owned(),
            message: message.into(),
        });
    }

    /// Reports that something else was expected at `place`.
    pub fn expected<T>(&mut self, place: Place<'_>, what: &str) -> Option<T> {
        self.report(place, format!("expected {what}, found {}", place.node.describe()));
        None
    }
}

/// The keys of a map: each is asked for once, and what is left over is unknown.
pub(super) struct Fields<'a, 'f> {
    place: Place<'a>,
    entries: &'a [Entry],
    asked: Vec<&'static str>,
    pub findings: &'f mut Findings,
}

impl<'a, 'f> Fields<'a, 'f> {
    /// The keys of the map at `place`; reports it if it is no map.
    pub fn open(place: Place<'a>, findings: &'f mut Findings) -> Option<Self> {
        match &place.node.value {
            Value::Map(entries) => Some(Self { place, entries, asked: Vec::new(), findings }),
            _ => findings.expected(place, "a map of keys"),
        }
    }

    /// The value of a key that may be absent.
    pub fn optional<T: Read>(&mut self, key: &'static str) -> Option<T> {
        self.asked.push(key);
        let entry = self.entries.iter().find(|entry| entry.key == key)?;
        let path = self.path_of(key);
        self.findings.lines.insert(path.clone(), entry.line);
        T::read(Place { node: &entry.value, path: &path }, self.findings)
    }

    /// The value of a key that may be absent; `default` also stands for a value that was refused,
    /// so that what follows is still checked.
    pub fn or<T: Read>(&mut self, key: &'static str, default: T) -> T {
        self.optional(key).unwrap_or(default)
    }

    /// The value of a key that has to be there.
    pub fn required<T: Read>(&mut self, key: &'static str, what: &str) -> Option<T> {
        let value = self.optional(key);
        if !self.has(key) {
            let place = Place { node: self.place.node, path: &self.path_of(key) };
            self.findings.report(place, format!("missing, expected {what}"));
        }
        value
    }

    /// Whether the file has this key.
    pub fn has(&self, key: &str) -> bool {
        self.entries.iter().any(|entry| entry.key == key)
    }

    /// Reports the keys that nothing has asked for.
    pub fn close(self) {
        for entry in self.entries {
            if !self.asked.contains(&entry.key.as_str()) {
                self.findings.errors.push(ConfigError {
                    line: Some(entry.line),
                    key: self.path_of(&entry.key),
                    message: format!("unknown key, expected one of {}", self.asked.join(", ")),
                });
            }
        }
    }

    fn path_of(&self, key: &str) -> String {
        if self.place.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.place.path)
        }
    }
}

impl<T: Read> Read for Vec<T> {
    fn read(place: Place<'_>, findings: &mut Findings) -> Option<Self> {
        let Value::List(nodes) = &place.node.value else {
            return findings.expected(place, "a list");
        };
        let mut values = Vec::new();
        for (index, node) in nodes.iter().enumerate() {
            let path = format!("{}[{index}]", place.path);
            findings.lines.insert(path.clone(), node.line);
            // A refused element is left out: the file is refused anyway.
            values.extend(T::read(Place { node, path: &path }, findings));
        }
        Some(values)
    }
}

impl Read for String {
    fn read(place: Place<'_>, findings: &mut Findings) -> Option<Self> {
        match &place.node.value {
            Value::Scalar { text, quoted } if *quoted || is_text(text) => Some(text.clone()),
            Value::Scalar { text, .. } if !text.is_empty() && !place.node.is_null() => findings
                .expected(place, &format!("text, which would be written in quotes: {text:?}")),
            _ => findings.expected(place, "text"),
        }
    }
}

/// Whether YAML's core schema takes an unquoted scalar for text.
fn is_text(plain: &str) -> bool {
    let special = matches!(
        plain,
        "" | "~"
            | "null"
            | "Null"
            | "NULL"
            | "true"
            | "True"
            | "TRUE"
            | "false"
            | "False"
            | "FALSE"
    );
    let digits = plain.trim_start_matches(['+', '-', '.']);
    let number = digits.starts_with(|c: char| c.is_ascii_digit()) && plain.parse::<f64>().is_ok()
        || plain.strip_prefix("0x").is_some_and(|hex| u64::from_str_radix(hex, 16).is_ok())
        || plain.strip_prefix("0o").is_some_and(|octal| u64::from_str_radix(octal, 8).is_ok());
    !special && !number && !matches!(digits, "inf" | "Inf" | "INF" | "nan" | "NaN" | "NAN")
}

impl Read for bool {
    fn read(place: Place<'_>, findings: &mut Findings) -> Option<Self> {
        match &place.node.value {
            Value::Scalar { text, quoted: false } if text == "true" => Some(true),
            Value::Scalar { text, quoted: false } if text == "false" => Some(false),
            _ => findings.expected(place, "true or false"),
        }
    }
}

impl Read for u32 {
    fn read(place: Place<'_>, findings: &mut Findings) -> Option<Self> {
        match &place.node.value {
            Value::Scalar { text, quoted: false } if text.bytes().all(|c| c.is_ascii_digit()) => {
                match text.parse() {
                    Ok(number) => Some(number),
                    Err(_) => findings.expected(place, "a whole number below 2^32"),
                }
            }
            _ => findings.expected(place, "a whole number"),
        }
    }
}

/// The scalar's text, quoted or not, for values whose own syntax leaves no doubt.
fn scalar<'a>(place: Place<'a>, findings: &mut Findings, what: &str) -> Option<&'a str> {
    match &place.node.value {
        Value::Scalar { text, .. } if !place.node.is_null() => Some(text),
        _ => findings.expected(place, what),
    }
}

/// The scalar's text, if it is one, for [`super::choice`].
pub(super) const fn word(place: Place<'_>) -> Option<&str> {
    match &place.node.value {
        Value::Scalar { text, .. } => Some(text.as_str()),
        _ => None,
    }
}

/// Reads a scalar with [`std::str::FromStr`], whose error says what was expected.
fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(
    place: Place<'_>,
    findings: &mut Findings,
    what: &str,
) -> Option<T> {
    match scalar(place, findings, what)?.parse() {
        Ok(value) => Some(value),
        Err(error) => {
            findings.report(place, error.to_string());
            None
        }
    }
}

impl Read for Pattern {
    fn read(place: Place<'_>, findings: &mut Findings) -> Option<Self> {
        String::read(place, findings)?;
        parsed(place, findings, "a host name")
    }
}

impl Read for PortRange {
    fn read(place: Place<'_>, findings: &mut Findings) -> Option<Self> {
        parsed(place, findings, "a port or a range such as 5228-5230")
    }
}

impl Read for Seconds {
    fn read(place: Place<'_>, findings: &mut Findings) -> Option<Self> {
        parsed(place, findings, "a duration such as 60s or 1d")
    }
}

impl Read for IpAddr {
    fn read(place: Place<'_>, findings: &mut Findings) -> Option<Self> {
        let what = "an address such as 10.20.0.1 or \"fd00:20::1\"";
        let text = scalar(place, findings, what)?;
        match text.parse::<Self>() {
            Ok(address) if address.to_canonical() != address => {
                findings.expected(place, &format!("the address as {}", address.to_canonical()))
            }
            Ok(address) => Some(address),
            Err(_) => findings.expected(place, what),
        }
    }
}

impl Read for IpNet {
    fn read(place: Place<'_>, findings: &mut Findings) -> Option<Self> {
        let what = "a prefix such as 10.20.0.0/24 or \"fd00:20::/64\"";
        let text = scalar(place, findings, what)?;
        if let Ok(address) = text.parse::<IpAddr>() {
            let whole = Self::from(address);
            return findings.expected(place, &format!("a prefix length: {whole} for one address"));
        }
        let Ok(network) = text.parse::<Self>() else { return findings.expected(place, what) };
        if network != network.trunc() {
            let message = format!("{network} has host bits set, expected {}", network.trunc());
            findings.report(place, message);
            return None;
        }
        if let Self::V6(v6) = network
            && v6.network().to_ipv4_mapped().is_some()
        {
            return findings.expected(place, "an IPv4 prefix in its own notation");
        }
        Some(network)
    }
}
