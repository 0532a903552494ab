//! The control socket: one JSON request a line, one JSON reply a line.

use std::{
    fmt, fs,
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    os::{
        fd::AsRawFd as _,
        unix::{fs::PermissionsExt as _, net::UnixStream},
    },
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        UnixListener,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{Semaphore, mpsc, oneshot},
    time::timeout,
};

use crate::{
    events::{Filter, feed::Subscription},
    system::regular_file::SIZE_MAX,
};

/// The socket's name in the runtime directory.
pub const SOCKET_NAME: &str = "control.sock";

/// Octets of a request at most: a configuration of the largest size fits, each of whose characters
/// takes two.
const REQUEST_MAX: u64 = 2 * SIZE_MAX + (1 << 16);

/// Connections at once; twice as many as may follow events. Further ones are told so.
const CONNECTIONS: usize = 64;

/// Octets of a reply at most: the whole table of names fits.
const REPLY_MAX: u64 = 256 << 20;

/// How long a peer may take to say its line, or to take its reply.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a command asks of the daemon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// How it is.
    Status,
    /// Its table of names.
    Names,
    /// Put another configuration into force.
    Apply {
        /// The file that it was read from, for messages.
        file: String,
        /// What the file says: the daemon may not be able to read it.
        text: String,
        /// Seconds after which the configuration before comes back, unless confirmed.
        confirm_s: Option<u32>,
        /// Whether only to tell what that would change.
        #[serde(default)]
        dry_run: bool,
    },
    /// Load the configuration file again.
    Reload,
    /// The configuration in force.
    Configuration,
    /// Keep the configuration that waits for this.
    Confirm,
    /// The clients that were denied something.
    Clients,
    /// Events: a stream of them, and no reply, unless it is an error.
    Events {
        /// Which.
        filter: Filter,
        /// How many of those that are kept, at most.
        last: usize,
        /// Whether to go on with those to come.
        follow: bool,
    },
    /// Detach everything, remove the pins, and end.
    Detach,
}

/// The daemon's answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Reply {
    /// It was not done.
    Error {
        /// Why.
        error: String,
        /// Whether a configuration is not valid: the text then has a line for each fault.
        #[serde(default)]
        invalid: bool,
    },
    /// What was asked for.
    Ok(Value),
}

/// What the daemon's loop has to say.
#[derive(Debug)]
pub enum Answer {
    /// One line.
    Reply(Reply),
    /// Events, a line each.
    Events(Subscription),
}

/// A request on its way to the daemon's loop, and the way back.
#[derive(Debug)]
pub struct Call {
    /// What is asked.
    pub request: Request,
    /// Takes the answer.
    pub reply: oneshot::Sender<Answer>,
    /// Ends when the answer has been written, or cannot be.
    pub written: oneshot::Receiver<()>,
}

/// The daemon's end of the socket.
#[derive(Debug)]
pub struct Server {
    path: PathBuf,
    listener: UnixListener,
}

impl Server {
    /// Listens in the runtime directory, for root alone. What a daemon left there that was killed
    /// is replaced; a daemon that answers is an error.
    pub fn bind(runtime_directory: &Path) -> Result<Self> {
        let path = runtime_directory.join(SOCKET_NAME);
        if UnixStream::connect(&path).is_ok() {
            bail!("another daemon listens at {}", path.display());
        }
        if let Err(error) = fs::remove_file(&path)
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(error).with_context(|| format!("cannot remove {}", path.display()));
        }
        // Nobody can connect between the socket's creation and its new mode: the directory is
        // root's alone.
        let listener = UnixListener::bind(&path)
            .with_context(|| format!("cannot listen at {}", path.display()))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))
            .with_context(|| format!("cannot protect {}", path.display()))?;
        Ok(Self { path, listener })
    }

    /// Hands every request to `calls`, and its reply back. Ends when nobody takes calls.
    pub async fn serve(self, calls: mpsc::Sender<Call>) {
        let room = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            let stream = match self.listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    log::warn!("control socket: {error}");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    continue;
                }
            };
            if calls.is_closed() {
                return;
            }
            let Ok(place) = Arc::clone(&room).try_acquire_owned() else {
                refuse(&stream);
                continue;
            };
            let calls = calls.clone();
            tokio::spawn(async move {
                if let Err(error) = answer(stream, calls).await {
                    log::debug!("control socket: {error}");
                }
                drop(place);
            });
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Left behind, it would be refused and replaced.
        let _ = fs::remove_file(&self.path);
    }
}

