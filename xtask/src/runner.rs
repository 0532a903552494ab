//! Runners of tests: cargo as root, and the count of what they say.

use std::{
    env, fmt,
    io::{BufRead, BufReader, Write},
    ops::AddAssign,
    process::{Command, ExitStatus, Stdio},
};

use anyhow::{Context, Result};

use crate::{command, workspace};

/// A `cargo test` whose tests run as root.
pub(crate) fn cargo_as_root() -> Result<Command> {
    let mut cargo = workspace::cargo();
    cargo.args(["test", "--locked"]);
    cargo.env("INTUNE_XTASK", env::current_exe().context("cannot tell where this program is")?);
    // Programs are loaded and namespaces made: cargo itself need not be root for that.
    let sudo = command::as_root("loading programs and making network namespaces")?;
    if !sudo.is_empty() {
        let words: Vec<String> =
            sudo.iter().chain(&["-E"]).map(|word| format!("\"{word}\"")).collect();
        cargo.arg("--config").arg(format!("target.'cfg(unix)'.runner=[{}]", words.join(",")));
    }
    Ok(cargo)
}

/// Runs a command to its end, shows what it prints, and counts what runners of tests say in it.
pub(crate) fn counted(command: &mut Command) -> Result<(Count, ExitStatus)> {
    let line = command::line(command);
    command::say(&line);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run `{line}`"))?;
    let mut count = Count::default();
    let output =
        child.stdout.take().with_context(|| format!("the output of `{line}` is a pipe"))?;
    for text in BufReader::new(output).split(b'\n') {
        let text = text.with_context(|| format!("cannot read what `{line}` prints"))?;
        count.read(&String::from_utf8_lossy(&text));
        let mut stdout = std::io::stdout().lock();
        stdout.write_all(&text).and_then(|()| stdout.write_all(b"\n"))?;
    }
    Ok((count, child.wait()?))
}

/// The tests of all runners so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Count {
    /// Passed ones.
    pub passed: u32,
    /// Failed ones.
    pub failed: u32,
    /// Ignored ones.
    pub ignored: u32,
}

impl Count {
    /// Adds what a runner's closing line says; any other line says nothing.
    pub(crate) fn read(&mut self, line: &str) {
        let Some((_, counts)) =
            line.strip_prefix("test result: ").and_then(|rest| rest.split_once(". "))
        else {
            return;
        };
        for part in counts.split("; ") {
            match part.split_once(' ') {
                Some((number, "passed")) => self.passed += number.parse().unwrap_or(0),
                Some((number, "failed")) => self.failed += number.parse().unwrap_or(0),
                Some((number, "ignored")) => self.ignored += number.parse().unwrap_or(0),
                _ => {}
            }
        }
    }
}

impl AddAssign for Count {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.ignored += other.ignored;
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)?;
        if self.ignored > 0 {
            write!(f, ", {} ignored", self.ignored)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counts_of_all_runners_are_added_up() {
        let mut count = Count::default();
        for line in [
            "running 3 tests",
            "test a ... ok",
            "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; \
             finished in 0.00s",
            "test result: FAILED. 12 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; \
             finished in 1.20s",
            "a line that says 7 passed; 7 failed",
        ] {
            count.read(line);
        }
        assert_eq!(count, Count { passed: 15, failed: 2, ignored: 1 });
        assert_eq!(count.to_string(), "15 passed, 2 failed, 1 ignored");
    }
}
