//! Sends frames by live test runs, and tells what arrives.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use aya::{
    Ebpf, EbpfLoader, TestRun as _, TestRunOptions,
    maps::{Array, MapData, PerCpuArray},
    programs::{TestRunAttrs, Xdp, XdpMode},
};
use intune_filter_bench_ebpf::{Frame, SendPlan};
use intune_filter_ebpf::abi::{FlowKey, V4, V6};
use nix::{
    libc,
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    unistd::Pid,
};

use crate::object::{self, program, take};
use intune_filter_tests::namespace::Namespace;

/// Frames that the kernel makes at once, as many as a driver hands over.
const BATCH: u32 = 64;
/// Longest time of a frame on its way.
const PATIENCE: Duration = Duration::from_secs(10);

/// The programs that send and receive; what is attached is gone with them.
pub struct Generator {
    ebpf: Ebpf,
    frames: Array<MapData, Frame>,
    plan: Array<MapData, SendPlan>,
    arrived: PerCpuArray<MapData, u64>,
    checked: Array<MapData, u32>,
    used: u32,
    _spare: Namespace,
}

/// Frames that can be sent.
#[derive(Clone, Debug)]
pub struct List {
    first: u32,
    count: u32,
    frame: Vec<u8>,
}

impl List {
    /// Number of frames.
    pub const fn len(&self) -> u32 {
        self.count
    }

    /// The first `count` frames.
    pub fn first(&self, count: u32) -> Self {
        Self { count: count.min(self.count), ..self.clone() }
    }
}

/// Origin of frames.
#[derive(Clone, Copy)]
pub struct Origin<'n> {
    /// The namespace.
    pub namespace: &'n Namespace,
    /// The interface's name there.
    pub interface: &'static str,
}

impl Generator {
    /// Loads the programs, with room for `room` frames, and makes a namespace whose name begins
    /// with `label`.
    pub fn load(label: &str, room: u32) -> Result<Self> {
        let mut loader = EbpfLoader::new();
        loader.map_max_entries("FRAMES", room);
        loader.map_max_entries("FLOOR4", room).map_max_entries("FLOOR6", room);
        let mut ebpf = object::load(&mut loader, object::BASELINE)?;
        for name in ["send", "sink", "discard", "lookup"] {
            program::<Xdp>(&mut ebpf, name)?.load()?;
        }
        // The kernel calls programs that are attached directly, and makes those of test runs such:
        // each run would wait for that at its begin and at its end.
        let spare = Namespace::create(&format!("{label}-spare"))?;
        spare.ip(&["link add spare type veth peer other"])?;
        attach(&mut ebpf, "send", &spare, "spare")?;
        Ok(Self {
            frames: Array::try_from(take(&mut ebpf, "FRAMES")?)?,
            plan: Array::try_from(take(&mut ebpf, "SEND_PLAN")?)?,
            arrived: PerCpuArray::try_from(take(&mut ebpf, "ARRIVED")?)?,
            checked: Array::try_from(take(&mut ebpf, "CHECKED")?)?,
            ebpf,
            used: 0,
            _spare: spare,
        })
    }

    /// Takes up frames, which are filled up to the length of their family.
    pub fn list(&mut self, frames: &[Vec<u8>]) -> Result<List> {
        let first = frames.first().context("a list has frames")?;
        let is_v4 = first.get(12..14) == Some(&[8, 0]);
        let length = if is_v4 { Frame::LENGTH4 } else { Frame::LENGTH6 };
        let list = List {
            first: self.used,
            count: u32::try_from(frames.len())?,
            frame: padded(first, length),
        };
        for frame in frames {
            ensure!(frame.len() <= length, "a frame of {} octets", frame.len());
            ensure!(frame.get(12..14) == first.get(12..14), "frames of two families");
            let octets =
                padded(frame, Frame::CAPACITY).try_into().ok().context("a frame's room")?;
            self.frames.set(self.used, Frame { octets }, 0)?;
            self.used += 1;
        }
        Ok(list)
    }

