//! Reads types from a document's tree, and goes on after a fault to find the next.

use std::collections::BTreeMap;

use super::{
    error::Collected,
    lines::Lines,
    tree::{Entry, Node, Value},
};

/// Errors found so far, and the line of each key.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(super) errors: Collected,
    pub(super) lines: Lines,
    /// Whether the values have no lines, and their paths are left out with these.
    without_lines: bool,
}

/// Node of the document with its key path.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    pub(super) node: &'a Node,
    pub(super) path: &'a str,
}

/// Type that a file can hold.
pub(crate) trait Read: Sized {
    /// Reads the value; reports an error and returns `None` if there is none.
    fn read(place: Place<'_>, findings: &mut Findings) -> Option<Self>;
}

impl Findings {
    /// Leaves out lines and paths, of a text in which no fault is expected.
    pub(super) fn leave_out_lines(&mut self) {
        self.without_lines = true;
    }

    /// Records the line of a value, and returns its path.
    pub(super) fn at(&mut self, line: u32, path: impl FnOnce() -> String) -> String {
        if self.without_lines {
            return String::new();
        }
        let path = path();
        self.lines.insert(path.clone(), line);
        path
    }

    /// Reports an error of the value at `place`.
    pub(crate) fn report(&mut self, place: Place<'_>, message: impl Into<String>) {
        self.errors.push(Some(place.node.line), place.path, || message.into());
    }

    /// Reports the expected and the found value at `place`.
    pub(crate) fn expected<T>(&mut self, place: Place<'_>, what: &str) -> Option<T> {
        self.report(place, format!("expected {what}, found {}", place.node.describe()));
        None
    }
}

/// Keys of a map: each key is asked for once, and a key never asked for is unknown.
pub(crate) struct Fields<'a, 'f> {
    place: Place<'a>,
    entries: &'a [Entry],
    asked: Vec<&'static str>,
    pub findings: &'f mut Findings,
}

impl<'a, 'f> Fields<'a, 'f> {
    /// Opens the map at `place`; reports any other value.
    pub(crate) fn open(place: Place<'a>, findings: &'f mut Findings) -> Option<Self> {
        match &place.node.value {
            Value::Map(entries) => Some(Self { place, entries, asked: Vec::new(), findings }),
            _ => findings.expected(place, "a map of keys"),
        }
    }

    /// Reads the value of an optional key.
    pub(crate) fn optional<T: Read>(&mut self, key: &'static str) -> Option<T> {
        self.asked.push(key);
        let entry = self.entries.iter().find(|entry| entry.key == key)?;
        let around = self.place.path;
        let path = self.findings.at(entry.line, || path_below(around, key));
        T::read(Place { node: &entry.value, path: &path }, self.findings)
    }

    /// Reads the value of an optional key. `default` also replaces a value that was refused, so
    /// that checks go on.
    pub(crate) fn or<T: Read>(&mut self, key: &'static str, default: T) -> T {
        self.optional(key).unwrap_or(default)
    }

    /// Reads the value of a required key, and reports its absence.
    pub(crate) fn required<T: Read>(&mut self, key: &'static str, what: &str) -> Option<T> {
        let value = self.optional(key);
        if !self.has(key) {
            let place = Place { node: self.place.node, path: &self.path_of(key) };
            self.findings.report(place, format!("missing, expected {what}"));
        }
        value
    }

    /// Whether the map has the key.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.entries.iter().any(|entry| entry.key == key)
    }

    /// Reports the keys that were never asked for.
    pub(crate) fn close(self) {
        for entry in self.entries {
            if !self.asked.contains(&entry.key.as_str()) {
                let path = self.path_of(&entry.key);
                self.findings.errors.unknown(Some(entry.line), &path, &entry.key, &self.asked);
            }
        }
    }

    fn path_of(&self, key: &str) -> String {
        path_below(self.place.path, key)
    }
}

fn path_below(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// Values by names that the file chooses.
#[derive(Debug)]
pub(crate) struct Named<T>(pub BTreeMap<String, T>);

impl<T> Default for Named<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T: Read> Read for Named<T> {
    fn read(place: Place<'_>, findings: &mut Findings) -> Option<Self> {
        let Value::Map(entries) = &place.node.value else {
            return findings.expected(place, "a map of names");
        };
        let mut values = BTreeMap::new();
        for entry in entries {
            let path = findings.at(entry.line, || format!("{}.{}", place.path, entry.key));
            let value = T::read(Place { node: &entry.value, path: &path }, findings);
            values.extend(value.map(|value| (entry.key.clone(), value)));
        }
        Some(Self(values))
    }
}

/// Returns the text of a scalar, if the node is one.
pub(crate) const fn word(place: Place<'_>) -> Option<&str> {
    match &place.node.value {
        Value::Scalar { text, .. } => Some(text.as_str()),
        _ => None,
    }
}

/// Whether the value is a list.
pub(crate) const fn is_list(place: Place<'_>) -> bool {
    matches!(place.node.value, Value::List(_))
}

/// Returns the text of a scalar, quoted or not, for values whose own syntax is unambiguous.
pub(super) fn scalar<'a>(place: Place<'a>, findings: &mut Findings, what: &str) -> Option<&'a str> {
    match &place.node.value {
        Value::Scalar { text, .. } if !place.node.is_null() => Some(text),
        _ => findings.expected(place, what),
    }
}

/// Parses a scalar by [`std::str::FromStr`], whose error states the expected form.
pub(crate) fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(
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
