//! Pins that a start finds: taken over, made anew, or refused, never used in the belief that they
//! are something else.

use anyhow::{Context as _, Result};
use aya::maps::{Array, HashMap, MapData};
use intune_filter::kernel::{self, Hook, PinDirectory};
use intune_filter_ebpf::abi::{Active, LAYOUT_VERSION, RuleMask, V4};
use intune_filter_tests::directory::Directory;

const SIZES: [(&str, u32); 2] = [("HOSTS4", 256), ("FLOWS4", 256)];

/// Rules of an address, one in each word of a mask.
fn rules() -> RuleMask {
    [2, 70, 191].into_iter().collect()
}

fn load(directory: &Directory, sizes: &[(&'static str, u32)]) -> Result<kernel::Kernel> {
    kernel::load(PinDirectory::new(directory.bpffs()), sizes, log::LevelFilter::Off, &Hook::ALL)
}

#[test]
fn what_was_learned_is_taken_over() -> Result<()> {
    let directory = Directory::create()?;
    let first = load(&directory, &SIZES)?;
    first.ensure_host("20.0.0.1".parse()?, rules(), 7)?;
    let seed = first.pins().active()?.seed;
    assert_ne!(seed, 0, "questions could be forged");
    drop(first);
    let second = load(&directory, &SIZES)?;
    let host = second.pins().host("20.0.0.1".parse()?)?.context("it is gone")?;
    assert_eq!((host.rules, host.expires), (rules(), 7));
    assert_eq!(second.pins().active()?, Active { seed, ..Active::default() });
    Ok(())
}

#[test]
fn a_map_of_another_size_is_made_anew_while_nothing_is_attached() -> Result<()> {
    let directory = Directory::create()?;
    load(&directory, &SIZES)?.ensure_host("20.0.0.1".parse()?, rules(), 7)?;
    let kernel = load(&directory, &[("HOSTS4", 512), ("FLOWS4", 256)])?;
    let usage = kernel.pins().usage()?;
    let (_, hosts) = usage.iter().find(|(name, _)| name == "HOSTS4").context("no HOSTS4")?;
    assert_eq!((hosts.entries, hosts.capacity), (0, 512));
    Ok(())
}

#[test]
fn a_foreign_map_is_named_and_left_alone() -> Result<()> {
    let pins = |directory: &Directory| PinDirectory::new(directory.bpffs());
    for (name, expected) in [("HOSTS4", "value size 8"), ("ACTIVE", "type 1"), ("NETS4", "type 1")]
    {
        let directory = Directory::create()?;
        pins(&directory).create()?;
        let path = pins(&directory).map(name);
        HashMap::<MapData, V4, u64>::create(256, 0)?.pin(&path)?;
        let error = load(&directory, &SIZES).err().context("it was taken over")?;
        let error = format!("{error:#}");
        assert!(error.contains(name) && error.contains(expected), "{error}");
        MapData::from_pin(&path).context("the foreign pin is gone")?;
    }
    Ok(())
}

#[test]
fn maps_that_the_object_no_longer_has_are_removed() -> Result<()> {
    let directory = Directory::create()?;
    let pins = PinDirectory::new(directory.bpffs());
    pins.create()?;
    Array::<MapData, u64>::create(1, 0)?.pin(pins.map("OF_AN_OLDER_BUILD"))?;
    load(&directory, &SIZES)?;
    assert!(!pins.map("OF_AN_OLDER_BUILD").exists());
    assert!(pins.map("HOSTS4").exists());
    Ok(())
}

#[test]
fn everything_is_removed_whatever_its_layout() -> Result<()> {
    let directory = Directory::create()?;
    let pins = PinDirectory::new(directory.bpffs());
    let mut kernel = load(&directory, &SIZES)?;
    kernel.pin_programs()?;
    let other = format!("v{}", LAYOUT_VERSION + 1);
    let maps = pins.root().join(&other).join("maps");
    std::fs::create_dir_all(&maps)?;
    Array::<MapData, u64>::create(1, 0)?.pin(maps.join("ANY"))?;
    let error = pins.refuse_other_layouts().unwrap_err().to_string();
    assert!(error.contains(&format!("layout {other}")), "{error}");
    assert!(kernel::remove_all(&pins)?);
    assert!(pins.layouts()?.is_empty());
    assert!(!kernel::remove_all(&pins)?, "there is nothing left to remove");
    Ok(())
}
