//! Lints, then every test of the workspace as root, and one count of them all.

use std::{
    env,
    ffi::OsString,
    io::{BufRead, BufReader, Write},
    process::Stdio,
};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::{
    command, lint,
    setup::{self, Scope},
    workspace::{self, Profile},
};

/// How to test.
#[derive(Args)]
pub struct Options {
    /// Rounds of resolving and connecting in which no first packet may be lost
    #[arg(long)]
    rounds: Option<u32>,
    /// Passed on to `cargo test`, as in `-p intune-filter-tests --test first_packet -- --nocapture`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

/// Checks format and lints, then runs the tests.
pub fn run(options: &Options) -> Result<()> {
    setup::run(Scope::Everything)?;
    lint::run()?;
    // Built here, as the user who asks: tests that called cargo as root would leave root's files
    // among the user's.
    workspace::build(Profile::Debug, &["intune-filter"])?;
    let mut cargo = workspace::cargo();
    cargo.args(["test", "--locked", "--no-fail-fast"]);
    cargo.env("INTUNE_FILTER", workspace::program(Profile::Debug, "intune-filter")?);
    cargo.env("INTUNE_XTASK", env::current_exe().context("cannot tell where this program is")?);
    // Programs are loaded and namespaces made: cargo itself need not be root for that.
    let sudo = command::as_root("loading programs and making network namespaces")?;
    if !sudo.is_empty() {
        let words: Vec<String> =
            sudo.iter().chain(&["-E"]).map(|word| format!("\"{word}\"")).collect();
        cargo.arg("--config").arg(format!("target.'cfg(unix)'.runner=[{}]", words.join(",")));
    }
    cargo.args(&options.arguments);
    if let Some(rounds) = options.rounds {
        cargo.env("INTUNE_ROUNDS", rounds.to_string());
    }
    let line = command::line(&cargo);
    command::say(&line);

    let mut child = cargo
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run `{line}`"))?;
    let mut count = Count::default();
    let output = child.stdout.take().context("cargo's output is a pipe")?;
    for text in BufReader::new(output).split(b'\n') {
        let text = text.context("cannot read what the tests print")?;
        count.add(&String::from_utf8_lossy(&text));
        let mut stdout = std::io::stdout().lock();
        stdout.write_all(&text).and_then(|()| stdout.write_all(b"\n"))?;
    }
    let status = child.wait()?;
    if !status.success() {
        // A runner that died, or did not compile, has counted nothing.
        count.failed = count.failed.max(1);
    }
    println!("\n{} passed, {} failed", count.passed, count.failed);
    if count.failed > 0 {
        bail!("`{line}` failed ({status})");
    }
    if count.passed == 0 {
        bail!("no test ran");
    }
    Ok(())
}

/// The tests of all runners so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Count {
    passed: u32,
    failed: u32,
}

impl Count {
    /// Adds what a runner's closing line says; any other line says nothing.
    fn add(&mut self, line: &str) {
        let Some((_, counts)) =
            line.strip_prefix("test result: ").and_then(|rest| rest.split_once(". "))
        else {
            return;
        };
        for part in counts.split("; ") {
            match part.split_once(' ') {
                Some((number, "passed")) => self.passed += number.parse().unwrap_or(0),
                Some((number, "failed")) => self.failed += number.parse().unwrap_or(0),
                _ => {}
            }
        }
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
            count.add(line);
        }
        assert_eq!(count, Count { passed: 15, failed: 2 });
    }
}
