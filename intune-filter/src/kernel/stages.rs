//! Fills and pins the arrays of stages, which programs call by a tail call: one array per program
//! type and version of the programs.
//!
//! An array of programs is emptied when userspace drops its last reference, so it is pinned. Each
//! version of the programs has its own array, under the map's id: programs that are still attached
//! while others replace them keep the stages that they were loaded with.

use std::{collections::HashSet, fs, os::fd::AsFd as _};

use anyhow::{Context as _, Result, bail};
use aya::{
    maps::{Map, MapData, ProgramArray},
    programs::{Program, ProgramInfo, loaded_programs},
};
use intune_filter_ebpf::maps::STAGE_REPLY;

use super::{
    Kernel,
    directory::{Hook, PinDirectory, entries},
    syscall,
};

/// Returns the stage of a hook: the array that its program calls, and the program called there.
pub(super) const fn of_hook(hook: Hook) -> Option<(&'static str, &'static str)> {
    match hook {
        Hook::Ingress => Some(("STAGES_XDP", "reply")),
        Hook::TcIngress | Hook::TcIngressL3 => Some(("STAGES_TC", "tc_reply")),
        Hook::Egress | Hook::EgressL3 => None,
    }
}

impl Kernel {
    /// Fills and pins the array of a hook whose programs are loaded, before any of them is
    /// attached.
    pub(super) fn set_stage(&mut self, hook: Hook) -> Result<()> {
        let Some((array, stage)) = of_hook(hook) else { return Ok(()) };
        let program = match self.program_mut(stage)? {
            Program::Xdp(program) => program.fd()?.try_clone()?,
            Program::SchedClassifier(program) => program.fd()?.try_clone()?,
            _ => bail!("the program {stage} is of a kind that is no stage"),
        };
        let map = self.ebpf.map_mut(array);
        let map = map.with_context(|| format!("the BPF object has no map {array}"))?;
        ProgramArray::try_from(map)?.set(STAGE_REPLY, &program, 0)?;
        let map = self.stages(array)?;
        let pin = self.directory.stages().join(map.info()?.id().to_string());
        if !pin.exists() {
            syscall::pin(map.fd().as_fd(), &pin)
                .with_context(|| format!("cannot pin {}", pin.display()))?;
        }
        Ok(())
    }

    fn stages(&self, array: &str) -> Result<&MapData> {
        match self.ebpf.map(array) {
            Some(Map::ProgramArray(map)) => Ok(map),
            _ => bail!("the BPF object has no array of programs {array}"),
        }
    }

    /// Removes the pins of arrays that no attached program uses.
    pub(super) fn remove_old_stages(&self) -> Result<()> {
        let mut used = used_maps(&self.directory)?;
        for (array, _) in Hook::ALL.into_iter().filter_map(of_hook) {
            used.insert(self.stages(array)?.info()?.id());
        }
        for name in entries(&self.directory.stages())? {
            if name.parse().is_ok_and(|id| used.contains(&id)) {
                continue;
            }
            let pin = self.directory.stages().join(name);
            fs::remove_file(&pin).with_context(|| format!("cannot remove {}", pin.display()))?;
        }
        Ok(())
    }
}

/// Returns the ids of the maps that attached programs use.
fn used_maps(directory: &PinDirectory) -> Result<HashSet<u32>> {
    let mut programs = HashSet::new();
    for name in entries(&directory.links())? {
        let path = directory.links().join(name);
        let pin = syscall::open_pin(&path)?;
        programs.insert(match syscall::link_state(pin.as_fd()) {
            Ok(link) => link.program,
            // A clsact filter has no link: the pin is that of its program.
            Err(_) => ProgramInfo::from_pin(&path)?.id(),
        });
    }
    let mut maps = HashSet::new();
    for program in loaded_programs() {
        // A program that was unloaded meanwhile uses no maps.
        let Ok(program) = program else { continue };
        if programs.contains(&program.id()) {
            maps.extend(program.map_ids().ok().flatten().unwrap_or_default());
        }
    }
    Ok(maps)
}
