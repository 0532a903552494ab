//! Keeps the lines of a document's keys, for faults that are found after it was read.

use std::collections::BTreeMap;

/// Line of each key and element, by its path: `services[0].rules[2].id`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lines(BTreeMap<String, u32>);

impl Lines {
    /// Records the line of the value at `path`, for a value in a map that of its key.
    pub(crate) fn insert(&mut self, path: String, line: u32) {
        self.0.insert(path, line);
    }

    /// Whether the document has a value at `path`.
    pub(crate) fn has(&self, path: &str) -> bool {
        self.0.contains_key(path)
    }

    /// Returns the line of the value at `path`, or of the nearest value around it.
    pub(crate) fn line(&self, path: &str) -> Option<u32> {
        let mut path = path;
        loop {
            if let Some(line) = self.0.get(path) {
                return Some(*line);
            }
            path = &path[..path.rfind(['.', '['])?];
        }
    }
}
