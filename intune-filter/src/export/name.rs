//! Sorts patterns into what other programs know: a name, everything below one, and the rest.

use crate::pattern::{Label, Pattern};

/// Patterns of a unit by kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Names {
    /// Names alone.
    pub exact: Vec<String>,
    /// Names of which everything below matches, and they themselves do not.
    pub below: Vec<String>,
    /// Patterns with a `*` inside a label or between labels, or for every name.
    pub others: Vec<String>,
}

impl Names {
    /// Sorts the patterns; numbers are written out.
    pub(super) fn of(patterns: &[Pattern]) -> Self {
        let mut names = Self::default();
        for pattern in patterns.iter().flat_map(Pattern::expand) {
            let form = pattern.form();
            let is_plain = form.labels.iter().all(|label| matches!(label, Label::Exact(_)));
            if !is_plain || form.labels.is_empty() {
                names.others.push(pattern.as_str().to_owned());
            } else if form.below {
                let name = pattern.as_str().trim_start_matches("*.");
                names.below.push(name.to_owned());
            } else {
                names.exact.push(pattern.as_str().to_owned());
            }
        }
        names
    }

    /// Returns the names that are in the file of a program which takes a name for everything at and
    /// below it: each once, and none below another.
    pub(super) fn trees(&self) -> Vec<&str> {
        let mut names: Vec<&str> =
            self.exact.iter().chain(&self.below).map(String::as_str).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Returns the names alone of which such a program lets everything below pass too.
    pub(super) fn widened_below(&self) -> Vec<&str> {
        self.exact.iter().filter(|name| !self.below.contains(name)).map(String::as_str).collect()
    }

    /// Returns the names of which only what is below matches, and which such a program lets pass
    /// themselves.
    pub(super) fn widened_apex(&self) -> Vec<&str> {
        self.below.iter().filter(|name| !self.exact.contains(name)).map(String::as_str).collect()
    }
}
