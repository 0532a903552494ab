//! Where a configuration came from, for errors that are found later.

use std::collections::BTreeMap;

/// Where a configuration came from.
#[derive(Clone, Debug, Default)]
pub struct Source {
    pub(super) file: String,
    pub(super) lines: BTreeMap<String, u32>,
}

/// Configurations that say the same are equal wherever they were read.
impl PartialEq for Source {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Source {
    /// The line of `key`, or of the nearest key around it that the file has.
    pub(super) fn line(&self, key: &str) -> Option<u32> {
        let mut key = key;
        loop {
            if let Some(line) = self.lines.get(key) {
                return Some(*line);
            }
            key = &key[..key.rfind(['.', '['])?];
        }
    }
}
