//! Sorts patterns into what other programs know: a name, everything below one, and the rest.

use super::{
    header::{Loss, losses},
    unit::Unit,
};
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

    /// Returns the names for a program that takes a name for everything at and below it, each once.
    pub(super) fn trees(&self) -> Vec<&str> {
        let mut names: Vec<&str> =
            self.exact.iter().chain(&self.below).map(String::as_str).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Returns what such a program loses: it lets pass what is below a name that was meant alone, and a
    /// name of which only what is below was meant.
    pub(super) fn losses_of_trees(&self, unit: &Unit) -> Vec<Loss> {
        let only = |names: &[String], others: &[String]| {
            names.iter().filter(|name| !others.contains(name)).cloned().collect()
        };
        losses([
            Loss::Ports(unit.ports()),
            Loss::Below(only(&self.exact, &self.below)),
            Loss::Apex(only(&self.below, &self.exact)),
            Loss::Patterns(self.others.clone()),
            Loss::Networks(unit.networks.len()),
        ])
    }
}
