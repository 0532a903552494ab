//! Verdicts over frames that are in no zone: `other_vlans` decides on those with a VLAN tag.

use super::{Arrival, Run, Verdict, denied_frame_event, reporting};
use crate::{
    abi::Reason,
    datapath::Datapath,
    packet::{Direction, Frame, Packet},
};

/// Zone of no client.
const NOWHERE: u16 = 0;

/// Judges a frame that is in no zone. What the gateway itself sends passes.
#[inline(always)]
pub(super) fn judge<W: Datapath>(
    packet: &(impl Packet + Copy),
    datapath: W,
    arrival: Arrival,
    frame: &Frame,
    direction: Direction,
) -> Verdict {
    let unmanaged = Verdict::pass_builtin(Reason::Unmanaged);
    if frame.vlan == 0 || !denies(datapath) {
        return unmanaged;
    }
    let to_client = direction == Direction::ToClient;
    if to_client && arrival.is_from_gateway() {
        return Verdict::pass_builtin(Reason::GatewaySent);
    }
    let Some(scratch) = datapath.claim() else {
        return Verdict::deny(Reason::Busy);
    };
    let run = Run::new(datapath, *packet, scratch, arrival, NOWHERE, frame.payload, direction);
    let verdict = Verdict::deny(Reason::OtherVlan);
    report(&run, &verdict, frame.vlan, to_client);
    datapath.release(scratch);
    verdict
}

/// Whether the policy in force denies VLAN tags that no zone has.
#[inline(always)]
fn denies<W: Datapath>(datapath: W) -> bool {
    let generation = datapath.active().map_or(0, |active| active.generation);
    let settings = datapath.settings(generation & 1);
    generation != 0 && settings.is_some_and(|settings| settings.deny_other_vlans != 0)
}

#[inline(always)]
fn report<W: Datapath, P: Packet>(run: &Run<'_, W, P>, verdict: &Verdict, vlan: u16, egress: bool) {
    let now = run.datapath.now();
    reporting::tell_frame(run.datapath, now, || {
        let mut event = denied_frame_event(verdict, run.scratch, now, egress);
        event.vlan = u32::from(vlan);
        event
    });
}
