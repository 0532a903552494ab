//! Serves the control socket: limits peers, connections and time.

use std::{
    fs, io,
    os::unix::{fs::PermissionsExt as _, net::UnixStream},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        UnixListener,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{Semaphore, mpsc, oneshot},
    time::timeout,
};

use super::protocol::{EventsFollow, Reply, Request, SOCKET_NAME, request_of, to_line};
use crate::{
    events::feed::Subscription,
    report::{EventLine, SCHEMA},
    system::regular_file::SIZE_MAX,
};

/// Octets of a request at most, enough for a configuration of the largest size with every character
/// escaped as two.
const REQUEST_MAX: u64 = 2 * SIZE_MAX + (1 << 16);

/// Connections at once, twice the number of followers. Further ones are refused.
pub(super) const CONNECTIONS: usize = 64;

/// Time limit for a peer to send its line, or to take its reply.
pub(super) const LINE_TIMEOUT: Duration = Duration::from_secs(5);

/// Reply of the daemon's loop.
#[derive(Debug)]
pub(crate) enum LoopReply {
    /// Reply of one line.
    Reply(Reply),
    /// Events, one per line.
    Events(Subscription),
}

/// Request on the way to the daemon's loop, with the way back.
#[derive(Debug)]
pub(crate) struct Call {
    /// Request of the command.
    pub request: Request,
    /// Sender of the answer.
    pub reply: oneshot::Sender<LoopReply>,
    /// Receiver that ends when the answer has been written, or cannot be.
    pub written: oneshot::Receiver<()>,
}

/// Daemon's end of the socket.
#[derive(Debug)]
pub(crate) struct Server {
    path: PathBuf,
    listener: UnixListener,
}

impl Server {
    /// Listens in the runtime directory, for root alone. Replaces the socket of a daemon that was
    /// killed; fails if a daemon answers.
    pub(crate) fn bind(runtime_directory: &Path) -> Result<Self> {
        let path = runtime_directory.join(SOCKET_NAME);
        if UnixStream::connect(&path).is_ok() {
            bail!("another daemon listens at {}", path.display());
        }
        if let Err(error) = fs::remove_file(&path)
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(error).with_context(|| format!("cannot remove {}", path.display()));
        }
        // No other user can connect before the socket has its mode, since the directory is root's
        // alone.
        let listener = UnixListener::bind(&path)
            .with_context(|| format!("cannot listen at {}", path.display()))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))
            .with_context(|| format!("cannot protect {}", path.display()))?;
        Ok(Self { path, listener })
    }

    /// Sends every request to `calls`, and its answer back. Ends when the receiver of `calls` is
    /// gone.
    pub(crate) async fn serve(self, calls: mpsc::Sender<Call>) {
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
        // A socket left behind would refuse connections until the next start replaces it.
        let _ = fs::remove_file(&self.path);
    }
}

/// Refuses a connection beyond the limit, if the peer takes the reply without waiting.
fn refuse(stream: &tokio::net::UnixStream) {
    let error = format!("{CONNECTIONS} commands are being answered already");
    let reply = Reply::Error { error, invalid: false };
    if let Ok(line) = to_line(&reply) {
        let _ = stream.try_write(&line);
    }
}

async fn answer(stream: tokio::net::UnixStream, calls: mpsc::Sender<Call>) -> Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut line = Vec::new();
    let mut reader = tokio::io::BufReader::new(reader.take(REQUEST_MAX));
    timeout(LINE_TIMEOUT, reader.read_until(b'\n', &mut line)).await??;
    let request = match request_of(&line) {
        Ok(request) => request,
        Err(error) => return write(&mut writer, &Reply::Error { error, invalid: false }).await,
    };
    let (reply, receiver) = oneshot::channel();
    // Dropped when the answer has been written.
    let (_writing, written) = oneshot::channel();
    calls.send(Call { request, reply, written }).await?;
    match receiver.await? {
        LoopReply::Reply(reply) => write(&mut writer, &reply).await,
        LoopReply::Events(events) => {
            write(&mut writer, &Reply::Events(EventsFollow {})).await?;
            stream_events(reader.into_inner().into_inner(), writer, events).await
        }
    }
}

/// Writes events until there are no more, or the reader has gone. A slow reader delays this task
/// alone.
async fn stream_events(
    mut reader: OwnedReadHalf,
    mut writer: OwnedWriteHalf,
    mut events: Subscription,
) -> Result<()> {
    let mut rest = [0; 64];
    loop {
        let event = tokio::select! {
            event = events.next() => event,
            // A follower sends nothing more: input means that it has hung up, or misbehaves.
            _ = reader.read(&mut rest) => return Ok(()),
        };
        let Some(event) = event else { return Ok(()) };
        let mut text = serde_json::to_vec(&EventLine { schema: SCHEMA, event: &*event })?;
        text.push(b'\n');
        let written = writer.write_all(&text);
        if events.follows() {
            // A terminal may be paused for long, and the number of followers is limited.
            written.await?;
        } else {
            timeout(LINE_TIMEOUT, written).await??;
        }
    }
}

async fn write(writer: &mut OwnedWriteHalf, reply: &Reply) -> Result<()> {
    timeout(LINE_TIMEOUT, writer.write_all(&to_line(reply)?)).await??;
    Ok(())
}
