//! Tests on other kernels: Debian's, each in a virtual machine that QEMU emulates.
//!
//! Nothing is installed: emulator, kernels and what the machine runs are packages that are
//! unpacked beneath the directory of cargo's products. The machine has no disk and no network, and
//! tells its results on a serial line.

mod archive;
mod guest;
mod initramfs;
mod kernel;
mod machine;
mod modules;
mod programs;
mod suite;

use std::{env, path::PathBuf};

use anyhow::{Context, Result, bail};

use crate::{
    command::say,
    setup::{self, Scope},
    test::Count,
    workspace,
};
use archive::Archive;
use kernel::Kernel;
use machine::Report;
use suite::Suite;

/// The oldest kernel that the programs run on: a part of every test run.
pub const OLDEST: &str = "6.1";

/// Runs the runners of these names, or every test that a machine can run, on the newest kernel of
/// each version, such as `6.1`, or `newest`.
pub fn run(versions: &[String], runners: &[String]) -> Result<()> {
    setup::run(Scope::Everything)?;
    let suite = if runners.is_empty() { Suite::Full } else { Suite::Only(runners.to_vec()) };
    let count = test(&Fetched::fetch(versions)?, &suite)?;
    println!("\n{count}");
    if count.failed > 0 { bail!("tests failed") } else { Ok(()) }
}

/// Runs the short suite on the oldest kernel.
pub fn run_oldest() -> Result<Count> {
    test(&fetch_oldest()?, &Suite::Short)
}

/// Fetches what [`run_oldest`] needs, unless it is here.
pub fn set_up() -> Result<()> {
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

/// What comes from the archive.
struct Fetched {
    directory: PathBuf,
    emulator: PathBuf,
    busybox: PathBuf,
    kernels: Vec<(String, Kernel)>,
}

impl Fetched {
    fn fetch(versions: &[String]) -> Result<Self> {
        if env::consts::ARCH != "x86_64" {
            bail!("the machines are x86_64, and cannot run tests for {}", env::consts::ARCH);
        }
        let directory = workspace::target()?.join("vm");
        let archive = Archive::open(&directory.join("archive"))?;
        let kernels = versions
            .iter()
            .map(|version| Ok((version.clone(), Kernel::fetch(&archive, version, &directory)?)));
        Ok(Self {
            kernels: kernels.collect::<Result<_>>()?,
            emulator: archive.tree("qemu-system-x86", &directory.join("qemu"))?,
            busybox: archive.package("busybox-static", &directory.join("busybox"))?,
            directory,
        })
    }
}

/// The tests of all machines. One that did not come to its end counts as a failure.
fn test(fetched: &Fetched, suite: &Suite) -> Result<Count> {
    let tests = programs::build(suite)?;
    let mut results = Vec::new();
    for (version, kernel) in &fetched.kernels {
        let image = fetched.directory.join(format!("initramfs-{version}"));
        guest::write(&image, &fetched.busybox.join("bin/busybox"), kernel, &tests)?;
        say(&format!("Linux {version}: {}, on an emulated processor", kernel.release));
        let report = machine::boot(&fetched.emulator, kernel, &image, version)?;
        results.push((version, &kernel.release, report));
    }

    let mut all = Count::default();
    println!();
    for (version, release, report) in &results {
        println!("Linux {version} ({release}): {}", report.count);
        for line in &report.figures {
            println!("    {line}");
        }
        all += judged(report);
    }
    Ok(all)
}

/// What a machine counts for.
fn judged(report: &Report) -> Count {
    let mut count = report.count;
    if let Some(reason) = report.reason() {
        println!("    {reason}");
        count.failed = count.failed.max(1);
    }
    count
}
