//! Tests on other kernels: Debian's, each in a virtual machine that QEMU emulates.
//!
//! Nothing is installed: emulator, kernels and what the machine runs are packages that are
//! unpacked beneath the directory of cargo's products. The machine has no disk and no network, and
//! tells its results on a serial line.

mod archive;
mod figures;
mod guest;
mod initramfs;
mod kernel;
mod machine;
mod modules;
mod programs;
mod suite;

use std::{
    env,
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail};

use crate::{
    command::say,
    runner::Count,
    setup::{self, Scope},
    workspace::{self, Profile},
};
use archive::{Archive, OLD_SUITES, SUITES};
use kernel::{KernelPackage, is_older};
use machine::{PROCESSORS, Report, SOAK};
use programs::{Runners, Test};
use suite::Suite;

/// The oldest kernel that the programs run on: a part of every test run.
pub(crate) const OLDEST: &str = "6.1";

/// Versions of a run that names none: a kernel that is refused, Debian's stable ones, and the
/// newest of its backports. Kernels before 6.6 attach egress by clsact, the others by TCX.
const MATRIX: [&str; 4] = ["5.10", OLDEST, "6.12", "newest"];

/// Options of a run in virtual machines: tests and kernels.
pub(crate) struct VmOptions {
    /// Versions such as `6.1`, or `newest`; none of them stands for all that are usual.
    pub versions: Vec<String>,
    /// Runners, or parts of the names of tests; none stands for every test that a machine can run.
    pub tests: Vec<String>,
    /// Only whether the programs load, are attached and judge.
    pub quick: bool,
    /// In place of tests, the soak.
    pub soak: Option<Soak>,
}

/// A soak of a machine, whose wall clock it sets too.
#[derive(Clone, Copy)]
pub(crate) struct Soak {
    /// Duration.
    pub minutes: f64,
    /// Repeats the random choices of an earlier one.
    pub seed: Option<u64>,
}

/// Runs the tests on the newest kernel of each version.
pub(crate) fn run(options: VmOptions) -> Result<()> {
    setup::run(Scope::Everything)?;
    let VmOptions { mut versions, tests, quick, soak } = options;
    if versions.is_empty() {
        versions = MATRIX.map(str::to_owned).into();
        // One that is refused enforces nothing.
        versions.retain(|version| soak.is_none() || !is_older(version, OLDEST));
    }
    let fetched = Fetched::fetch(&versions)?;
    let count = if let Some(soak) = soak {
        soaked(&fetched, soak)?
    } else {
        let suite = match (quick, tests.is_empty()) {
            (true, true) => Suite::Quick,
            (false, true) => Suite::Full,
            _ => Suite::Only(tests),
        };
        test(&fetched, &suite)?
    };
    println!("\n{count}");
    if count.failed > 0 { bail!("tests failed") } else { Ok(()) }
}

/// Runs the short suite on the oldest kernel.
pub(crate) fn run_oldest() -> Result<Count> {
    test(&fetch_oldest()?, &Suite::Short)
}

/// Runs all that a machine can run on every usual kernel.
pub(crate) fn run_usual() -> Result<Count> {
    test(&Fetched::fetch(&MATRIX.map(str::to_owned))?, &Suite::Full)
}

/// Fetches what [`run_oldest`] needs, unless it is here.
pub(crate) fn set_up() -> Result<()> {
    fetch_oldest().map(drop)
}

fn fetch_oldest() -> Result<Fetched> {
    Fetched::fetch(&[OLDEST.to_owned()]).with_context(|| {
        format!(
            "there is no virtual machine with Linux {OLDEST} to test on (`cargo xtask test \
             --no-vm` tests without)"
        )
    })
}

/// Emulator and kernels, fetched from the archive.
struct Fetched {
    directory: PathBuf,
    emulator: PathBuf,
    busybox: PathBuf,
    kernels: Vec<(String, KernelPackage)>,
}

