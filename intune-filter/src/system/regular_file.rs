//! Reads files that a person has named: regular files alone, of bounded size, and without waiting
//! forever for a file system that does not respond.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _},
    path::Path,
    sync::mpsc,
    thread,
    time::Duration,
};

use nix::fcntl::OFlag;

/// Octets of a file at most.
pub(crate) const SIZE_MAX: u64 = 16 << 20;

/// Time limit for a file system.
pub(crate) const READ_TIMEOUT: Duration = Duration::from_secs(5);

/// Returns the contents of a file. Waits as long as its file system takes.
///
/// # Errors
/// The file cannot be read, is not regular, or is larger than [`SIZE_MAX`].
pub(crate) fn read(path: &Path) -> io::Result<Vec<u8>> {
    // Opening some devices has side effects.
    expect_regular(&fs::metadata(path)?)?;
    // Meanwhile it may have become one that keeps whoever opens it waiting.
    let flags = OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let file = File::options().read(true).custom_flags(flags.bits()).open(path)?;
    let metadata = file.metadata()?;
    expect_regular(&metadata)?;
    let mut content = Vec::new();
    if metadata.len() <= SIZE_MAX {
        // The file may grow, and files of the kernel's file systems report no size.
        file.take(SIZE_MAX + 1).read_to_end(&mut content)?;
        if content.len() as u64 <= SIZE_MAX {
            return Ok(content);
        }
    }
    Err(io::Error::other(format!("larger than {} MiB", SIZE_MAX >> 20)))
}

fn expect_regular(metadata: &fs::Metadata) -> io::Result<()> {
    let kind = metadata.file_type();
    let found = match kind {
        _ if kind.is_file() => return Ok(()),
        _ if kind.is_dir() => "a directory",
        _ if kind.is_fifo() => "a FIFO",
        _ if kind.is_socket() => "a socket",
        _ => "a device",
    };
    Err(io::Error::other(format!("{found}, expected a regular file")))
}

/// Runs `work`, which reads, on a thread of its own and returns its result. After `patience` the
/// thread is left behind: for commands and starts, which end then.
///
/// # Errors
/// The work takes too long, or no thread can be started.
pub(crate) fn within<T: Send + 'static>(
    patience: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    let (sender, receiver) = mpsc::sync_channel(1);
    thread::Builder::new().name("read".to_owned()).spawn(move || {
        let _ = sender.send(work());
    })?;
    receiver.recv_timeout(patience).map_err(|_| no_answer(patience))
}

/// Returns the error for a read that takes too long.
#[must_use]
pub(crate) fn no_answer(patience: Duration) -> io::Error {
    let seconds = patience.as_secs();
    let text = format!("its file system has not answered for {seconds} s");
    io::Error::new(io::ErrorKind::TimedOut, text)
}

#[cfg(test)]
mod tests {
    use nix::{sys::stat::Mode, unistd::mkfifo};

    use super::*;

    fn error_of(path: &Path) -> String {
        read(path).unwrap_err().to_string()
    }

    #[test]
    fn only_regular_files_of_a_bounded_size_are_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        assert_eq!(read(&path).unwrap_err().kind(), io::ErrorKind::NotFound);
        fs::write(&path, "text").unwrap();
        assert_eq!(read(&path).unwrap(), b"text");
        let link = directory.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert_eq!(read(&link).unwrap(), b"text");
        // A file that reports no size.
        assert!(!read(Path::new("/proc/self/status")).unwrap().is_empty());

        File::create(&path).unwrap().set_len(SIZE_MAX).unwrap();
        assert_eq!(read(&path).unwrap().len() as u64, SIZE_MAX);
        File::create(&path).unwrap().set_len(SIZE_MAX + 1).unwrap();
        assert_eq!(error_of(&path), "larger than 16 MiB");

        let fifo = directory.path().join("fifo");
        mkfifo(&fifo, Mode::S_IRWXU).unwrap();
        assert_eq!(error_of(&fifo), "a FIFO, expected a regular file");
        assert_eq!(error_of(directory.path()), "a directory, expected a regular file");
        assert_eq!(error_of(Path::new("/dev/zero")), "a device, expected a regular file");
    }

    #[test]
    fn what_does_not_come_back_is_left_behind() {
        let (hold, held) = mpsc::channel::<()>();
        let patience = Duration::from_millis(10);
        let error = within(patience, move || held.recv()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        drop(hold);
        assert_eq!(within(READ_TIMEOUT, || 7).unwrap(), 7);
    }
}
