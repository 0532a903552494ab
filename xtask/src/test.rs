//! Lints, then every test of the workspace as root, some of them on another kernel too, a quick
//! benchmark, and one count of them all.

use std::{
    env,
    ffi::OsString,
    fmt,
    io::{BufRead, BufReader, Write},
    ops::AddAssign,
    process::{Command, ExitStatus, Stdio},
};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::{
    bench, command, faults, lint,
    setup::{self, Scope},
    soak, vm,
    workspace::{self, Profile},
};

/// How to test.
#[derive(Args)]
pub struct Options {
    /// Rounds of resolving and connecting in which no first packet may be lost
    #[arg(long)]
    rounds: Option<u32>,
    /// Instead of this machine's kernel, test on Debian's, in virtual machines: such as `6.1`,
    /// `6.12`, or `newest`; without a version on each that is usual
    #[arg(long, value_name = "VERSION", num_args = 0..)]
    vm: Option<Vec<String>>,
    /// In virtual machines: only whether the programs load, and how they judge tables of packets
    #[arg(long, requires = "vm", conflicts_with = "arguments")]
    quick: bool,
    /// On this machine's kernel alone: what needs devices that it lacks is then not tested
    #[arg(long, conflicts_with = "vm")]
    no_vm: bool,
    /// For so many minutes everything at once: traffic, reloads, ends of the daemon, interfaces that
    /// go and return, resolver outages, full tables; a model of its own judges every packet. With
    /// `--vm` in virtual machines, whose wall clocks are set meanwhile
    #[arg(long, value_name = "MINUTES", conflicts_with_all = ["quick", "rounds", "cases", "arguments"])]
    soak: Option<f64>,
    /// Repeats the random choices of an earlier soak
    #[arg(long, requires = "soak")]
    seed: Option<u64>,
    /// Without the quick benchmark, whose goals count as tests
    #[arg(long, conflicts_with_all = ["vm", "soak"])]
    no_bench: bool,
    /// Random cases of each test that makes them up: frames, DNS exchanges
    #[arg(long)]
    cases: Option<u64>,
    /// Plants faults into a copy of the sources, one at a time, these or all: random DNS streams over
    /// TCP have to find each
    #[arg(long, value_name = "NAME", num_args = 0..)]
    #[arg(conflicts_with_all = ["vm", "soak", "quick", "rounds", "cases", "arguments"])]
    faults: Option<Vec<String>>,
    /// Passed on to `cargo test`, which runs those alone and without lints, as in
    /// `-p intune-filter-tests --test first_packet -- --nocapture`; for virtual machines the names of runners, as in `--vm 6.1 -- devices`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

/// Checks format and lints, then runs the tests; those that are named alone, without lints.
pub fn run(options: &Options) -> Result<()> {
    if let (Some(minutes), None) = (options.soak, &options.vm) {
        return soak::run(minutes, options.seed);
    }
    if let Some(names) = &options.faults {
        return faults::run(names);
    }
    if let Some(versions) = &options.vm {
        let runners = options.arguments.iter().map(|name| name.to_string_lossy().into_owned());
        return vm::run(vm::Wanted {
            versions: versions.clone(),
            runners: runners.collect(),
            quick: options.quick,
            soak: options.soak.map(|minutes| vm::Soak { minutes, seed: options.seed }),
        });
    }
    // Who asks for some tests asks for those alone.
    let everything = options.arguments.is_empty();
    let (elsewhere, bench) = (everything && !options.no_vm, everything && !options.no_bench);
    setup::run(if bench { Scope::Benchmarks } else { Scope::Everything })?;
    if elsewhere {
        vm::set_up()?;
    }
    if everything {
        lint::run()?;
    }
    // Built here, as the user who asks: tests that called cargo as root would leave root's files
    // among the user's.
    workspace::build(Profile::Debug, &["intune-filter"])?;
    let mut cargo = cargo_as_root()?;
    cargo.arg("--no-fail-fast");
    cargo.env("INTUNE_FILTER", workspace::program(Profile::Debug, "intune-filter")?);
    cargo.args(&options.arguments);
    if let Some(rounds) = options.rounds {
        cargo.env("INTUNE_ROUNDS", rounds.to_string());
    }
    if let Some(cases) = options.cases {
        cargo.env("INTUNE_CASES", cases.to_string());
    }
    let (mut count, status) = counted(&mut cargo)?;
    if !status.success() {
        // A runner that died, or did not compile, has counted nothing.
        count.failed = count.failed.max(1);
    }
    if elsewhere {
        println!("\nthis machine's kernel: {count}");
        let guest = vm::run_oldest()?;
        // What this kernel lacks the devices for is what the other one has just run.
        count.ignored = 0;
        count += guest;
    }
    // Last: nothing else is to run meanwhile.
    if bench {
        println!("\ntests: {count}");
        count += bench::check()?;
    }
    println!("\n{count}");
    if !elsewhere {
        println!("LEFT OUT: Linux {} in a virtual machine, and what is ignored here", vm::OLDEST);
    }
    if !status.success() {
        bail!("`{}` failed ({status})", command::line(&cargo));
    }
    if count.failed > 0 {
        bail!("tests failed on another kernel, or goals are out by twice");
    }
    if count.passed == 0 {
        bail!("no test ran");
    }
    Ok(())
}

/// A `cargo test` whose tests run as root.
pub fn cargo_as_root() -> Result<Command> {
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
pub fn counted(command: &mut Command) -> Result<(Count, ExitStatus)> {
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
pub struct Count {
    /// Passed ones.
    pub passed: u32,
    /// Failed ones.
    pub failed: u32,
    /// Those that did not run.
    pub ignored: u32,
}

impl Count {
    /// Adds what a runner's closing line says; any other line says nothing.
    pub fn read(&mut self, line: &str) {
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
