//! A command's end of the control socket.

use std::{
    fmt,
    io::{BufRead as _, BufReader, Read as _, Write as _},
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

/// Octets of a reply at most: the whole table of names fits.
const REPLY_MAX: u64 = 256 << 20;

/// The daemon has found a configuration invalid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid(pub String);

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Invalid {}

/// A command's end of the socket.
#[derive(Debug)]
pub struct Client {
    stream: UnixStream,
}

impl Client {
    /// Connects to the daemon, or `None` if none runs.
    #[must_use]
    pub fn connect(runtime_directory: &Path) -> Option<Self> {
        let stream = UnixStream::connect(runtime_directory.join(SOCKET_NAME)).ok()?;
        Some(Self { stream })
    }

    /// The daemon's process id.
    ///
    /// # Errors
    /// The kernel does not tell whose the other end is.
    pub fn daemon(&self) -> Result<Pid> {
        let peer = getsockopt(&self.stream, PeerCredentials);
        Ok(Pid::from_raw(peer.context("cannot tell the daemon's process")?.pid()))
    }

    /// Asks the daemon; `T` is what the request is answered with.
    ///
    /// # Errors
    /// The daemon does not answer within `timeout`, or says no. The error is [`Invalid`] where a
    /// configuration is.
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
