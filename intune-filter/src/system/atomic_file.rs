//! Replaces files as a whole: a reader, or the next boot, finds the old content or the new.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

/// Writes `content` beside `path`, then renames it into place, readable by the owner alone.
///
/// # Errors
/// Error of the first failed step. `path` is unchanged, except after a failure of the last step,
/// which makes the directory's new entry survive a power failure.
pub(crate) fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    write_with_mode(path, content, 0o600)
}

/// Writes `content` as [`write`] does, readable by everybody that the process's mask lets.
///
/// # Errors
/// As for [`write`].
pub(crate) fn write_readable(path: &Path, content: &[u8]) -> io::Result<()> {
    write_with_mode(path, content, 0o644)
}

fn write_with_mode(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let mut file = File::options().write(true).create(true).truncate(true).mode(mode).open(&new)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    sync_directory(path)
}

/// Removes a file durably. A missing file is no error.
///
/// # Errors
/// The file was not removed, or the removal may not survive a power failure.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result.and_then(|()| sync_directory(path)),
    }
}

/// Renames an unusable file beside `path`, where nothing overwrites it, and returns its new path.
///
/// # Errors
/// The file is still in its place.
pub(crate) fn set_aside(path: &Path) -> io::Result<PathBuf> {
    let mut kept = path.as_os_str().to_owned();
    kept.push(".damaged");
    let kept = PathBuf::from(kept);
    // The last of several is kept. A rename cannot replace a directory.
    if kept.is_dir() {
        fs::remove_dir_all(&kept)?;
    } else if path.is_dir() {
        remove(&kept)?;
    }
    fs::rename(path, &kept)?;
    Ok(kept)
}

/// Makes a file's entry in its directory survive a power failure.
///
/// # Errors
/// The entry may not survive.
pub(crate) fn sync_directory(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_file_is_replaced_and_nothing_is_left_beside_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file.json");
        write(&path, b"a long text").unwrap();
        write(&path, b"short").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"short");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        remove(&path).unwrap();
        remove(&path).unwrap();
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_failure_leaves_the_old_content() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file.json");
        write(&path, b"old").unwrap();
        fs::create_dir(directory.path().join("file.json.new")).unwrap();
        write(&path, b"new").unwrap_err();
        assert_eq!(fs::read(&path).unwrap(), b"old");
    }
    #[test]
    fn what_is_set_aside_takes_the_place_of_what_was_before() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        let fill: [fn(&Path); 2] = [
            |path| fs::write(path, "text").unwrap(),
            |path| {
                fs::create_dir(path).unwrap();
                fs::write(path.join("inside"), "text").unwrap();
            },
        ];
        for fill in [fill[0], fill[1], fill[1], fill[0]] {
            fill(&path);
            let kept = set_aside(&path).unwrap();
            assert_eq!(kept, directory.path().join("file.damaged"));
            assert!(kept.exists() && !path.exists());
        }
        set_aside(&path).unwrap_err();
    }
}
