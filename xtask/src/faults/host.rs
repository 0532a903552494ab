//! Faults against the tests of the host: all are planted at once, each behind a switch, so that one
//! build serves for all of them.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};

use super::{
    field::Field,
    list::Fault,
    planting::{SWITCH, SWITCHES, switched},
};
use crate::{command, workspace};

/// Random cases of each test that makes them up.
const CASES: &str = "2000";
/// Time that the tests of a runner have. Those of a fault may never end.
const PATIENCE: Duration = Duration::from_secs(180);
/// Runner of unit tests, of DNS, of tables of packets.
const RUNNERS: [&[&str]; 3] = [&["--lib"], &["--test", "dns"], &["--test", "tables"]];

/// Runners of tests with every fault in them.
pub(super) struct HostTests {
    runners: Vec<PathBuf>,
    directory: PathBuf,
}

impl HostTests {
    /// Plants these faults, each behind its switch, and builds the tests.
    pub(super) fn build(field: &Field, faults: &[Fault]) -> Result<Self> {
        let mut files: Vec<&str> = faults.iter().map(|fault| fault.file).collect();
        files.sort_unstable();
        files.dedup();
        for file in files {
            let of_file: Vec<&Fault> = faults.iter().filter(|fault| fault.file == file).collect();
            field.write(file, &switched(&field.read(file)?, &of_file)?)?;
        }
        field.write("lib.rs", &(field.read("lib.rs")? + SWITCHES))?;
        let runners = RUNNERS.iter().map(|runner| executable(field, runner));
        Ok(Self { runners: runners.collect::<Result<_>>()?, directory: field.package() })
    }

    /// Runs the tests, with a fault or without: the first that fails.
    pub(super) fn run(&self, fault: Option<&Fault>) -> Result<Option<String>> {
        for runner in &self.runners {
            if let Some(found) = self.found_by(runner, fault)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }
}

/// Builds a runner of tests; where it is.
fn executable(field: &Field, runner: &[&str]) -> Result<PathBuf> {
    let mut cargo = field.cargo(&["test", "-p", "intune-filter-ebpf", "--no-run"]);
    // The programs are built of the workspace: none is loaded, and switches are for the host.
    cargo.args(runner).env("INTUNE_BPF_OBJECT", object()?);
    let line = command::line(&cargo);
    command::say(&line);
    let output = cargo.output().with_context(|| format!("cannot run `{line}`"))?;
    let text = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "`{line}` failed:\n{text}");
    let path = text.rsplit_once('(').and_then(|(_, rest)| rest.split_once(')'));
    Ok(PathBuf::from(path.with_context(|| format!("`{line}` names no runner"))?.0))
}

/// The programs of the workspace, which building it leaves there.
fn object() -> Result<PathBuf> {
    let path = workspace::target()?
        .join("bpf")
        .join(crate::toolchain::TARGET)
        .join("bpf/intune-filter-bpf");
    ensure!(path.is_file(), "{} is not there: run `cargo xtask build`", path.display());
    Ok(path)
}

impl HostTests {
    /// Runs a runner with a fault: the test that fails, or that none has ended.
    fn found_by(&self, runner: &Path, fault: Option<&Fault>) -> Result<Option<String>> {
        let mut tests = Command::new(runner);
        // As cargo does.
        tests.current_dir(&self.directory);
        tests.env("INTUNE_CASES", CASES).env("PROPTEST_FAILURE_PERSISTENCE", "off");
        tests.env_remove(SWITCH).envs(fault.map(|fault| (SWITCH, fault.name)));
        let log = runner.with_extension("log");
        let file = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let mut child = tests
            .stdin(Stdio::null())
            .stdout(file)
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot run {}", runner.display()))?;
        let begun = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            if begun.elapsed() > PATIENCE {
                child.kill()?;
                child.wait()?;
                return Ok(Some("tests that do not end".to_owned()));
            }
            sleep(Duration::from_millis(20));
        };
        if status.success() {
            return Ok(None);
        }
        let text = fs::read(&log).with_context(|| format!("cannot read {}", log.display()))?;
        let text = String::from_utf8_lossy(&text);
        let failed =
            |line: &str| line.strip_prefix("test ")?.strip_suffix(" ... FAILED").map(str::to_owned);
        match text.lines().filter_map(failed).collect::<Vec<_>>().as_slice() {
            [] if status.code().is_some() => {
                bail!("{} failed, and no test:\n{text}", runner.display())
            }
            [] => Ok(Some(format!("a runner that ends with {status}"))),
            [one] => Ok(Some(one.clone())),
            [first, others @ ..] => Ok(Some(format!("{first} and {} more", others.len()))),
        }
    }
}