/// Says that too many are being answered, if the other side takes that at once.
fn refuse(stream: &tokio::net::UnixStream) {
    let error = format!("{CONNECTIONS} commands are being answered already");
    let reply = Reply::Error { error, invalid: false };
    if let Ok(text) = serde_json::to_string(&reply) {
        let _ = stream.try_write(format!("{text}\n").as_bytes());
    }
}

async fn answer(stream: tokio::net::UnixStream, calls: mpsc::Sender<Call>) -> Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut line = Vec::new();
    let mut reader = tokio::io::BufReader::new(reader.take(REQUEST_MAX));
    timeout(PATIENCE, reader.read_until(b'\n', &mut line)).await??;
    let request = match serde_json::from_slice::<Request>(&line) {
        Ok(request) => request,
        Err(error) => {
            let error = format!("bad request: {error}");
            return write(&mut writer, &Reply::Error { error, invalid: false }).await;
        }
    };
    let (reply, receiver) = oneshot::channel();
    // Dropped when the answer has been written.
    let (_writing, written) = oneshot::channel();
    calls.send(Call { request, reply, written }).await?;
    match receiver.await? {
        Answer::Reply(reply) => write(&mut writer, &reply).await,
        Answer::Events(events) => {
            stream_events(reader.into_inner().into_inner(), writer, events).await
        }
    }
}

/// Writes events until there are no more, or nobody reads. However slow the reader is, this task
/// alone waits for it.
async fn stream_events(
    mut reader: OwnedReadHalf,
    mut writer: OwnedWriteHalf,
    mut events: Subscription,
) -> Result<()> {
    let mut rest = [0; 64];
    loop {
        let event = tokio::select! {
            event = events.next() => event,
            // Nothing more is to be said on the other side: it has hung up, or makes no sense.
            _ = reader.read(&mut rest) => return Ok(()),
        };
        let Some(event) = event else { return Ok(()) };
        let mut text = serde_json::to_vec(&*event)?;
        text.push(b'\n');
        let written = writer.write_all(&text);
        if events.follows() {
            // A terminal may stand still for long, and few may follow.
            written.await?;
        } else {
            timeout(PATIENCE, written).await??;
        }
    }
}

