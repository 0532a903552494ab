//! The object that the filter is compared with: floors of cost, and the program that gives every
//! packet of a test run to the next flow.

use std::time::Duration;

use anyhow::{Context as _, Result};
use aya::{
    Ebpf, EbpfLoader, TestRun as _, TestRunOptions,
    maps::{Array, MapData, ProgramArray},
    programs::{ProgramFd, SchedClassifier, Xdp},
};
use intune_filter_bench_ebpf::FlowCycle;
use intune_filter_ebpf::abi::{FlowKey, V4, V6};

use crate::object::{self, program, take};
use intune_filter_tests::prog_test_run::{
    program::{egress_context, index, ingress_context},
    site::{LAN, WAN},
};

/// Packets of a run, for each run that is asked for.
const PACKETS: u32 = 20_000;
const XDP_PASS: u32 = 2;
const TC_SHOT: u32 = 2;

/// Hook of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// XDP: packets from clients.
    Ingress,
    /// TC egress: packets to clients.
    Egress,
}

/// The loaded object.
pub struct Baseline {
    ebpf: Ebpf,
    cycle: Array<MapData, FlowCycle>,
    remotes: Array<MapData, V6>,
    measured_xdp: ProgramArray<MapData>,
    measured_tc: ProgramArray<MapData>,
}

impl Baseline {
    /// Loads the object, with room for `flows` flows in the floors' maps, and for `new_flows` in
    /// those that evict.
    pub fn load(flows: u32, new_flows: u32) -> Result<Self> {
        let mut loader = EbpfLoader::new();
        loader.map_max_entries("FLOOR4", flows).map_max_entries("FLOOR6", flows);
        loader.map_max_entries("FLOOR_LRU4", new_flows).map_max_entries("FLOOR_LRU6", new_flows);
        let mut ebpf = object::load(&mut loader, object::BASELINE)?;
        for name in ["cycle", "empty", "parse", "lookup", "insert"] {
            program::<Xdp>(&mut ebpf, name)?.load()?;
        }
        for name in ["cycle_tc", "empty_tc", "lookup_tc"] {
            program::<SchedClassifier>(&mut ebpf, name)?.load()?;
        }
        Ok(Self {
            cycle: Array::try_from(take(&mut ebpf, "FLOW_CYCLE")?)?,
            remotes: Array::try_from(take(&mut ebpf, "REMOTES")?)?,
            measured_xdp: ProgramArray::try_from(take(&mut ebpf, "MEASURED_XDP")?)?,
            measured_tc: ProgramArray::try_from(take(&mut ebpf, "MEASURED_TC")?)?,
            ebpf,
        })
    }

    /// Makes these the addresses that packets go to or come from.
    pub fn set_remotes(&mut self, remotes: &[V6]) -> Result<()> {
        for (index, remote) in (0..).zip(remotes) {
            self.remotes.set(index, *remote, 0)?;
        }
        Ok(())
    }

    /// Fills the floors' hashes with the flows of a cycle.
    pub fn fill(&mut self, keys4: &[FlowKey<V4>], keys6: &[FlowKey<V6>]) -> Result<()> {
        object::fill::<FlowKey<V4>>(&mut self.ebpf, "FLOOR4", keys4)?;
        object::fill::<FlowKey<V6>>(&mut self.ebpf, "FLOOR6", keys6)
    }

    /// Average time of a packet, over packets that differ as `cycle` says. `program` is one of this
    /// object's by its name, or another one; fails if the last packet's verdict is not the expected
    /// one.
    pub fn time(
        &mut self,
        hook: Hook,
        program: Measured<'_>,
        cycle: &mut FlowCycle,
        frame: &[u8],
        passes: bool,
    ) -> Result<Duration> {
        self.time_of(PACKETS, hook, program, cycle, frame, passes)
    }

    /// Average time over a given number of packets.
    pub fn time_of(
        &mut self,
        packets: u32,
        hook: Hook,
        program: Measured<'_>,
        cycle: &mut FlowCycle,
        frame: &[u8],
        passes: bool,
    ) -> Result<Duration> {
        let own;
        let fd = match (program, hook) {
            (Measured::Other(fd), _) => fd,
            (Measured::Own(name), Hook::Ingress) => {
                own = program_of::<Xdp>(&self.ebpf, name)?.fd()?.try_clone()?;
                &own
            }
            (Measured::Own(name), Hook::Egress) => {
                own = program_of::<SchedClassifier>(&self.ebpf, name)?.fd()?.try_clone()?;
                &own
            }
        };
        match hook {
            Hook::Ingress => self.measured_xdp.set(0, fd, 0)?,
            Hook::Egress => self.measured_tc.set(0, fd, 0)?,
        }
        self.cycle.set(0, *cycle, 0)?;
        let context = match hook {
            Hook::Ingress => ingress_context(index(LAN)?, frame)?.to_vec(),
            Hook::Egress => egress_context(index(LAN)?, index(WAN)?, 0).to_vec(),
        };
        let options = TestRunOptions {
            data_in: Some(frame),
            ctx_in: Some(&context),
            repeat: packets,
            ..TestRunOptions::default()
        };
        let result = match hook {
            Hook::Ingress => program_of::<Xdp>(&self.ebpf, "cycle")?.test_run(options)?,
            Hook::Egress => {
                program_of::<SchedClassifier>(&self.ebpf, "cycle_tc")?.test_run(options)?
            }
        };
        let after = self.cycle.get(&0, 0)?;
        anyhow::ensure!(after.next == cycle.next.wrapping_add(packets), "packets went missing");
        *cycle = after;
        let passed = match hook {
            Hook::Ingress => result.return_value == XDP_PASS,
            Hook::Egress => result.return_value != TC_SHOT,
        };
        anyhow::ensure!(passed == passes, "the program returned {}", result.return_value);
        Ok(result.duration)
    }
}

/// A measured program.
#[derive(Clone, Copy)]
pub enum Measured<'p> {
    /// A program of the benchmarks' object.
    Own(&'static str),
    /// Another one.
    Other(&'p ProgramFd),
}

fn program_of<'e, P>(ebpf: &'e Ebpf, name: &str) -> Result<&'e P>
where
    &'e P: TryFrom<&'e aya::programs::Program, Error = aya::programs::ProgramError>,
{
    let program = ebpf.program(name);
    Ok(program.with_context(|| format!("the object has no program {name}"))?.try_into()?)
}
