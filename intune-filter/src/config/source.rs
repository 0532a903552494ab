//! Remembers a configuration's file and lines, for errors that are found later.

use crate::yaml::Lines;

/// File and line numbers of a configuration.
#[derive(Clone, Debug, Default)]
pub struct KeyLines {
    pub(super) file: String,
    pub(super) lines: Lines,
}

/// All sources are equal: configurations are compared by their values, whatever file they are from.
impl PartialEq for KeyLines {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}
