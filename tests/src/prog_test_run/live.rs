//! Frames judged where they come in: put onto a wire to an interface that a program is attached to,
//! and followed by what is counted and by what arrives.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use intune_filter::kernel::Pins;
use intune_filter_ebpf::abi::{Counted, Counter};
use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    unistd::Pid,
};

use super::{
    fate::Fate,
    site::{LAN, OTHER},
};
use crate::wire::{Tap, Wire};

/// Longest time of a frame from one end of a wire to the other.
const PATIENCE: Duration = Duration::from_secs(20);
/// EtherType of the frames that mark an end (IEEE 802, local experiments).
const MARK: [u8; 2] = [0x88, 0xb5];

/// The wires to the gateway's interfaces.
#[derive(Debug)]
pub struct Live {
    wires: Vec<Ends>,
    marks: AtomicU32,
}

/// The two ends of a wire.
#[derive(Debug)]
struct Ends {
    name: &'static str,
    outside: Wire,
    inside: Wire,
    arrived: Tap,
    back: Tap,
}

impl Live {
    /// Takes hold of the wires. From now on the thread stays on one CPU, so that frames are
    /// received in the order in which they were sent.
    pub fn open() -> Result<Self> {
        stay()?;
        let wires = [(LAN, "peer1"), (OTHER, "peer2")].map(|(name, peer)| {
            let outside = Wire::open(peer)?;
            let (inside, arrived) = (Wire::open(name)?, Tap::open(name)?);
            Ok(Ends { name, outside, inside, arrived, back: Tap::open(peer)? })
        });
        let wires = wires.into_iter().collect::<Result<_>>()?;
        Ok(Self { wires, marks: AtomicU32::new(0) })
    }

    /// Sends a frame to an interface, and says what became of it. Behind TC nothing can be heard
    /// of what passes: there the counters have to do.
    pub fn judge(
        &self,
        pins: &Pins,
        interface: &str,
        frame: &[u8],
        behind_tc: bool,
    ) -> Result<Fate> {
        let ends = self.wires.iter().find(|ends| ends.name == interface);
        let ends = ends.with_context(|| format!("there is no wire to {interface}"))?;
        let before = verdicts(pins)?;
        ends.outside.send(frame)?;
        let deadline = Instant::now() + PATIENCE;
        let counted = loop {
            let now = verdicts(pins)?;
            if let Some(at) = (0..now.len()).find(|at| now[*at] != before[*at]) {
                break now[at].0;
            }
            ensure!(Instant::now() < deadline, "the frame was not judged");
        };
        let answers = self.until_mark(ends)?;
        let mut arrived = false;
        while let Some(other) = ends.arrived.take()? {
            arrived |= other == frame || Some(other) == untagged(frame);
        }
        let answer = answers.into_iter().find(|answer| {
            frame.len() >= 12 && answer[..6] == frame[6..12] && answer[6..12] == frame[..6]
        });
        if let Some(answer) = answer {
            ensure!(counted.denies(), "{counted:?} was answered");
            return Ok(Fate::Answered(answer));
        }
        let passed = if behind_tc { !counted.denies() } else { arrived };
        ensure!(passed != counted.denies(), "counted {counted:?}, and passed: {passed}");
        Ok(if passed { Fate::Passed } else { Fate::Dropped })
    }

    /// Frames that the outside has received before a frame that is sent now.
    fn until_mark(&self, ends: &Ends) -> Result<Vec<Vec<u8>>> {
        let number = self.marks.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        let mark = [&[2, 0, 0, 0, 0, 0xfe, 2, 0, 0, 0, 0, 0xff][..], &MARK, &number].concat();
        ends.inside.send(&mark)?;
        let mut frames = Vec::new();
        loop {
            let frame = ends.back.wait(PATIENCE)?.context("the mark did not arrive")?;
            if frame == mark {
                return Ok(frames);
            }
            frames.push(frame);
        }
    }
}

/// The counters of what is counted once for each packet.
fn verdicts(pins: &Pins) -> Result<Vec<(Counted, Counter)>> {
    let mut counters = pins.counters()?;
    counters.retain(|(counted, _)| matches!(counted, Counted::Packets(_)));
    Ok(counters)
}

/// The frame as the stack shows it: its first tag is apart.
fn untagged(frame: &[u8]) -> Option<Vec<u8>> {
    let is_tagged = matches!(frame.get(12..14)?, [0x81, 0] | [0x88, 0xa8]);
    is_tagged.then(|| [frame.get(..12)?, frame.get(16..)?].concat().into()).flatten()
}

/// Keeps this thread on one CPU.
pub fn stay() -> Result<()> {
    let thread = Pid::from_raw(0);
    let allowed = sched_getaffinity(thread)?;
    let cpu = (0..CpuSet::count()).find(|cpu| allowed.is_set(*cpu) == Ok(true));
    let mut one = CpuSet::new();
    one.set(cpu.context("there is no CPU")?)?;
    Ok(sched_setaffinity(thread, &one)?)
}
