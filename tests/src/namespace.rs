//! A network namespace of the testbed: made, entered, and removed when dropped.

use std::{
    ffi::OsStr,
    fs::File,
    io::Write as _,
    panic::resume_unwind,
    process::{Command, Stdio},
    thread,
};

use anyhow::{Context as _, Result, bail, ensure};
use nix::sched::{CloneFlags, setns};

/// Directory of iproute2's names.
pub const NAMES: &str = "/run/netns";

/// A named network namespace, deleted on drop.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    handle: File,
}

impl Namespace {
    /// Makes a namespace, with loopback up.
    pub fn create(name: &str) -> Result<Self> {
        require_root()?;
        run(Command::new("ip").args(["netns", "add", name]))?;
        let handle = File::open(format!("{NAMES}/{name}"))
            .with_context(|| format!("cannot open namespace {name}"))?;
        let namespace = Self { name: name.to_owned(), handle };
        namespace.ip(&["link set lo up"])?;
        Ok(namespace)
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs `f` on a thread inside the namespace, named as the caller's is after its test. Threads
    /// that `f` starts are inside too.
    pub fn run<T: Send>(&self, f: impl FnOnce() -> T + Send) -> T {
        let inside = || {
            setns(&self.handle, CloneFlags::CLONE_NEWNET)
                .expect("root may enter its own namespace");
            f()
        };
        let caller = thread::current();
        let named = thread::Builder::new().name(caller.name().unwrap_or("namespace").to_owned());
        thread::scope(|scope| {
            let thread = named.spawn_scoped(scope, inside).expect("a thread can be started");
            thread.join().unwrap_or_else(|panic| resume_unwind(panic))
        })
    }

    /// A command that runs inside the namespace. Not `ip netns exec`: that mounts another /sys,
    /// which hides the bpffs.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={NAMES}/{}", self.name)).arg("--").arg(program);
        command
    }

    /// Runs commands of `ip`, each a line without the word `ip`.
    pub fn ip(&self, lines: &[impl AsRef<str>]) -> Result<()> {
        let mut command = Command::new("ip");
        command.args(["-netns", &self.name, "-batch", "-"]).stdin(Stdio::piped());
        let mut child = command.stderr(Stdio::piped()).spawn().context("cannot run ip")?;
        if let Some(mut stdin) = child.stdin.take() {
            for line in lines {
                writeln!(stdin, "{}", line.as_ref())?;
            }
        }
        let output = child.wait_with_output()?;
        if !output.status.success() {
            bail!("ip in {}: {}", self.name, String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(())
    }

    /// Sets a value below /proc/sys/net.
    pub fn sysctl(&self, key: &str, value: &str) -> Result<()> {
        // procfs shows the namespace of the thread that opens the file.
        self.run(|| std::fs::write(format!("/proc/sys/net/{key}"), value))
            .with_context(|| format!("cannot set {key} in {}", self.name))
    }

    /// The index of one of its interfaces.
    pub fn ifindex(&self, interface: &str) -> Result<u32> {
        self.run(|| nix::net::if_::if_nametoindex(interface))
            .with_context(|| format!("no interface {interface} in {}", self.name))
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // Nothing to do about a failure: the name may be gone already.
        let _ = run(Command::new("ip").args(["netns", "delete", &self.name]));
    }
}

/// Fails unless the process is root's.
pub fn require_root() -> Result<()> {
    let is_root = nix::unistd::geteuid().is_root();
    ensure!(is_root, "the testbed makes network namespaces: run as root");
    Ok(())
}

/// Runs a command to its end; an error carries what it printed.
pub fn run(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {:?}", command.get_program()))?;
    let text = |octets: &[u8]| String::from_utf8_lossy(octets).trim().to_owned();
    ensure!(
        output.status.success(),
        "{:?} {:?}: {}: {} {}",
        command.get_program(),
        command.get_args().collect::<Vec<_>>(),
        output.status,
        text(&output.stdout),
        text(&output.stderr),
    );
    Ok(text(&output.stdout))
}
