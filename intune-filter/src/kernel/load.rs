//! Loads the object: adopts or creates pins, and has the programs verified. Attaches nothing.

use std::{borrow::Cow, fs, os::fd::AsFd as _, panic, path::PathBuf, sync::Mutex, thread};

use anyhow::{Context as _, Result, anyhow, bail};
use aya::{
    Ebpf, EbpfLoader,
    maps::{Array, Map, MapData},
    programs::{Program, ProgramError},
    util::KernelVersion,
};
use intune_filter_ebpf::abi::Active;

use super::{
    Kernel,
    definition::{Sizes, maps_of_object, pinned_maps, reconcile, remove_leftovers},
    directory::{EXPLAIN, Hook, PinDirectory, entries},
    stages,
    syscall::replace_pin,
};
use crate::OBJECT;

/// Oldest kernel with all features that the programs use.
const OLDEST: KernelVersion = KernelVersion::new(6, 1, 0);

/// Name of the program that changes learned addresses.
pub(super) const AMEND: &str = "amend";

/// Fails on a kernel that is too old, in one sentence.
///
/// # Errors
/// It is too old, or does not tell its version.
pub fn check_kernel() -> Result<()> {
    let version = KernelVersion::current()
        .map_err(|error| anyhow!("cannot tell the kernel's version: {error}"))?;
    if version < OLDEST {
        let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        bail!("kernel {} is too old: intune-filter needs Linux 6.1 or newer", release.trim());
    }
    Ok(())
}

/// Loads the object with its maps in `directory`. Attached programs stay as they are.
///
/// Of the hooks, `hooks` have their programs loaded now, and another one when it is first attached to.
/// `level` is the most verbose level that the programs log at; at `Off` their log statements are
/// dead code, which the kernel removes.
///
/// # Errors
/// The kernel is too old or refuses a program, or pins are of another layout.
pub fn load(
    directory: PinDirectory,
    sizes: &Sizes,
    level: log::LevelFilter,
    hooks: &[Hook],
) -> Result<Kernel> {
    check_kernel()?;
    let maps = maps_of_object()?;
    let fresh = !directory.has_pins();
    directory.create()?;
    let loaded = reconcile(&directory, &maps, sizes).and_then(|()| {
        let ebpf = load_object(&directory, sizes, level)?;
        let mut kernel = Kernel {
            directory: directory.clone(),
            maps,
            ebpf,
            diagnostics: None,
            revoked: Mutex::default(),
        };
        load_programs(&mut kernel, hooks)?;
        hooks.iter().try_for_each(|hook| kernel.set_stage(*hook))?;
        Ok(kernel)
    });
    let mut kernel = match loaded {
        Ok(kernel) => kernel,
        Err(error) => {
            // Pins left by a failed first start would look like an instance that enforces.
            if fresh {
                remove_maps(&directory)?;
            }
            return Err(error);
        }
    };
    seed(&directory)?;
    remove_leftovers(&directory)?;
    if level != log::LevelFilter::Off {
        kernel.diagnostics = aya_log::EbpfLogger::init(&mut kernel.ebpf).ok();
    }
    Ok(kernel)
}

/// Loads the program of `explain` for the maps that are pinned in `directory`, and pins it in place of
/// an earlier one. It is apart from [`load`] because nothing that enforces is to wait until it is
/// verified, which takes as long as for all the others.
///
/// # Errors
/// A map is not pinned, the kernel refuses the program, or it cannot be pinned.
pub fn load_explain(
    directory: &PinDirectory,
    sizes: &Sizes,
    level: log::LevelFilter,
) -> Result<()> {
    // The loader would make it anew, and the program would judge by another one than the others.
    if let Some(gone) = pinned_maps().find(|name| !directory.map(name).exists()) {
        bail!("the map {gone} is not pinned any more");
    }
    let mut ebpf = load_object(directory, sizes, level)?;
    let program = ebpf.program_mut(EXPLAIN);
    let program = program.with_context(|| format!("the BPF object has no program {EXPLAIN}"))?;
    load_program(EXPLAIN, program)?;
    replace_pin(program.fd()?.as_fd(), &directory.program(EXPLAIN))
}

