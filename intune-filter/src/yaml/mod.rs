//! Reads YAML: every file that a person writes, the configuration and the catalogue's.
//!
//! A document becomes a tree whose nodes know their lines, and types read themselves from it by
//! [`Read`]. All faults of a file are found in one go, each with line, key and what was expected.
//! What only obscures a file or blows it up is refused here: aliases, tags, keys that stand twice,
//! deep nesting, more values than a site can mean.

mod error;
mod fields;
mod lines;
#[cfg(test)]
mod tests;
mod tree;
mod values;

pub use error::{FileError, FileErrors};
pub(crate) use fields::{Fields, Findings, Place, Read, parsed, word};
pub(crate) use lines::Lines;

/// What was read of a text: the value as far as there is one, the lines of its keys, and every
/// fault.
#[derive(Debug)]
pub(crate) struct Reading<T> {
    /// The value, which stands for less than the file says if there are faults.
    pub value: Option<T>,
    /// Where its keys stand.
    pub lines: Lines,
    /// What is wrong.
    pub errors: Vec<FileError>,
}

/// Reads a file's text; `what` names what it should be, such as "a configuration".
pub(crate) fn read<T: Read>(text: &str, what: &str) -> Reading<T> {
    let mut findings = Findings::default();
    let root = tree::parse(text, what, &mut findings.errors);
    let value = root.and_then(|root| T::read(Place { node: &root, path: "" }, &mut findings));
    let Findings { errors, lines } = findings;
    Reading { value, lines, errors: errors.into_vec() }
}
