//! The objects of the benchmarks' own, as `cargo xtask bench` has built them.

use std::{env, fs};

use anyhow::{Context as _, Result};
use aya::{
    Ebpf, EbpfLoader, Pod,
    maps::{HashMap, MapData},
};

/// Directory of the objects, seen from the directory of cargo's products.
const DIRECTORY: &str = "bpf/bpfel-unknown-none/bpf";
/// The object whose programs the filter is compared with.
pub const BASELINE: &str = "intune-filter-bench-baseline";
/// The object whose programs do one operation of the filter each.
pub const MICRO: &str = "intune-filter-bench-micro";

/// Loads one, with what the loader was told; of its programs none is loaded yet.
pub fn load(loader: &mut EbpfLoader<'_>, name: &str) -> Result<Ebpf> {
    let own = env::current_exe().context("cannot tell where this program is")?;
    // TARGET/PROFILE/bench
    let target = own.ancestors().nth(2).context("cargo has put this program nowhere")?;
    let path = target.join(DIRECTORY).join(name);
    let object = fs::read(&path).with_context(|| {
        format!("cannot read {}, which `cargo xtask bench` builds", path.display())
    })?;
    loader.load(&object).with_context(|| format!("cannot load {name}"))
}

/// Takes one of the object's maps out of it.
pub fn take(ebpf: &mut Ebpf, name: &str) -> Result<aya::maps::Map> {
    ebpf.take_map(name).with_context(|| format!("the object has no map {name}"))
}

/// One of the object's programs.
pub fn program<'e, P>(ebpf: &'e mut Ebpf, name: &str) -> Result<&'e mut P>
where
    &'e mut P: TryFrom<&'e mut aya::programs::Program, Error = aya::programs::ProgramError>,
{
    let program = ebpf.program_mut(name);
    Ok(program.with_context(|| format!("the object has no program {name}"))?.try_into()?)
}

/// Puts keys into one of the floors' hashes.
pub fn fill<K: Pod>(ebpf: &mut Ebpf, name: &str, keys: &[K]) -> Result<()> {
    let map = ebpf.map_mut(name).with_context(|| format!("the object has no map {name}"))?;
    let mut map: HashMap<&mut MapData, K, u64> = HashMap::try_from(map)?;
    for key in keys {
        map.insert(key, 1, 0)?;
    }
    Ok(())
}
