//! One program over one frame: the contexts of test runs, and what their results mean.

use anyhow::{Context as _, Result};
use aya::{
    TestRun as _, TestRunOptions,
    programs::{SchedClassifier, Xdp},
};
use aya_obj::programs::XdpAttachType;
use intune_filter::kernel::{Hook, Pins};

use super::{fate::Fate, site::WAN};

/// Attach type that the pinned program at XDP was loaded with.
pub(super) const XDP_ATTACHED: XdpAttachType = XdpAttachType::Interface;

/// Octets of the contexts, and where their fields stand: `struct xdp_md`, `struct __sk_buff`.
const XDP_CONTEXT: usize = 24;
const XDP_DATA_END: usize = 4;
const XDP_INGRESS_IFINDEX: usize = 12;
const TC_CONTEXT: usize = 192;
const TC_MARK: usize = 8;
const TC_INGRESS_IFINDEX: usize = 36;
const TC_IFINDEX: usize = 40;

/// Octets that a program may add to a frame.
const HEADROOM: usize = 256;

/// The programs that clients' queries and their answers meet.
pub struct Runner {
    ingress: Xdp,
    egress: SchedClassifier,
    /// Index of the device from which forwarded frames come.
    wan: u32,
}

impl Runner {
    /// Opens the pinned programs.
    pub fn open(pins: &Pins) -> Result<Self> {
        let pins = pins.directory();
        Ok(Self {
            ingress: Xdp::from_pin(pins.program(Hook::Ingress.program()), XDP_ATTACHED)?,
            egress: SchedClassifier::from_pin(pins.program(Hook::Egress.program()))?,
            wan: index(WAN)?,
        })
    }

    /// Runs the program at XDP over a frame that comes in on the interface with this index.
    pub fn ingress(&self, interface: u32, frame: &[u8]) -> Result<Fate> {
        judge_at_xdp(&self.ingress, interface, frame)
    }

    /// Runs the egress program over a frame that is forwarded to the interface with this index.
    pub fn egress(&self, interface: u32, frame: &[u8]) -> Result<Fate> {
        Ok(judge_at_tc(&self.egress, interface, self.wan, 0, frame)?.0)
    }
}

/// Runs the program at XDP over a frame that comes in on the interface with this index.
pub fn judge_at_xdp(program: &Xdp, interface: u32, frame: &[u8]) -> Result<Fate> {
    const DROP: u32 = 1;
    const PASS: u32 = 2;
    const SEND_BACK: u32 = 3;

    let context = ingress_context(interface, frame)?;
    let mut after = vec![0; frame.len() + HEADROOM];
    let result = program.test_run(TestRunOptions {
        data_in: Some(frame),
        data_out: Some(&mut after),
        ctx_in: Some(&context),
        ..TestRunOptions::default()
    })?;
    after.truncate(result.data_size_out as usize);
    match result.return_value {
        PASS => unchanged(frame, &after).map(|()| Fate::Passed),
        DROP => Ok(Fate::Dropped),
        SEND_BACK => Ok(Fate::Answered(after)),
        other => anyhow::bail!("ingress returned {other}"),
    }
}

/// Runs a TC program over a frame; returns also the mark that it has then.
pub(super) fn judge_at_tc(
    program: &SchedClassifier,
    interface: u32,
    from: u32,
    mark: u32,
    frame: &[u8],
) -> Result<(Fate, u32)> {
    const NEXT: u32 = u32::MAX;
    const SHOT: u32 = 2;
    const REDIRECT: u32 = 7;

    let context = egress_context(interface, from, mark);
    let mut after = vec![0; frame.len() + HEADROOM];
    let mut context_after = [0; TC_CONTEXT];
    let result = program.test_run(TestRunOptions {
        data_in: Some(frame),
        data_out: Some(&mut after),
        ctx_in: Some(&context),
        ctx_out: Some(&mut context_after),
        ..TestRunOptions::default()
    })?;
    after.truncate(result.data_size_out as usize);
    let fate = match result.return_value {
        NEXT => unchanged(frame, &after).map(|()| Fate::Passed),
        SHOT => Ok(Fate::Dropped),
        REDIRECT => Ok(Fate::Answered(after)),
        other => anyhow::bail!("the program returned {other}"),
    }?;
    let mark = context_after[TC_MARK..].first_chunk().context("a context has a mark")?;
    Ok((fate, u32::from_ne_bytes(*mark)))
}

/// Whether the kernel makes a socket buffer of a frame for a test run: a frame of IP needs a whole
/// header.
pub(super) fn has_test_run(frame: &[u8]) -> bool {
    let shortest = match frame.get(12..14) {
        Some([8, 0]) => 34,
        Some([0x86, 0xdd]) => 54,
        _ => 15,
    };
    frame.len() >= shortest
}

fn unchanged(before: &[u8], after: &[u8]) -> Result<()> {
    anyhow::ensure!(before == after, "the frame was changed into {after:02x?}");
    Ok(())
}

/// The context of a frame that comes in on the interface with this index.
pub fn ingress_context(interface: u32, frame: &[u8]) -> Result<[u8; XDP_CONTEXT]> {
    let mut context = [0; XDP_CONTEXT];
    put(&mut context, XDP_DATA_END, u32::try_from(frame.len())?);
    put(&mut context, XDP_INGRESS_IFINDEX, interface);
    Ok(context)
}

/// The context of a frame that goes to the interface with this index, from the one with index
/// `from` or, with 0, from the gateway itself.
pub fn egress_context(interface: u32, from: u32, mark: u32) -> [u8; TC_CONTEXT] {
    let mut context = [0; TC_CONTEXT];
    put(&mut context, TC_MARK, mark);
    put(&mut context, TC_INGRESS_IFINDEX, from);
    put(&mut context, TC_IFINDEX, interface);
    context
}

/// The index of an interface.
pub fn index(interface: &str) -> Result<u32> {
    nix::net::if_::if_nametoindex(interface).with_context(|| format!("no interface {interface}"))
}

fn put(context: &mut [u8], offset: usize, value: u32) {
    context[offset..offset + 4].copy_from_slice(&value.to_ne_bytes());
}
