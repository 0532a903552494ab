//! Runs nft, the command of nftables.

use std::{
    fmt, io,
    io::Write as _,
    process::{Child, Command, ExitStatus, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

/// Time limit where a loop waits for nft. Nft waits for the transactions of others, and is killed
/// after this time so that the loop does not hang.
const QUERY_TIMEOUT: Duration = Duration::from_secs(5);

/// Time limit where a person waits, who may have a large ruleset.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(60);

/// Interval between checks whether nft has ended.
const STEP: Duration = Duration::from_millis(1);

/// Failure of nft.
#[derive(Debug)]
pub(crate) enum Error {
    /// The command does not exist.
    NotInstalled,
    /// The command cannot be run.
    Run(io::Error),
    /// Nft refuses, with the first line of its error output.
    Refused(String),
}

impl std::error::Error for Error {}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotInstalled => f.write_str("nft is not installed"),
            Self::Run(error) => write!(f, "cannot run nft: {error}"),
            Self::Refused(text) => write!(f, "nft says: {text}"),
        }
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::NotInstalled,
            _ => Self::Run(error),
        }
    }
}

/// Returns the command, with error messages in English.
fn command() -> Command {
    let mut command = Command::new("nft");
    command.env("LC_ALL", "C");
    command
}

/// Runs nft and returns its output.
///
/// # Errors
/// Nft cannot be run, refuses, or takes longer than a minute.
pub(crate) fn ask(arguments: &[&str]) -> Result<String, Error> {
    ask_for(arguments, COMMAND_TIMEOUT)
}

/// Runs nft with the time limit of a loop, and returns its output.
///
/// # Errors
/// Nft cannot be run, refuses, or takes longer than 5 s.
pub(crate) fn ask_soon(arguments: &[&str]) -> Result<String, Error> {
    ask_for(arguments, QUERY_TIMEOUT)
}

fn ask_for(arguments: &[&str], patience: Duration) -> Result<String, Error> {
    let mut command = command();
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    text(&end_of(command.spawn()?, patience)?)
}

/// Loads a ruleset in one transaction: all of it, or nothing.
///
/// # Errors
/// Nft cannot be run, or refuses; nothing has changed.
pub(crate) fn load(ruleset: &str) -> Result<(), Error> {
    let mut command = command();
    command.args(["-f", "-"]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut nft = command.spawn()?;
    if let Some(mut stdin) = nft.stdin.take() {
        // If writing fails, nft itself reports the reason.
        let _ = stdin.write_all(ruleset.as_bytes());
    }
    text(&end_of(nft, QUERY_TIMEOUT)?).map(drop)
}

/// Waits for a process and returns its output; kills one that takes too long.
fn end_of(mut child: Child, patience: Duration) -> io::Result<Output> {
    // A full pipe would block the process.
    let [stdout, stderr] = [
        child.stdout.take().map(|pipe| thread::spawn(move || content(pipe))),
        child.stderr.take().map(|pipe| thread::spawn(move || content(pipe))),
    ];
    let status = status_of(&mut child, patience)?;
    let read = |pipe: Option<thread::JoinHandle<Vec<u8>>>| {
        pipe.and_then(|pipe| pipe.join().ok()).unwrap_or_default()
    };
    Ok(Output { status, stdout: read(stdout), stderr: read(stderr) })
}

fn status_of(child: &mut Child, patience: Duration) -> io::Result<ExitStatus> {
    let until = Instant::now() + patience;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if Instant::now() >= until {
            child.kill()?;
            child.wait()?;
            let text = format!("it has not ended for {} s", patience.as_secs());
            return Err(io::Error::new(io::ErrorKind::TimedOut, text));
        }
        thread::sleep(STEP);
    }
}

fn content(mut pipe: impl io::Read) -> Vec<u8> {
    let mut content = Vec::new();
    // On an error, the part read so far is the content.
    let _ = pipe.read_to_end(&mut content);
    content
}

fn text(output: &Output) -> Result<String, Error> {
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    Err(Error::Refused(text.lines().next().unwrap_or_default().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Child {
        let mut command = Command::new("sh");
        command.args(["-c", script]).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    }

    #[test]
    fn however_much_is_printed_is_read() {
        let output =
            end_of(sh("head -c 300000 /dev/zero; echo no >&2; exit 3"), QUERY_TIMEOUT).unwrap();
        assert_eq!((output.stdout.len(), output.stderr.as_slice()), (300_000, &b"no\n"[..]));
        assert_eq!(output.status.code(), Some(3));
        assert!(matches!(text(&output), Err(Error::Refused(said)) if said == "no"));
    }

    #[test]
    fn what_does_not_end_is_killed() {
        let error = end_of(sh("exec sleep 1000"), Duration::from_millis(50)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