async fn write(writer: &mut OwnedWriteHalf, reply: &Reply) -> Result<()> {
    let mut text = serde_json::to_vec(reply)?;
    text.push(b'\n');
    timeout(PATIENCE, writer.write_all(&text)).await??;
    Ok(())
}

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
    pub fn daemon(&self) -> Result<i32> {
        let mut peer = libc::ucred { pid: 0, uid: 0, gid: 0 };
        let mut length = size_of::<libc::ucred>() as libc::socklen_t;
        // SAFETY: both pointers are valid, and the length is the buffer's.
        let result = unsafe {
            libc::getsockopt(
                self.stream.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_PEERCRED,
                (&raw mut peer).cast(),
                &raw mut length,
            )
        };
        if result < 0 {
            return Err(io::Error::last_os_error()).context("cannot tell the daemon's process");
        }
        Ok(peer.pid)
    }

    /// Asks the daemon; an error if it does not answer within `patience`, or says no. The error is
    /// [`Invalid`] where a configuration is.
    pub fn ask(mut self, request: Request, patience: Duration) -> Result<Value> {
        self.stream.set_read_timeout(Some(patience))?;
        self.stream.set_write_timeout(Some(patience))?;
        let mut line = serde_json::to_vec(&request)?;
        line.push(b'\n');
        self.stream.write_all(&line).context("the daemon does not listen")?;
        let mut text = String::new();
        BufReader::new(self.stream.take(REPLY_MAX))
            .read_line(&mut text)
            .context("the daemon does not answer")?;
        match serde_json::from_str(&text).context("the daemon's answer is cut off")? {
            Reply::Ok(value) => Ok(value),
            Reply::Error { error, invalid: true } => Err(Invalid(error).into()),
            Reply::Error { error, invalid: false } => bail!("the daemon says: {error}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_daemon<T>(reply: Reply, test: impl FnOnce(&Path) -> T + Send) -> T
    where
        T: Send,
    {
        let directory = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (sender, mut calls) = mpsc::channel::<Call>(1);
        let server = {
            let _guard = runtime.enter();
            Server::bind(directory.path()).unwrap()
        };
        std::thread::scope(|scope| {
            let client = scope.spawn(|| test(directory.path()));
            runtime.block_on(async {
                tokio::spawn(server.serve(sender));
                while !client.is_finished() {
                    tokio::select! {
                        call = calls.recv() => {
                            let call = call.unwrap();
                            let _ = call.reply.send(Answer::Reply(reply.clone()));
                            assert!(call.written.await.is_err(), "nothing is ever sent");
                        }
                        () = tokio::time::sleep(Duration::from_millis(10)) => {}
                    }
                }
            });
            client.join().unwrap()
        })
    }

    #[test]
    fn a_question_gets_its_answer() {
        let value = serde_json::json!({"names": 3});
        let answer = with_daemon(Reply::Ok(value.clone()), |directory| {
            let client = Client::connect(directory).unwrap();
            assert_eq!(client.daemon().unwrap(), std::process::id() as i32);
            client.ask(Request::Status, PATIENCE).unwrap()
        });
        assert_eq!(answer, value);
    }

    #[test]
    fn a_no_is_an_error_and_nonsense_is_answered() {
        with_daemon(Reply::Error { error: "not now".into(), invalid: false }, |directory| {
            let client = Client::connect(directory).unwrap();
            let error = client.ask(Request::Detach, PATIENCE).unwrap_err().to_string();
            assert!(error.contains("not now"), "{error}");

            let mut stream = UnixStream::connect(directory.join(SOCKET_NAME)).unwrap();
            stream.write_all(b"{\"command\": \"dance\"}\n").unwrap();
            let mut text = String::new();
            stream.read_to_string(&mut text).unwrap();
            assert!(text.contains("bad request"), "{text}");
        });
    }

    #[test]
    fn an_invalid_configuration_is_told_from_other_failures() {
        let text = "a.yaml:3: dns: missing\na.yaml:4: x: unknown key";
        let reply = Reply::Error { error: text.into(), invalid: true };
        with_daemon(reply, |directory| {
            let request = Request::Apply {
                file: "a.yaml".into(),
                text: "line\n".repeat(100_000),
                confirm_s: Some(60),
                dry_run: false,
            };
            let error = Client::connect(directory).unwrap().ask(request, PATIENCE).unwrap_err();
            assert_eq!(error.downcast::<Invalid>().unwrap(), Invalid(text.into()));
        });
    }

    #[test]
    fn only_root_may_ask_and_a_second_daemon_is_refused() {
        with_daemon(Reply::Ok(Value::Null), |directory| {
            let mode = fs::metadata(directory.join(SOCKET_NAME)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let _guard = runtime.enter();
            let error = Server::bind(directory).unwrap_err().to_string();
            assert!(error.contains("another daemon"), "{error}");
        });
    }

    #[test]
    fn connections_are_bounded_and_one_too_many_is_told_so() {
        with_daemon(Reply::Ok(Value::Null), |directory| {
            let connect = || UnixStream::connect(directory.join(SOCKET_NAME)).unwrap();
            // They say nothing, for as long as they may.
            let mut silent: Vec<_> = (0..CONNECTIONS).map(|_| connect()).collect();
            let ask = || Client::connect(directory).unwrap().ask(Request::Status, PATIENCE);
            let error = ask().unwrap_err().to_string();
            assert!(error.contains("64 commands are being answered already"), "{error}");
            silent.pop();
            while ask().is_err() {}
        });
    }

    #[test]
    fn a_dead_daemons_socket_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        drop(std::os::unix::net::UnixListener::bind(directory.path().join(SOCKET_NAME)).unwrap());
        assert!(Client::connect(directory.path()).is_none());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let _guard = runtime.enter();
        drop(Server::bind(directory.path()).unwrap());
        assert!(!directory.path().join(SOCKET_NAME).exists());
    }
}
