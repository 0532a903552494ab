//! Locks the directories that a daemon writes, so that one daemon runs at a time.

use std::{
    fs::{self, File, TryLockError},
    path::Path,
};

use anyhow::{Context as _, Result, bail};

/// Lock on a directory, until dropped; the kernel releases it when the process ends.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// Locks a directory; an error that says who is in the way if another process has locked it.
///
/// # Errors
/// Another process has it, or the directory cannot be opened.
pub fn acquire(directory: &Path) -> Result<Lock> {
    match try_acquire(directory)? {
        Some(lock) => Ok(lock),
        None => bail!(
            "another intune-filter has locked {}: two at once must not share it",
            directory.display()
        ),
    }
}

/// Locks a directory, or `None` if another process has locked it.
///
/// # Errors
/// The directory cannot be opened.
pub fn try_acquire(directory: &Path) -> Result<Option<Lock>> {
    let file = fs::OpenOptions::new()
        .read(true)
        .open(directory)
        .with_context(|| format!("cannot open {}", directory.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(Lock { _file: file })),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("cannot lock {}", directory.display()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_locked_once() {
        let directory = tempfile::tempdir().unwrap();
        let first = acquire(directory.path()).unwrap();
        let error = acquire(directory.path()).unwrap_err().to_string();
        assert!(error.contains("another intune-filter"), "{error}");
        drop(first);
        acquire(directory.path()).unwrap();
    }
}
