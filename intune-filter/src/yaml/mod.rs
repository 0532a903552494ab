//! Reads YAML for every file that a person writes: the configuration and the catalogue.
//!
//! A document becomes a tree whose nodes have line numbers, and types read themselves from the tree
//! by [`Read`]. All faults of a file are found in one go, each with line, key and expected value.
//! YAML that only obscures or inflates a file is refused: aliases, tags, duplicate keys, deep
//! nesting, more values than any site needs.

mod error;
mod fields;
mod lines;
mod prepared;
#[cfg(test)]
mod tests;
mod tree;
mod values;

pub(crate) use error::{FileError, FileErrors};
pub(crate) use fields::{Fields, Findings, Named, Place, Read, is_list, parsed, word};
pub(crate) use lines::Lines;

/// Result of reading a text: the value as far as possible, the lines of its keys, and all faults.
#[derive(Debug)]
pub(crate) struct Reading<T> {
    /// Value; with faults, defaults take the place of refused parts.
    pub value: Option<T>,
    /// Lines of the value's keys.
    pub lines: Lines,
    /// Faults of the text.
    pub errors: Vec<FileError>,
}

/// Text of a file.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Text<'a> {
    /// YAML, as a person wrote it.
    Written(&'a str),
    /// JSON, into which the build has turned a file that a test holds to be sound. Its values have no
    /// lines.
    Prepared(&'a str),
}

impl<'a> From<&'a str> for Text<'a> {
    fn from(text: &'a str) -> Self {
        Self::Written(text)
    }
}

/// Reads a file's text; `what` names the expected contents, such as "a configuration".
pub(crate) fn read<'a, T: Read>(text: impl Into<Text<'a>>, what: &str) -> Reading<T> {
    let mut findings = Findings::default();
    let root = match text.into() {
        Text::Written(text) => tree::parse(text, what, &mut findings.errors),
        Text::Prepared(text) => {
            findings.leave_out_lines();
            prepared::parse(text, what, &mut findings.errors)
        }
    };
    let value = root.and_then(|root| T::read(Place { node: &root, path: "" }, &mut findings));
    let Findings { errors, lines, .. } = findings;
    Reading { value, lines, errors: errors.into_vec() }
}
