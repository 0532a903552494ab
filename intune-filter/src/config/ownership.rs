//! Finds out whether users other than root can write the configuration file, and so decide which
//! traffic passes.

use std::{fs, os::unix::fs::MetadataExt as _, path::Path};

/// Permission bits by which group and others may write.
const WRITABLE: u32 = 0o022;

/// Returns the reason why others than root can change a file, if they can; `None` also if its
/// metadata cannot be read.
#[must_use]
pub fn writable_by_others(path: &Path) -> Option<String> {
    let file = fs::metadata(path).ok()?;
    why(file.uid(), file.mode())
        .map(|why| format!("{} {why}: whoever that is decides who passes", path.display()))
}

fn why(owner: u32, mode: u32) -> Option<String> {
    if owner != 0 {
        return Some(format!("belongs to user {owner}, expected root"));
    }
    let writable = mode & WRITABLE != 0;
    writable
        .then(|| format!("has mode {:04o}, expected no right to write but root's", mode & 0o7777))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_alone_may_write() {
        for (owner, mode, expected) in [
            (0, 0o100_644, None),
            (0, 0o100_600, None),
            (0, 0o100_664, Some("mode 0664")),
            (0, 0o100_646, Some("mode 0646")),
            (1000, 0o100_600, Some("user 1000")),
        ] {
            let found = why(owner, mode);
            assert_eq!(found.is_some(), expected.is_some(), "{found:?}");
            assert!(expected.is_none_or(|text| found.is_some_and(|found| found.contains(text))));
        }
    }
}