fn load_object(directory: &PinDirectory, sizes: &Sizes, level: log::LevelFilter) -> Result<Ebpf> {
    let pins: Vec<(&str, PathBuf)> =
        pinned_maps().map(|name| (name, directory.map(name))).collect();
    let mut loader = EbpfLoader::new();
    for (name, path) in &pins {
        loader.map_pin_path(name, Cow::from(path.as_path()));
    }
    for (name, room) in sizes {
        loader.map_max_entries(name, *room);
    }
    let level = level as u8;
    loader.override_global(aya_log::LEVEL, &level, false);
    loader.load(OBJECT).context("cannot load the BPF object")
}

/// Returns the programs of a hook: its own, and the stage that its program calls.
fn programs_of(hook: Hook) -> impl Iterator<Item = &'static str> {
    [hook.program()].into_iter().chain(stages::of_hook(hook).map(|(_, stage)| stage))
}

/// Loads the programs in parallel, since the verifier takes tenths of a second for each.
fn load_programs(kernel: &mut Kernel, hooks: &[Hook]) -> Result<()> {
    let is_needed = |name: &str| {
        name == AMEND
            || hooks.iter().flat_map(|hook| programs_of(*hook)).any(|needed| needed == name)
    };
    let needed = kernel.ebpf.programs_mut().filter(|(name, _)| is_needed(name));
    thread::scope(|scope| {
        let loads: Vec<_> = needed
            .map(|(name, program)| scope.spawn(move || load_program(name, program)))
            .collect();
        loads
            .into_iter()
            .try_for_each(|load| load.join().unwrap_or_else(|cause| panic::resume_unwind(cause)))
    })
}

fn load_program(name: &str, program: &mut Program) -> Result<()> {
    let loaded = match program {
        Program::Xdp(program) => program.load(),
        Program::SchedClassifier(program) => program.load(),
        _ => bail!("the program {name} is of a kind that is never loaded"),
    };
    loaded.map_err(|error| refused(name, error))
}

impl Kernel {
    /// Loads and pins the program of a hook, unless it is loaded.
    pub(super) fn require(&mut self, hook: Hook) -> Result<()> {
        let name = hook.program();
        if self.program_mut(name)?.fd().is_ok() {
            return Ok(());
        }
        for name in programs_of(hook) {
            let program = self.program_mut(name)?;
            // Hooks share a stage.
            if program.fd().is_err() {
                load_program(name, program)?;
            }
        }
        self.set_stage(hook)?;
        let pin = self.directory.program(name);
        replace_pin(self.program_mut(name)?.fd()?.as_fd(), &pin)
    }
}

/// Describes the verifier's refusal, with its log.
fn refused(program: &str, error: ProgramError) -> anyhow::Error {
    match error {
        ProgramError::LoadError { io_error, verifier_log } => anyhow!(
            "this kernel does not load the program {program} ({io_error}), and nothing was \
             attached; the verifier says:\n{verifier_log}"
        ),
        error => anyhow::Error::new(error).context(format!("cannot load the program {program}")),
    }
}

/// Writes a random seed into a map that has none. Without a seed, anyone who knows the program
/// could forge the hash of a pending question.
fn seed(directory: &PinDirectory) -> Result<()> {
    let map = MapData::from_pin(directory.map("ACTIVE"))?;
    let mut active = Array::<_, Active>::try_from(Map::from_map_data(map)?)?;
    let mut value = active.get(&0, 0)?;
    if value.seed == 0 {
        value.seed = random()?;
        active.set(0, value, 0)?;
    }
    Ok(())
}

fn random() -> Result<u64> {
    Ok(getrandom::u64().context("cannot get random octets")?.max(1))
}

fn remove_maps(directory: &PinDirectory) -> Result<()> {
    for name in entries(&directory.maps())? {
        let path = directory.map(&name);
        fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
    }
    Ok(())
}
