//! Memory of the maps by `check`, held against the kernel's own accounting.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::fd::{AsFd as _, AsRawFd as _},
};

use anyhow::{Context as _, Result, ensure};
use aya::{
    maps::{MapData, MapType},
    programs::{SchedClassifier, Xdp},
};
use aya_obj::programs::XdpAttachType;
use intune_filter::{
    catalogue::Catalogue,
    config::{Config, MapSizes},
    kernel::{self, Hook, PinDirectory},
    policy::{RuleBits, compile, map_memory, map_sizes},
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

/// Octets of all maps that are too small to be told of.
const UNTOLD: u64 = 64 << 10;

/// Octets that the kernel accounts for a map.
fn taken(map: &MapData) -> Result<u64> {
    let fd = map.fd().as_fd().as_raw_fd();
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{fd}"))?;
    let taken = info.lines().find_map(|line| line.strip_prefix("memlock:"));
    Ok(taken.context("the kernel does not say")?.trim().parse()?)
}

/// None of the maps that the programs use is forgotten.
#[test]
fn check_tells_of_every_map() -> Result<()> {
    let directory = Directory::create()?;
    let maps = MapSizes::default();
    let pins = PinDirectory::new(directory.bpffs());
    let mut kernel =
        kernel::load(pins.clone(), &map_sizes(&maps), log::LevelFilter::Off, &Hook::ALL)?;
    kernel.pin_programs()?;
    kernel::load_explain(&pins, &map_sizes(&maps), log::LevelFilter::Off)?;
    let config = Config::parse("config.yaml", site::CONFIG).map_err(anyhow::Error::new)?;
    let policy = compile(&config, Catalogue::builtin(), &RuleBits::new())?;
    let cpus = u32::try_from(aya::util::nr_cpus().map_err(|(_, error)| error)?)?;
    let said = map_memory(&maps, &policy, cpus);
    let xdp = XdpAttachType::Interface;
    let programs = [
        Xdp::from_pin(pins.program(Hook::Ingress.program()), xdp)?.info()?,
        Xdp::from_pin(pins.program("explain"), xdp)?.info()?,
        SchedClassifier::from_pin(pins.program(Hook::TcIngress.program()))?.info()?,
        SchedClassifier::from_pin(pins.program(Hook::Egress.program()))?.info()?,
    ];
    let mut ids = BTreeSet::new();
    for program in programs {
        ids.extend(program.map_ids()?.context("the kernel tells no maps")?);
    }
    ensure!(ids.len() > FILLED.len() + 20, "only {} maps", ids.len());
    let mut untold = 0;
    for id in ids {
        let map = MapData::from_id(id)?;
        let info = map.info()?;
        let name = info.name_as_str().context("a map has a name")?.to_owned();
        // The kernel keeps fifteen octets of a name.
        let said = said.iter().find(|map| map.name.get(..15).unwrap_or(map.name) == name);
        match said {
            // A policy's maps are in it.
            _ if info.map_type()? == MapType::ArrayOfMaps => untold += taken(&map)?,
            Some(said) => {
                let taken = taken(&map)?;
                ensure!(
                    taken <= said.bytes,
                    "{name}: check says {}, and it is {taken}",
                    said.bytes
                );
            }
            None => {
                println!("{name}: {} octets that check does not tell of", taken(&map)?);
                untold += taken(&map)?;
            }
        }
    }
    ensure!(untold <= UNTOLD, "{untold} octets are not told of");
    Ok(())
}

#[test]
fn the_kernel_accounts_for_no_more_than_check_says() -> Result<()> {
    let directory = Directory::create()?;
    let maps = MapSizes::default();
    let pins = PinDirectory::new(directory.bpffs());
    let kernel = kernel::load(pins, &map_sizes(&maps), log::LevelFilter::Off, &Hook::ALL)?;
    let config = Config::parse("config.yaml", site::CONFIG).map_err(anyhow::Error::new)?;
    let policy = compile(&config, Catalogue::builtin(), &RuleBits::new())?;
    let said: BTreeMap<_, _> =
        map_memory(&maps, &policy, 1).into_iter().map(|map| (map.name, map.bytes)).collect();
    let (mut said_in_all, mut taken_in_all) = (0, 0);
    for name in FILLED {
        let map = kernel.pins().data(name)?;
        let taken = taken(&map)?;
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
