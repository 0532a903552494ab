//! The tests that run in the machine, built, and the shared libraries of a program.

#![expect(clippy::indexing_slicing, reason = "what is not in JSON is null")]

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::suite::{Runner, Suite};
use crate::{
    command::{self, say},
    workspace::{self, Profile},
};

/// A runner of tests, and what it is told.
pub(super) struct Test {
    /// The name that cargo has for it.
    pub name: String,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// The file.
    pub program: PathBuf,
}

/// The runners of all tests, built, and the program that they test.
pub(super) struct Runners(Vec<(String, PathBuf)>);

impl Runners {
    /// Builds them.
    pub(super) fn build() -> Result<Self> {
        workspace::build(Profile::Debug, &["intune-filter"])?;
        let mut cargo = workspace::cargo();
        // Of the whole workspace, as in every other run, so that libraries are built but once.
        cargo.args(["test", "--locked", "--workspace", "--tests", "--no-run"]);
        cargo.arg("--message-format=json-render-diagnostics");
        say(&command::line(&cargo));
        let output = cargo.stderr(Stdio::inherit()).output().context("cannot run cargo")?;
        if !output.status.success() {
            bail!("the tests do not build");
        }
        Ok(Self(runners(&String::from_utf8_lossy(&output.stdout))))
    }

    /// The tests of a suite.
    pub(super) fn tests(&self, suite: &Suite) -> Result<Vec<Test>> {
        let Self(programs) = self;
        let runners = programs
            .iter()
            .map(|(name, program)| Ok(Runner { name: name.clone(), tests: tests_of(program)? }));
        let runs = suite.runs(&runners.collect::<Result<Vec<_>>>()?);
        ensure!(!runs.is_empty(), "no runner and no test has such a name");
        let test = |(name, arguments): (String, Vec<String>)| {
            let program = programs.iter().find(|(runner, _)| *runner == name);
            let (_, program) =
                program.with_context(|| format!("there is no runner {name} among the tests"))?;
            Ok(Test { name, arguments, program: program.clone() })
        };
        runs.into_iter().map(test).collect()
    }
}

/// The names of a runner's tests.
fn tests_of(runner: &Path) -> Result<Vec<String>> {
    let cannot = || format!("cannot list the tests of {}", runner.display());
    let output = Command::new(runner).arg("--list").output().with_context(cannot)?;
    ensure!(output.status.success(), cannot());
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect())
}

/// The integration tests among cargo's messages, by name.
fn runners(messages: &str) -> Vec<(String, PathBuf)> {
    let mut runners: Vec<_> = messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|message| {
            message["reason"] == "compiler-artifact"
                && message["target"]["kind"] == serde_json::json!(["test"])
                && message["manifest_path"]
                    .as_str()
                    .is_some_and(|path| path.ends_with("/tests/Cargo.toml"))
        })
        .filter_map(|message| {
            let name = message["target"]["name"].as_str()?.to_owned();
            Some((name, PathBuf::from(message["executable"].as_str()?)))
        })
        .collect();
    runners.sort();
    runners
}

/// The shared libraries that a program runs with, its loader among them.
pub(super) fn libraries(program: &Path) -> Result<Vec<PathBuf>> {
    let output = Command::new("ldd").arg(program).output().context("cannot run ldd")?;
    let lines = String::from_utf8_lossy(&output.stdout).into_owned();
    if lines.contains("not found") {
        bail!("{} lacks a library:\n{lines}", program.display());
    }
    let paths = lines.split_whitespace().filter(|word| word.starts_with('/'));
    Ok(paths.map(PathBuf::from).collect())
}

/// A copy of a program without what only a debugger reads: a tenth of the size.
pub(super) fn stripped(program: &Path) -> Result<Vec<u8>> {
    let copy = workspace::target()?.join("vm/stripped");
    let mut strip = Command::new("strip");
    strip.args([OsStr::new("--strip-debug"), OsStr::new("-o"), copy.as_ref(), program.as_ref()]);
    if !strip.status().context("cannot run strip")?.success() {
        bail!("cannot strip {}", program.display());
    }
    fs::read(&copy).with_context(|| format!("cannot read {}", copy.display()))
}