    /// Has an interface drop everything, and tells what has come over the gateway.
    pub fn receive_at(&mut self, namespace: &Namespace, interface: &str) -> Result<()> {
        attach(&mut self.ebpf, "sink", namespace, interface)
    }

    /// Has an interface drop everything.
    pub fn discard_at(&mut self, namespace: &Namespace, interface: &str) -> Result<()> {
        attach(&mut self.ebpf, "discard", namespace, interface)
    }

    /// Has an interface drop all but flows that are known.
    pub fn look_up_at(&mut self, namespace: &Namespace, interface: &str) -> Result<()> {
        attach(&mut self.ebpf, "lookup", namespace, interface)
    }

    /// Has flows be known where they are looked up.
    pub fn know4(&mut self, keys: &[FlowKey<V4>]) -> Result<()> {
        object::fill(&mut self.ebpf, "FLOOR4", keys)
    }

    /// The counterpart for IPv6.
    pub fn know6(&mut self, keys: &[FlowKey<V6>]) -> Result<()> {
        object::fill(&mut self.ebpf, "FLOOR6", keys)
    }

    /// Sends frames of a list, and returns the average time of each, which includes their handling
    /// in software interrupts on this CPU.
    pub fn send(&mut self, from: Origin<'_>, list: &List, frames: u32) -> Result<Duration> {
        let interface = from.namespace.ifindex(from.interface)?;
        let List { first, count, .. } = *list;
        self.plan.set(0, SendPlan { first, count, next: 0, interface }, 0)?;
        let program: &Xdp = program(&mut self.ebpf, "send")?;
        from.namespace.run(|| {
            keep_the_cpu()?;
            let options = TestRunOptions {
                data_in: Some(&list.frame),
                repeat: frames,
                attrs: TestRunAttrs::new().xdp_live_frames(BATCH),
                ..TestRunOptions::default()
            };
            let result = program.test_run(options).context("cannot send live frames")?;
            // The kernel's own: without its preparations, and what it gave to others.
            Ok(result.duration)
        })
    }

    /// Sends every frame of a list once, each checked and numbered from 0 on, and tells which have
    /// arrived. The last one has to: then all before it have been judged.
    pub fn check(&mut self, from: Origin<'_>, list: &List) -> Result<Vec<bool>> {
        for number in 0..list.count {
            self.checked.set(number, 0, 0)?;
        }
        self.send(from, list, list.count)?;
        let deadline = Instant::now() + PATIENCE;
        while self.checked.get(&(list.count - 1), 0)? == 0 {
            ensure!(Instant::now() < deadline, "the frame that marks the end did not arrive");
        }
        (0..list.count).map(|number| Ok(self.checked.get(&number, 0)? != 0)).collect()
    }

    /// Frames that have arrived and are not checked.
    pub fn arrived(&self) -> Result<u64> {
        Ok(self.arrived.get(&0, 0)?.iter().sum())
    }
}

fn attach(ebpf: &mut Ebpf, name: &str, namespace: &Namespace, interface: &str) -> Result<()> {
    let program = program::<Xdp>(ebpf, name)?;
    let attach = || program.attach(interface, XdpMode::Driver);
    namespace.run(attach).with_context(|| format!("cannot attach {name} to {interface}"))?;
    Ok(())
}

/// Keeps this thread on the last CPU, ahead of everybody else who wants it.
fn keep_the_cpu() -> Result<()> {
    let thread = Pid::from_raw(0);
    let allowed = sched_getaffinity(thread)?;
    let cpu = (0..CpuSet::count()).rev().find(|cpu| allowed.is_set(*cpu) == Ok(true));
    let mut one = CpuSet::new();
    one.set(cpu.context("there is no CPU")?)?;
    sched_setaffinity(thread, &one)?;
    let priority = libc::sched_param { sched_priority: 1 };
    // SAFETY: the parameter is valid for the call, which reads it.
    let result = unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &priority) };
    nix::errno::Errno::result(result).context("cannot run ahead of others")?;
    Ok(())
}

fn padded(frame: &[u8], length: usize) -> Vec<u8> {
    let mut octets = frame.to_vec();
    octets.resize(length, 0);
    octets
}
