//! The `intune-filter` binary under test, with directories of its own, on one gateway.

use std::{
    env, fmt, fs, io,
    os::unix::net::UnixDatagram,
    path::PathBuf,
    process::{Command, Output},
    sync::{Arc, OnceLock},
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::{
    cargo,
    directory::Directory,
    namespace::{Namespace, run},
    process::{Log, Process},
};

/// How long the daemon may take to enforce, or to leave.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The filter of one gateway: its files, and its daemon while that runs.
#[derive(Debug)]
pub struct Filter {
    gateway: Arc<Namespace>,
    directory: Arc<Directory>,
    config: PathBuf,
    daemon: Option<Daemon>,
}

impl Filter {
    /// A filter with this configuration; nothing runs yet.
    pub fn new(gateway: Arc<Namespace>, directory: Arc<Directory>, config: &str) -> Result<Self> {
        let config = directory.write("config.yaml", config)?;
        for name in ["state", "run"] {
            fs::create_dir_all(directory.path().join(name))?;
        }
        Ok(Self { gateway, directory, config, daemon: None })
    }

    /// Replaces the configuration file.
    pub fn configure(&self, config: &str) -> Result<()> {
        fs::write(&self.config, config).context("cannot write the configuration")
    }

    /// Where the pins are.
    #[must_use]
    pub fn pins(&self) -> PathBuf {
        self.directory.bpffs().join("pins")
    }

    /// A command of the binary, on the gateway, with this filter's paths.
    pub fn command(&self, arguments: &[&str]) -> Result<Command> {
        let path = self.directory.path();
        let mut command = self.gateway.command(binary()?);
        command.arg("--config").arg(&self.config);
        command.arg("--state-dir").arg(path.join("state"));
        command.arg("--runtime-dir").arg(path.join("run"));
        command.arg("--pin-dir").arg(self.pins());
        command.args(arguments);
        Ok(command)
    }

    /// The same, as one would type it.
    pub fn command_line(&self, arguments: &[&str]) -> Result<String> {
        let command = self.command(arguments)?;
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        Ok(words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" "))
    }

    /// Runs a command to its end.
    pub fn run(&self, arguments: &[&str]) -> Result<Output> {
        self.command(arguments)?.output().context("cannot run intune-filter")
    }

    /// Runs a command that has to succeed, and returns what it prints.
    pub fn succeed(&self, arguments: &[&str]) -> Result<String> {
        run(&mut self.command(arguments)?)
    }

    /// Runs a command with `--json` and reads what it prints. Its exit code has to be 0, or 4,
    /// which is a "no".
    pub fn json(&self, arguments: &[&str]) -> Result<Value> {
        let arguments = [&["--json"], arguments].concat();
        let output = self.run(&arguments)?;
        let [text, errors] = [&output.stdout, &output.stderr].map(|t| String::from_utf8_lossy(t));
        ensure!(
            matches!(output.status.code(), Some(0 | 4)),
            "intune-filter {arguments:?}: {}: {text}{errors}",
            output.status,
        );
        serde_json::from_str(&text)
            .with_context(|| format!("intune-filter {arguments:?} prints no JSON: {text}{errors}"))
    }

    /// Starts the daemon and returns once it says that it enforces.
    pub fn start(&mut self) -> Result<()> {
        self.begin()?;
        self.wait_until_ready()
    }

    /// Starts the daemon.
    pub fn begin(&mut self) -> Result<()> {
        ensure!(self.daemon.is_none(), "the daemon runs already");
        self.daemon = Some(self.spawn("run")?);
        Ok(())
    }

    /// Returns once the daemon says that it enforces.
    pub fn wait_until_ready(&mut self) -> Result<()> {
        self.daemon()?.wait_for("READY=1", PATIENCE).map(drop)
    }

    /// Starts another daemon, which is expected to give up; returns its exit code and output.
    pub fn fail_to_start(&self) -> Result<(Option<i32>, String)> {
        let mut daemon = self.spawn("second")?;
        let status = daemon.process.wait(PATIENCE)?;
        Ok((status.code(), daemon.process.output()))
    }

    fn spawn(&self, name: &str) -> Result<Daemon> {
        let log = Arc::default();
        let socket = self.directory.path().join(format!("notify-{name}"));
        let notifications = Notifications::listen(socket.clone(), Arc::clone(&log))?;
        let mut command = self.command(&["run"])?;
        command.env("NOTIFY_SOCKET", socket);
        let process = Process::spawn_into("intune-filter run", &mut command, log)?;
        Ok(Daemon { process, _notifications: notifications })
    }

    /// The running daemon.
    pub fn daemon(&mut self) -> Result<&mut Process> {
        let daemon = self.daemon.as_mut().context("the daemon does not run")?;
        Ok(&mut daemon.process)
    }

    /// Kills the daemon with SIGKILL.
    pub fn kill(&mut self) -> Result<()> {
        self.daemon.take().context("the daemon does not run")?.process.kill()
    }

    /// Ends the daemon as systemd does; it has to leave with success.
    pub fn stop(&mut self) -> Result<()> {
        let mut daemon = self.daemon.take().context("the daemon does not run")?.process;
        daemon.signal(Signal::SIGTERM)?;
        let status = daemon.wait(PATIENCE)?;
        ensure!(status.success(), "the daemon ended with {status}:\n{}", daemon.output());
        Ok(())
    }

    /// What the daemon has printed.
    #[must_use]
    pub fn output(&self) -> String {
        self.daemon.as_ref().map(|daemon| daemon.process.output()).unwrap_or_default()
    }

    /// Packets by reason, as `status` tells them.
    pub fn counters(&self) -> Result<Counters> {
        let status = self.json(&["status"])?;
        let counters = status["counters"].as_object().context("status has no counters")?;
        let count = |value: &Value| value.as_u64().or_else(|| value["packets"].as_u64());
        let counters = counters.iter().map(|(reason, value)| {
            Ok((reason.clone(), count(value).with_context(|| format!("{reason}: no number"))?))
        });
        Ok(Counters(counters.collect::<Result<_>>()?))
    }
}

