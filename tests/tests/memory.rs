//! What `check` says of the memory that maps take, held against the kernel's own accounting.

use std::{
    collections::BTreeMap,
    fs,
    os::fd::{AsFd as _, AsRawFd as _},
};

use anyhow::{Context as _, Result, ensure};
use intune_filter::{
    catalogue::Catalogue,
    config::{Config, Maps},
    daemon::setup::sizes,
    kernel::{self, PinDirectory},
    policy::{RuleBits, compile, map_memory},
};
use intune_filter_tests::{directory::Directory, site};

/// The maps that the kernel fills: all but a few of the octets that an instance takes.
const FILLED: [&str; 12] = [
    "HOSTS4",
    "HOSTS6",
    "HOSTS_ORDER4",
    "HOSTS_ORDER6",
    "FLOWS4",
    "FLOWS6",
    "NEW_FLOWS4",
    "NEW_FLOWS6",
    "DNS_PENDING",
    "CLIENT_LIMITS",
    "FRAGMENTS",
    "EVENTS",
];

#[test]
fn the_kernel_accounts_for_no_more_than_check_says() -> Result<()> {
    let directory = Directory::create()?;
    let maps = Maps::default();
    let pins = PinDirectory::new(directory.bpffs());
    let kernel = kernel::load(pins, &sizes(&maps), log::LevelFilter::Off)?;
    let config = Config::parse("config.yaml", site::CONFIG).map_err(anyhow::Error::new)?;
    let policy = compile(&config, Catalogue::builtin(), &RuleBits::new())?;
    let said: BTreeMap<_, _> =
        map_memory(&maps, &policy, 1).into_iter().map(|map| (map.name, map.bytes)).collect();
    let (mut said_in_all, mut taken_in_all) = (0, 0);
    for name in FILLED {
        let map = kernel.pins().data(name)?;
        let fd = map.fd().as_fd().as_raw_fd();
        let info = fs::read_to_string(format!("/proc/self/fdinfo/{fd}"))?;
        let taken = info.lines().find_map(|line| line.strip_prefix("memlock:"));
        let taken: u64 = taken.context("the kernel does not say")?.trim().parse()?;
        let said = *said.get(name).with_context(|| format!("check says nothing of {name}"))?;
        println!("{name}: check says {said}, the kernel {taken}");
        said_in_all += said;
        taken_in_all += taken;
    }
    println!("in all: check says {said_in_all}, the kernel {taken_in_all}");
    ensure!(taken_in_all <= said_in_all, "the kernel takes more: {taken_in_all}");
    ensure!(said_in_all <= taken_in_all / 4 * 5, "check says far more: {said_in_all}");
    Ok(())
}
