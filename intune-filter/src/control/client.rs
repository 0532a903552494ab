//! Connects a command to the daemon's control socket.

use std::{
    fmt,
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use nix::{
    sys::socket::{getsockopt, sockopt::PeerCredentials},
    unistd::Pid,
};

use super::protocol::{self, Reply, Request, SOCKET_NAME, Unexpected};

/// Octets of a reply at most, enough for the whole table of names.
const REPLY_MAX: u64 = 256 << 20;

/// Error for a configuration that the daemon finds invalid, with a line for each fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid(pub String);

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Invalid {}

/// Connection of a command to the daemon.
#[derive(Debug)]
pub struct Client {
    stream: UnixStream,
}

impl Client {
    /// Connects to the daemon; `None` if none runs, or if it may not be asked.
    #[must_use]
    pub fn connect(runtime_directory: &Path) -> Option<Self> {
        Self::connect_if_allowed(runtime_directory).ok().flatten()
    }

    /// Connects to the daemon; `None` if none runs.
    ///
    /// # Errors
    /// This user may not ask the daemon, whether one runs or not.
    pub fn connect_if_allowed(runtime_directory: &Path) -> Result<Option<Self>> {
        let path = runtime_directory.join(SOCKET_NAME);
        match UnixStream::connect(&path) {
            Ok(stream) => Ok(Some(Self { stream })),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                bail!("{}: {error}; this has to be run as root", path.display())
            }
            Err(_) => Ok(None),
        }
    }

    /// The daemon's process id.
    ///
    /// # Errors
    /// The kernel does not tell whose the other end is.
    pub fn daemon(&self) -> Result<Pid> {
        let peer = getsockopt(&self.stream, PeerCredentials);
        Ok(Pid::from_raw(peer.context("cannot tell the daemon's process")?.pid()))
    }

    /// Sends a request; `T` is the content of the expected reply.
    ///
    /// # Errors
    /// The daemon does not answer within `timeout`, or refuses. The error is [`Invalid`] if a
    /// configuration is invalid.
    pub fn ask<T>(mut self, request: &Request, timeout: Duration) -> Result<T>
    where
        T: TryFrom<Reply, Error = Unexpected>,
    {
        self.stream.set_read_timeout(Some(timeout))?;
        self.stream.set_write_timeout(Some(timeout))?;
        let line = protocol::to_line(request)?;
        self.stream.write_all(&line).context("the daemon does not listen")?;
        let mut text = String::new();
        BufReader::new(self.stream.take(REPLY_MAX))
            .read_line(&mut text)
            .context("the daemon does not answer")?;
        match protocol::reply_of(&text)? {
            Reply::Error { error, invalid: true } => Err(Invalid(error).into()),
            Reply::Error { error, invalid: false } => bail!("the daemon says: {error}"),
            reply => Ok(reply.try_into()?),
        }
    }
}
