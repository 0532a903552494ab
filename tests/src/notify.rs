//! Notifications of a daemon to systemd (sd_notify), as lines of its log.

use std::{
    fs, io,
    os::unix::net::UnixDatagram,
    path::PathBuf,
    sync::Arc,
    thread::{self, JoinHandle},
};

use anyhow::{Context as _, Result, bail};

use crate::process::Log;

/// The socket's thread, which ends on drop.
#[derive(Debug)]
pub struct Notifications {
    path: PathBuf,
    thread: Option<JoinHandle<()>>,
}

/// Ends the thread that listens.
const END: &[u8] = b"end";

impl Notifications {
    /// Listens on a socket at `path`; what comes goes into `log`.
    pub fn listen(path: PathBuf, log: Arc<Log>) -> Result<Self> {
        // One is left there by an earlier start.
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => bail!(error),
            _ => {}
        }
        let socket = UnixDatagram::bind(&path).context("cannot listen for notifications")?;
        let thread = thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length) = socket.recv(&mut buffer) {
                let message = buffer.get(..length).unwrap_or_default();
                if message == END {
                    return;
                }
                String::from_utf8_lossy(message).lines().for_each(|line| log.push(line.to_owned()));
            }
        });
        Ok(Self { path, thread: Some(thread) })
    }
}

impl Drop for Notifications {
    fn drop(&mut self) {
        let told = UnixDatagram::unbound().and_then(|socket| socket.send_to(END, &self.path));
        if let (Ok(_), Some(thread)) = (told, self.thread.take()) {
            let _ = thread.join();
        }
    }
}
