//! Lints, then every test of the workspace as root, some of them on another kernel too, a quick
//! benchmark, and one count of them all.

use std::ffi::OsString;

use anyhow::{Result, bail};
use clap::Args;

use crate::{
    bench, command, faults, form, lint,
    runner::{Count, cargo_as_root, counted},
    setup::{self, Scope},
    soak, vm,
    workspace::{self, Profile},
};

/// Options of `test`.
#[derive(Args)]
pub(crate) struct Options {
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
    /// Run everything at once for this long: traffic, reloads, ends of the daemon, interfaces that
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
    /// The long form of everything: more random cases and rounds, every usual kernel in full, all
    /// faults, an hour of soak, the whole benchmark. With names of tests the long form of those
    #[arg(long)]
    #[arg(conflicts_with_all = ["vm", "no_vm", "quick", "rounds", "cases", "soak", "no_bench", "faults"])]
    all: bool,
    /// A part of the names of tests, or other words for `cargo test`, as in `-p intune-filter-tests
    /// --test learning -- first_packet --nocapture`: runs those alone, without lints. For virtual
    /// machines runners, or parts of the names of tests, as in `--vm 6.1 -- devices`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

/// Checks format and lints, then runs the tests; those that are named alone, without lints.
pub(crate) fn run(options: &Options) -> Result<()> {
    if let (Some(minutes), None) = (options.soak, &options.vm) {
        return soak::run(minutes, options.seed);
    }
    if let Some(names) = &options.faults {
        return faults::run(names);
    }
    if let Some(versions) = &options.vm {
        let tests = options.arguments.iter().map(|word| word.to_string_lossy().into_owned());
        return vm::run(vm::VmOptions {
            versions: versions.clone(),
            tests: tests.collect(),
            quick: options.quick,
            soak: options.soak.map(|minutes| vm::Soak { minutes, seed: options.seed }),
        });
    }
    // Who asks for some tests asks for those alone.
    let everything = options.arguments.is_empty();
    let form = if options.all { &form::LONG } else { &form::SHORT };
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
    form.tell(&mut cargo);
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
        let guest = if form.every_kernel { vm::run_usual()? } else { vm::run_oldest()? };
        // What this kernel lacks the devices for is what the other one has just run.
        count.ignored = 0;
        count += guest;
    }
    if everything && form.faults {
        println!("\ntests: {count}");
        count += outcome("faults", faults::run(&[]));
    }
    if let Some(minutes) = form.soak.filter(|_| everything) {
        println!("\ntests: {count}");
        count += outcome("soak", soak::run(minutes, None));
    }
    // Last: nothing else is to run meanwhile.
    if bench {
        println!("\ntests: {count}");
        count += bench::check(form.whole_bench)?;
    }
    println!("\n{count}");
    if !elsewhere {
        println!("LEFT OUT: Linux {} in a virtual machine, and what is ignored here", vm::OLDEST);
    }
    if !status.success() {
        bail!("`{}` failed ({status})", command::line(&cargo));
    }
    if count.failed > 0 {
        bail!("tests failed on another kernel, faults were not found, or goals are out by twice");
    }
    if count.passed == 0 {
        bail!("no test ran");
    }
    Ok(())
}

/// Count of a part that is one test, and whose failure does not keep the next part from running.
fn outcome(what: &str, result: Result<()>) -> Count {
    match result {
        Ok(()) => Count { passed: 1, ..Count::default() },
        Err(error) => {
            println!("{what}: FAILED: {error:#}");
            Count { failed: 1, ..Count::default() }
        }
    }
}
