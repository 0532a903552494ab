//! Where a configuration came from, for errors that are found later.

use crate::yaml::Lines;

/// Where a configuration came from.
#[derive(Clone, Debug, Default)]
pub struct Source {
    pub(super) file: String,
    pub(super) lines: Lines,
}

/// Configurations that say the same are equal wherever they were read.
impl PartialEq for Source {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}
