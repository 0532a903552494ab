//! A child process of the testbed: its lines are kept and awaited, and it dies with its owner.

use std::{
    io::{BufRead as _, BufReader, Read},
    os::{
        fd::OwnedFd,
        unix::process::{CommandExt as _, ExitStatusExt as _},
    },
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use nix::{
    sys::signal::{SigSet, Signal, kill},
    unistd::Pid,
};

/// Lines that a process has printed, in the order of their arrival.
#[derive(Debug, Default)]
pub struct Log {
    state: Mutex<LogState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct LogState {
    lines: Vec<String>,
    writers: usize,
}

impl Log {
    fn lock(&self) -> MutexGuard<'_, LogState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a line.
    pub fn push(&self, line: String) {
        self.lock().lines.push(line);
        self.changed.notify_all();
    }

    /// Everything so far.
    #[must_use]
    pub fn text(&self) -> String {
        self.lock().lines.join("\n")
    }

    /// Keeps the lines of `source` until it ends.
    fn read(self: &Arc<Self>, source: impl Read + Send + 'static) {
        self.lock().writers += 1;
        let log = Arc::clone(self);
        thread::spawn(move || {
            for line in BufReader::new(source).lines() {
                match line {
                    Ok(line) => log.push(line),
                    Err(_) => break,
                }
            }
            log.lock().writers -= 1;
            log.changed.notify_all();
        });
    }

    /// Waits until `found` returns something, the process has closed its output, or time is up.
    fn wait<T>(
        &self,
        timeout: Duration,
        mut found: impl FnMut(&[String]) -> Option<T>,
    ) -> Result<T, Unfulfilled> {
        let deadline = Instant::now() + timeout;
        let mut state = self.lock();
        loop {
            if let Some(value) = found(&state.lines) {
                return Ok(value);
            }
            if state.writers == 0 {
                return Err(Unfulfilled::Closed);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Unfulfilled::TimedOut);
            }
            state =
                self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

enum Unfulfilled {
    Closed,
    TimedOut,
}

/// A child process, killed on drop.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: Arc<Log>,
    ended: Option<ExitStatus>,
}

impl Process {
    /// Starts `command`; `name` stands in error messages.
    pub fn spawn(name: &str, command: &mut Command) -> Result<Self> {
        Self::spawn_into(name, command, Arc::default())
    }

    /// Starts `command`, whose lines go into `log`.
    pub fn spawn_into(name: &str, command: &mut Command, log: Arc<Log>) -> Result<Self> {
        Self::start(name, command.stdin(Stdio::null()).stdout(Stdio::piped()), log)
    }

    /// Starts `command` with a line to talk on in place of its input and output.
    pub fn spawn_on(name: &str, command: &mut Command, line: OwnedFd) -> Result<Self> {
        let other = line.try_clone().with_context(|| format!("cannot start {name}"))?;
        Self::start(name, command.stdin(line).stdout(other), Arc::default())
    }

    fn start(name: &str, command: &mut Command, log: Arc<Log>) -> Result<Self> {
        // SAFETY: setting the signal mask is async-signal-safe, and nothing else is done.
        unsafe {
            command.pre_exec(|| {
                // The child has to hear signals that this process may have blocked.
                Ok(SigSet::empty().thread_set_mask()?)
            });
        }
        let mut child = command
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        if let Some(stdout) = child.stdout.take() {
            log.read(stdout);
        }
        if let Some(stderr) = child.stderr.take() {
            log.read(stderr);
        }
        Ok(Self { name: name.to_owned(), child, log, ended: None })
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Output of the process, on either stream.
    #[must_use]
    pub fn output(&self) -> String {
        self.log.text()
    }

    /// Waits for a line that contains `text`.
    pub fn wait_for(&self, text: &str, timeout: Duration) -> Result<String> {
        let line = |lines: &[String]| lines.iter().find(|line| line.contains(text)).cloned();
        match self.log.wait(timeout, line) {
            Ok(line) => Ok(line),
            Err(Unfulfilled::Closed) => {
                bail!("{} ended before it said {text:?}:\n{}", self.name, self.output())
            }
            Err(Unfulfilled::TimedOut) => {
                bail!("{} did not say {text:?} within {timeout:?}:\n{}", self.name, self.output())
            }
        }
    }

    /// Waits for its end, and until all that it said has been read.
    pub fn wait(&mut self, timeout: Duration) -> Result<ExitStatus> {
        // Also where it is known to have ended: its last words may still be in the pipe.
        if matches!(self.log.wait(timeout, |_| None::<()>), Err(Unfulfilled::TimedOut)) {
            bail!("{} did not end within {timeout:?}:\n{}", self.name, self.output());
        }
        let status = match self.ended {
            Some(status) => status,
            None => self.child.wait()?,
        };
        self.ended = Some(status);
        Ok(status)
    }

    /// Whether the process still runs.
    pub fn is_running(&mut self) -> Result<bool> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait()?;
        }
        Ok(self.ended.is_none())
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let id = i32::try_from(self.child.id()).context("a process id is a pid_t")?;
        kill(Pid::from_raw(id), signal).with_context(|| format!("cannot signal {}", self.name))
    }

    /// Kills it as nothing can resist, and waits for its end.
    pub fn kill(&mut self) -> Result<()> {
        self.signal(Signal::SIGKILL)?;
        let status = self.wait(Duration::from_secs(10))?;
        match status.signal() {
            Some(9) => Ok(()),
            _ => bail!("{} had ended by itself: {status}:\n{}", self.name, self.output()),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.ended.is_none() {
            // Nothing to do about a failure: it has ended by itself.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_words_of_a_process_that_has_ended_are_waited_for() -> Result<()> {
        // The words are those of a child that outlives the process.
        let mut process = Process::spawn(
            "sh",
            Command::new("sh").args(["-c", "{ while kill -0 $$; do :; done; echo words; } 2>&- &"]),
        )?;
        while process.is_running()? {
            thread::yield_now();
        }
        let status = process.wait(Duration::from_secs(10))?;
        anyhow::ensure!(status.success(), "{status}");
        anyhow::ensure!(process.output() == "words", "{:?}", process.output());
        Ok(())
    }
}
