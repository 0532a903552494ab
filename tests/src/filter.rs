//! The `intune-filter` binary under test, with directories of its own, on one gateway.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::{
    cargo::binary,
    counters::Counters,
    directory::Directory,
    namespace::{Namespace, run},
    notify::Notifications,
    process::Process,
};

/// Longest time in which the daemon enforces, or leaves: on an emulated processor of a busy
/// computer the verifier alone takes more than a minute.
pub const PATIENCE: Duration = Duration::from_secs(180);

/// The filter of one gateway: its files, and its daemon while that runs.
#[derive(Debug)]
pub struct FilterDaemon {
    gateway: Arc<Namespace>,
    directory: Arc<Directory>,
    config: PathBuf,
    environment: Vec<(&'static str, OsString)>,
    verbose: bool,
    daemon: Option<Daemon>,
}

impl FilterDaemon {
    /// A filter with this configuration; nothing runs yet.
    pub fn new(gateway: Arc<Namespace>, directory: Arc<Directory>, config: &str) -> Result<Self> {
        let config = directory.write("config.yaml", config)?;
        for name in ["state", "run"] {
            fs::create_dir_all(directory.path().join(name))?;
        }
        Ok(Self {
            gateway,
            directory,
            config,
            environment: Vec::new(),
            verbose: false,
            daemon: None,
        })
    }

    /// Gives daemons that are started from now on a variable.
    pub fn set_variable(&mut self, name: &'static str, value: impl Into<OsString>) {
        self.environment.push((name, value.into()));
    }

    /// Has daemons that are started from now on log what they do.
    pub const fn be_verbose(&mut self) {
        self.verbose = true;
    }

    /// The configuration file.
    #[must_use]
    pub fn config(&self) -> &Path {
        &self.config
    }

    /// The directory of the control socket.
    #[must_use]
    pub fn runtime_directory(&self) -> PathBuf {
        self.directory.path().join("run")
    }

    /// Replaces the configuration file.
    pub fn configure(&self, config: &str) -> Result<()> {
        fs::write(&self.config, config).context("cannot write the configuration")
    }

    /// Directory of the pins.
    #[must_use]
    pub fn pins(&self) -> PathBuf {
        self.directory.bpffs().join("pins")
    }

    /// A command of the binary, on the gateway, with this filter's paths.
    pub fn command(&self, arguments: &[&str]) -> Result<Command> {
        Ok(self.with_paths(self.gateway.command(binary()?), arguments))
    }

    /// A command that names no configuration file, on the gateway, with this filter's directories.
    pub fn command_in_force(&self, arguments: &[&str]) -> Result<Command> {
        let mut command = self.with_directories(self.gateway.command(binary()?));
        command.arg("--json").args(arguments);
        Ok(command)
    }

    /// A command that names another configuration file, on the gateway, with this filter's directories.
    pub fn command_under(&self, file: &Path, arguments: &[&str]) -> Result<Command> {
        let mut command = self.command_in_force(arguments)?;
        command.arg("--config").arg(file);
        Ok(command)
    }

    fn with_paths(&self, command: Command, arguments: &[&str]) -> Command {
        let mut command = self.with_directories(command);
        command.arg("--config").arg(&self.config);
        command.args(arguments);
        command
    }

    fn with_directories(&self, mut command: Command) -> Command {
        let path = self.directory.path();
        command.arg("--state-dir").arg(path.join("state"));
        command.arg("--runtime-dir").arg(path.join("run"));
        command.arg("--pin-dir").arg(self.pins());
        command
    }

    /// Command line of [`Self::command`], as a user types it.
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
        json_of(&mut self.command(&[&["--json"], arguments].concat())?)
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

    /// Starts the daemon, which has to fail, without some of root's capabilities, given by name.
    pub fn fail_to_start_without(&self, capabilities: &[&str]) -> Result<(Option<i32>, String)> {
        let less: Vec<String> = capabilities.iter().map(|name| format!("-{name}")).collect();
        let mut command = self.gateway.command("setpriv");
        command.arg(format!("--bounding-set={}", less.join(","))).arg("--inh-caps=-all");
        command.arg("--").arg(binary()?);
        let output = self.with_paths(command, &["run"]).output()?;
        let text = [output.stdout, output.stderr].concat();
        Ok((output.status.code(), String::from_utf8_lossy(&text).into_owned()))
    }

    fn spawn(&self, name: &str) -> Result<Daemon> {
        let log = Arc::default();
        let socket = self.directory.path().join(format!("notify-{name}"));
        let notifications = Notifications::listen(socket.clone(), Arc::clone(&log))?;
        let run: &[&str] = if self.verbose { &["--verbose", "run"] } else { &["run"] };
        let mut command = self.command(run)?;
        command.env("NOTIFY_SOCKET", socket);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
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

    /// Output of the daemon.
    #[must_use]
    pub fn output(&self) -> String {
        self.daemon.as_ref().map(|daemon| daemon.process.output()).unwrap_or_default()
    }

    /// Packets by reason, as `status` tells them.
    pub fn counters(&self) -> Result<Counters> {
        let status = self.json(&["status"])?;
        let counters = status["counters"].as_object().context("status has no counters")?;
        let counters = counters.iter().map(|(reason, count)| {
            let count = count.as_u64().with_context(|| format!("{reason}: no number"))?;
            Ok((reason.clone(), count))
        });
        counters.collect()
    }
}

/// Runs a command that prints JSON. Its exit code has to be 0, or 4, which is a "no".
pub fn json_of(command: &mut Command) -> Result<Value> {
    let output = command.output().context("cannot run intune-filter")?;
    let [text, errors] = [&output.stdout, &output.stderr].map(|t| String::from_utf8_lossy(t));
    let what = || format!("{:?}", command.get_args().collect::<Vec<_>>());
    ensure!(
        matches!(output.status.code(), Some(0 | 4)),
        "intune-filter {}: {}: {text}{errors}",
        what(),
        output.status,
    );
    serde_json::from_str(&text)
        .with_context(|| format!("intune-filter {} prints no JSON: {text}{errors}", what()))
}

/// A daemon that was started, and what it tells systemd.
#[derive(Debug)]
struct Daemon {
    process: Process,
    _notifications: Notifications,
}