impl Fetched {
    fn fetch(versions: &[String]) -> Result<Self> {
        if env::consts::ARCH != "x86_64" {
            bail!("the machines are x86_64, and cannot run tests for {}", env::consts::ARCH);
        }
        let directory = workspace::target()?.join("vm");
        let archive = Archive::open(&directory.join("archive"), SUITES)?;
        let kernels = versions.iter().map(|version| {
            let kernel = if is_older(version, OLDEST) {
                let archive = Archive::open(&directory.join("archive-old"), OLD_SUITES)?;
                KernelPackage::fetch(&archive, version, &directory)?
            } else {
                KernelPackage::fetch(&archive, version, &directory)?
            };
            Ok((version.clone(), kernel))
        });
        Ok(Self {
            kernels: kernels.collect::<Result<_>>()?,
            emulator: archive.tree("qemu-system-x86", &directory.join("qemu"))?,
            busybox: archive.package("busybox-static", &directory.join("busybox"))?,
            directory,
        })
    }
}

/// Longest time from a machine's start to its last line.
const PATIENCE: Duration = Duration::from_secs(3 * 3600);

/// The tests of all machines.
fn test(fetched: &Fetched, suite: &Suite) -> Result<Count> {
    let runners = Runners::build()?;
    let tests = |kernel: &KernelPackage| {
        let old = is_older(&kernel.release, OLDEST);
        runners.tests(if old { &Suite::Refusal } else { suite })
    };
    let filter = workspace::program(Profile::Debug, "intune-filter")?;
    boot(fetched, &filter, tests, PATIENCE)
}

/// The soak in all machines.
fn soaked(fetched: &Fetched, soak: Soak) -> Result<Count> {
    workspace::build(Profile::Release, &["intune-filter", "soak"])?;
    let mut arguments = vec![soak.minutes.to_string(), "--slow".into(), "--clock-steps".into()];
    arguments.extend(soak.seed.map(|seed| format!("--seed={seed}")));
    let program = workspace::program(Profile::Release, "soak")?;
    let tests = |_: &KernelPackage| {
        let (arguments, program) = (arguments.clone(), program.clone());
        Ok(vec![Test { name: SOAK.to_owned(), arguments, program }])
    };
    let filter = workspace::program(Profile::Release, "intune-filter")?;
    boot(fetched, &filter, tests, PATIENCE + Duration::from_secs_f64(60.0 * soak.minutes))
}

/// Runs all machines, as many at once as there are processors for, and shows a line for each. One
/// that did not come to its end counts as a failure.
fn boot(
    fetched: &Fetched,
    filter: &Path,
    tests: impl Fn(&KernelPackage) -> Result<Vec<Test>>,
    patience: Duration,
) -> Result<Count> {
    let mut machines = Vec::new();
    for (version, kernel) in &fetched.kernels {
        let image = fetched.directory.join(format!("initramfs-{version}"));
        let busybox = fetched.busybox.join("bin/busybox");
        guest::write(&image, &busybox, kernel, filter, &tests(kernel)?)?;
        machines.push((version, kernel, image));
    }

    let at_once = thread::available_parallelism().map_or(1, |cpus| cpus.get() / PROCESSORS).max(1);
    let next = AtomicUsize::new(0);
    let reports: Vec<Mutex<Option<Result<Report>>>> =
        machines.iter().map(|_| Mutex::default()).collect();
    let work = || {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let (Some((version, kernel, image)), Some(report)) =
                (machines.get(number), reports.get(number))
            else {
                return;
            };
            say(&format!("Linux {version}: {}, on an emulated processor", kernel.release));
            let told = machine::boot(&fetched.emulator, kernel, image, version, patience);
            *report.lock().unwrap_or_else(PoisonError::into_inner) = Some(told);
        }
    };
    thread::scope(|scope| {
        for _ in 0..at_once.min(machines.len()) {
            scope.spawn(work);
        }
    });

    let mut all = Count::default();
    println!();
    for ((version, kernel, _), report) in machines.iter().zip(reports) {
        let report = report.into_inner().unwrap_or_else(PoisonError::into_inner);
        let report = report.context("a machine was left out")??;
        println!("Linux {version} ({}): {report}", kernel.release);
        all += judged(&report);
    }
    Ok(all)
}

/// Count of a machine's tests.
fn judged(report: &Report) -> Count {
    let mut count = report.count;
    if let Some(reason) = report.reason() {
        println!("    {reason}");
        count.failed = count.failed.max(1);
    }
    count
}
