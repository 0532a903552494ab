//! Implements `events`: prints the daemon's events, and follows new ones.

use std::{
    io::{self, Write as _},
    path::Path,
    time::Duration,
};

use anyhow::{Context as _, anyhow};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Interest},
    net::UnixStream,
    signal::unix::{SignalKind, signal},
};

use super::{
    args::{EventSelection, Global},
    context,
    error::{ExitStatus, Failure},
};
use crate::{
    control::{EventsFollow, Reply, Request, SOCKET_NAME, reply_of, to_line},
    events::{Event, EventFilter, Kind},
    report::EventLine,
    system::readiness::Readiness,
};

/// Runs the command, which prints events as they come.
pub(super) fn run(
    global: &Global,
    wanted: &EventSelection,
) -> Result<(ExitStatus, String), Failure> {
    let socket = context::paths(global).runtime_dir.join(SOCKET_NAME);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start a runtime")?;
    runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            result = follow(&socket, global.json, wanted) => result,
            _ = interrupt.recv() => Ok(()),
            _ = terminate.recv() => Ok(()),
            () = nobody_reads() => Ok(()),
        }
    })?;
    Ok((ExitStatus::Yes, String::new()))
}

/// Time between two attempts to find the next daemon.
const RECONNECT: Duration = Duration::from_millis(500);

/// Prints events; with `--follow` of the next daemon too, when one has ended.
async fn follow(socket: &Path, json: bool, wanted: &EventSelection) -> Result<(), Failure> {
    let mut ended = print(socket, json, &request(wanted, wanted.last)).await?;
    while wanted.follow && ended == Ended::Daemon {
        log::warn!("the daemon has ended; waiting for the next one");
        while UnixStream::connect(socket).await.is_err() {
            tokio::time::sleep(RECONNECT).await;
        }
        // What it kept from the time before has not been seen: it began with nothing.
        match print(socket, json, &request(wanted, Some(usize::MAX))).await {
            Ok(next) => ended = next,
            Err(failure) => log::debug!("{failure}"),
        }
    }
    Ok(())
}

/// Whose end it was that printing ended by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    Daemon,
    Reader,
}

async fn print(socket: &Path, json: bool, request: &Request) -> Result<Ended, Failure> {
    let mut stream = UnixStream::connect(socket).await.map_err(|error| {
        anyhow!("events are told by the daemon, and none answers at {}: {error}", socket.display())
    })?;
    stream.write_all(&to_line(request)?).await.context("the daemon does not listen")?;
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next_line().await.context("the daemon does not answer")?;
    match reply_of(&first.unwrap_or_default())? {
        Reply::Error { error, .. } => return Err(anyhow!("the daemon says: {error}").into()),
        reply => EventsFollow::try_from(reply).map_err(anyhow::Error::new)?,
    };
    while let Some(line) = lines.next_line().await.context("the daemon does not answer")? {
        let printed = match serde_json::from_str::<EventLine<Event>>(&line) {
            Ok(EventLine { event, .. }) if !json => writeln!(io::stdout(), "{event}"),
            // JSON is printed as received, and so is an event of a newer daemon that this version
            // cannot read.
            _ => writeln!(io::stdout(), "{line}"),
        };
        match printed {
            // The reader has closed its end, which is no failure.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(Ended::Reader),
            Err(error) => {
                return Err(anyhow!(error).context("cannot write to standard output").into());
            }
            Ok(()) => {}
        }
    }
    Ok(Ended::Daemon)
}

/// Asks for the last events of those that the daemon has kept, and for new ones with `--follow`.
fn request(wanted: &EventSelection, last: Option<usize>) -> Request {
    let kinds = [
        (wanted.denied, Kind::Denied),
        (wanted.learned, Kind::Learned),
        (wanted.flows, Kind::Flows),
    ];
    let filter = EventFilter {
        kinds: kinds
            .into_iter()
            .filter(|(is_wanted, _)| *is_wanted)
            .map(|(_, kind)| kind)
            .collect(),
        clients: wanted.client.clone(),
        reasons: wanted.reason.iter().cloned().collect(),
    };
    let all = if wanted.follow { 0 } else { usize::MAX };
    Request::Events { filter, last: last.unwrap_or(all), follow: wanted.follow }
}

/// Ends when standard output is a pipe or socket whose other end is closed, which a follower
/// without anything to print would never notice.
async fn nobody_reads() {
    let output = Readiness::of(io::stdout(), Interest::WRITABLE);
    // A file cannot be watched, and has no other end.
    let Ok(output) = output else { return std::future::pending().await };
    if output.wait(Interest::ERROR).await.is_err() {
        std::future::pending::<()>().await;
    }
}