/// A daemon that was started, and what it tells systemd.
#[derive(Debug)]
struct Daemon {
    process: Process,
    _notifications: Notifications,
}

/// Packets by reason.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters(std::collections::BTreeMap<String, u64>);

impl fmt::Display for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("nothing");
        }
        let counts = self.0.iter().map(|(reason, count)| format!("{count} {reason}"));
        f.write_str(&counts.collect::<Vec<_>>().join(", "))
    }
}

impl Counters {
    /// Adds packets for this reason.
    pub fn add(&mut self, reason: &str, packets: u64) {
        *self.0.entry(reason.to_owned()).or_default() += packets;
    }

    /// Packets for this reason.
    #[must_use]
    pub fn get(&self, reason: &str) -> u64 {
        self.0.get(reason).copied().unwrap_or(0)
    }

    /// What was counted since `earlier`, without zeros.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let grown = |(reason, count): (&String, &u64)| {
            let more = count.saturating_sub(earlier.get(reason));
            (more > 0).then(|| (reason.clone(), more))
        };
        Self(self.0.iter().filter_map(grown).collect())
    }

    /// Whether nothing was counted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether these are the same reasons as `others`, and for each at least as many packets.
    #[must_use]
    pub fn covers(&self, others: &Self) -> bool {
        self.0.keys().eq(others.0.keys())
            && others.0.iter().all(|(reason, packets)| self.get(reason) >= *packets)
    }

    /// The reasons to deny among them.
    #[must_use]
    pub fn denials(&self) -> Self {
        let denies = |text: &str| {
            let known = intune_filter_ebpf::abi::REASONS.iter().find(|r| r.as_str() == text);
            known.is_none_or(|reason| reason.denies())
        };
        Self(self.0.iter().filter(|(r, _)| denies(r)).map(|(r, n)| (r.clone(), *n)).collect())
    }
}

/// What a daemon tells systemd, as lines of its log.
#[derive(Debug)]
struct Notifications {
    path: PathBuf,
    thread: Option<JoinHandle<()>>,
}

/// Ends the thread that listens.
const END: &[u8] = b"end";

impl Notifications {
    fn listen(path: PathBuf, log: Arc<Log>) -> Result<Self> {
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

/// The binary under test: `INTUNE_FILTER`, or the one beside this program, or, under `cargo test`,
/// which builds no other package's binaries, what cargo builds now.
pub fn binary() -> Result<PathBuf> {
    static BINARY: OnceLock<Result<PathBuf, String>> = OnceLock::new();

    BINARY
        .get_or_init(|| find().map_err(|error| format!("{error:#}")))
        .clone()
        .map_err(|e| anyhow!(e))
}

fn find() -> Result<PathBuf> {
    if let Some(path) = env::var_os("INTUNE_FILTER") {
        return fs::canonicalize(&path).with_context(|| format!("INTUNE_FILTER={path:?}"));
    }
    let profile = cargo::profile()?;
    let path = profile.join("intune-filter");
    if env::current_exe()?.parent() == Some(&profile) {
        ensure!(path.exists(), "{} is not built: run `cargo xtask demo`", path.display());
        return Ok(path);
    }
    let mut build = cargo::cargo();
    build.args(["build", "--quiet", "--workspace", "--bin", "intune-filter"]);
    if profile.ends_with("release") {
        build.arg("--release");
    }
    run(&mut build).context("cannot build intune-filter")?;
    Ok(path)
}
