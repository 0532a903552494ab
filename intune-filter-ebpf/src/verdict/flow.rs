//! Flows: lookup, opening, update by packets, and end.

use super::{
    Run, Verdict,
    lifetime::{TCP_CLOSING, ending, lifetime},
    opening,
    resolver::DNS_PORT,
    revocation::{REVOKED, allowing_group},
    segment,
    stage::Stage,
};
use crate::{
    abi::{Ending, EventKind, Flow, FlowEvent, FlowKey, Matched, Reason, V6, flow_flags},
    datapath::{Datapath, DatapathOf, FarEnd, NANOS_PER_SEC},
    packet::{Datagram, Direction, Fragment, Packet, TCP, TCP_ACK, TCP_SYN, UDP},
    scratch::{Family, Scratch},
};

/// Writes the key of the datagram's flow into the working memory and returns it; `None` for
/// protocols without flows.
#[inline(always)]
fn key<'s, A: Family>(
    scratch: &'s Scratch,
    datagram: &Datagram<A>,
    zone: u16,
    direction: Direction,
) -> Option<&'s FlowKey<A>> {
    let (protocol, transport) = (datagram.protocol, &datagram.transport);
    if !opening::is_kept(datagram) {
        return None;
    }
    let key = match direction {
        Direction::FromClient => FlowKey {
            zone,
            protocol,
            reserved: 0,
            client_port: transport.source_port,
            remote_port: transport.destination_port,
            client: datagram.source,
            remote: datagram.destination,
        },
        Direction::ToClient => key_to_client(datagram, zone),
    };
    // SAFETY: the scratch memory is this run's alone.
    unsafe {
        A::key(scratch).write(key);
        Some(&*A::key(scratch))
    }
}

/// Returns the key of the flow of a datagram to a client.
#[inline(always)]
pub(super) const fn key_to_client<A: Family>(datagram: &Datagram<A>, zone: u16) -> FlowKey<A> {
    let transport = &datagram.transport;
    FlowKey {
        zone,
        protocol: datagram.protocol,
        reserved: 0,
        client_port: transport.destination_port,
        remote_port: transport.source_port,
        client: datagram.destination,
        remote: datagram.source,
    }
}

/// Whether a flow with this key, opened by either side, is alive and still allowed.
#[inline(always)]
pub(super) fn is_known<A: Family, W: DatapathOf<A>, P: Packet>(
    run: &Run<'_, W, P>,
    key: &FlowKey<A>,
    direction: Direction,
) -> bool {
    let (now, generation) = (run.now(), run.generation());
    let look = |flow: &mut Flow| {
        let (rule, flags) = (flow.rule, flow.flags);
        let (group, origin) = (flow.group.into(), flow.origin());
        let asks = direction == Direction::ToClient && flow.far_zone != 0;
        let is_astray = asks && far_end(run, flow, &key.remote.wide()) == FarEnd::ELSEWHERE;
        let state =
            if is_astray || now.saturating_sub(flow.last_seen) > lifetime(key.protocol, flags) {
                State::Expired
            } else if flow.generation == generation {
                State::Alive
            } else {
                State::Older
            };
        Touched { state, rule, flags, group, origin, ending: Ending::Open as u8 }
    };
    let found = match run.datapath.flow(key, look) {
        Some(found) => found,
        None => match run.datapath.new_flow(key, look) {
            Some(found) => found,
            None => return false,
        },
    };
    match found.state {
        State::Alive => true,
        State::Expired => false,
        State::Older | State::Moved => {
            allowing_group(run, key, found.rule, found.flags, found.origin) != REVOKED
        }
    }
}

/// Known flow of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Known {
    /// Rule of the flow, or [`super::NO_RULE`].
    pub(super) rule: u8,
    /// Group of the client.
    pub(super) group: u16,
    /// 1 if the packet passes only because the group is in audit mode or the warm-up lasts.
    pub(super) audited: u8,
}

/// Returns the verdict over a packet of a known flow.
#[inline(always)]
pub(super) fn flow_verdict(known: &Known) -> Verdict {
    Verdict {
        rule: known.rule,
        matched: Matched::Flow,
        group: known.group as u8,
        audited: known.audited,
        ..Verdict::pass_builtin(Reason::Flow)
    }
}

/// Finds and updates the flow of a packet; `None` unless the flow is alive and the policy still
/// allows it.
#[inline(always)]
pub(super) fn pass<A: Family, W: DatapathOf<A>, P: Packet>(
    run: &Run<'_, W, P>,
    datagram: &Datagram<A>,
    direction: Direction,
) -> Option<Known> {
    let key = key(run.scratch, datagram, run.zone(), direction)?;
    let datapath = run.datapath;
    if datagram.protocol == TCP && !segment::read(run, datagram) {
        return None;
    }
    let change = |flow: &mut Flow| touch(run, flow, datagram, direction);
    let touched = match datapath.flow(key, change) {
        Some(touched) => touched,
        None => {
            run.scratch.ctx.no_answered_flow.set(1);
            datapath.new_flow(key, |flow| {
                let touched = change(flow);
                if touched.state == State::Alive {
                    note_answer(datapath, key, flow, direction);
                }
                touched
            })?
        }
    };
    if touched.ending != Ending::Open as u8 {
        report::<A, W, P>(run, EventKind::Closed, touched.ending);
    }
    match touched.state {
        State::Alive => Some(known(touched)),
        State::Expired => None,
        State::Moved => {
            let Touched { rule, flags, group, origin, .. } = touched;
            opening::set_terms(run.scratch, group.into(), rule, flags, origin);
            run.scratch.ctx.moved.set(1);
            Some(known(touched))
        }
        State::Older => {
            let Touched { rule, flags, origin, .. } = touched;
            let group = allowing_group(run, key, rule, flags, origin);
            if group == REVOKED {
                revoke(run, key);
                return None;
            }
            renew(run, key, group as u16, datagram, direction);
            Some(known(Touched { group: group as u16, ..touched }))
        }
    }
}

/// Ends a flow that the policy in force does not allow.
#[inline(always)]
pub(super) fn revoke<A: Family, W: DatapathOf<A>, P: Packet>(
    run: &Run<'_, W, P>,
    key: &FlowKey<A>,
) {
    let datapath = run.datapath;
    let ended = |flow: &mut Flow| datapath.end_flow(flow, run.scratch, Ending::Revoked);
    let ending = match datapath.flow(key, ended) {
        Some(ending) => ending,
        None => datapath.new_flow(key, ended).unwrap_or(Ending::Open as u8),
    };
    datapath.close(key);
    if ending != Ending::Open as u8 {
        report::<A, W, P>(run, EventKind::Closed, ending);
    }
}

/// Makes a flow one of the policy in force, and updates it by one of its packets.
#[inline(always)]
pub(super) fn renew<A: Family, W: DatapathOf<A>, P: Packet>(
    run: &Run<'_, W, P>,
    key: &FlowKey<A>,
    group: u16,
    datagram: &Datagram<A>,
    direction: Direction,
) {
    let datapath = run.datapath;
    let renew = |flow: &mut Flow| {
        if direction == Direction::FromClient {
            flow.set_mac(run.scratch.ctx.client_mac.get());
        }
        flow.generation = run.generation();
        flow.group = group as u8;
        let ending = touch(run, flow, datagram, direction).ending;
        flow.generation = opening::lasting(run.generation(), flow.flags);
        ending
    };
    let ending = match datapath.flow(key, renew) {
        Some(ending) => ending,
        None => {
            let ending = datapath.new_flow(key, |flow| {
                let ending = renew(flow);
                note_answer(datapath, key, flow, direction);
                ending
            });
            ending.unwrap_or(Ending::Open as u8)
        }
    };
    if ending != Ending::Open as u8 {
        report::<A, W, P>(run, EventKind::Closed, ending);
    }
}

/// Moves a flow to the answered flows if the packet travels against its opener.
#[inline(always)]
fn note_answer<A: Family, W: DatapathOf<A>>(
    datapath: W,
    key: &FlowKey<A>,
    flow: &mut Flow,
    direction: Direction,
) {
    let opened_by_client = flow.flags & flow_flags::INBOUND == 0;
    if (direction == Direction::ToClient) == opened_by_client {
        flow.flags |= flow_flags::ANSWERED;
        datapath.answered(key, flow);
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Alive,
    Expired,
    Older,
    /// The packet's sender has another hardware address than the flow's.
    Moved,
}

/// Flow that a packet has updated, or has found to be expired or of an older generation.
#[derive(Clone, Copy)]
struct Touched {
    state: State,
    rule: u8,
    flags: u16,
    group: u16,
    origin: u16,
    /// [`Ending`] of the flow as a number, if this packet has ended the flow.
    ending: u8,
}

/// Returns the location of the remote of a flow with another zone, for a packet to the client.
#[inline(always)]
fn far_end<W: Datapath, P: Packet>(run: &Run<'_, W, P>, flow: &Flow, remote: &V6) -> FarEnd {
    // SAFETY: the scratch memory is this run's alone.
    unsafe { run.scratch.ctx.far_end.get().write(*remote) };
    run.datapath.far_end(run.scratch, flow.far_zone, flow.flags & flow_flags::INBOUND == 0)
}

/// Updates a flow by one of its packets. The packet's TCP numbers stay in the working memory, since
/// the stack has no room for them.
#[inline(always)]
fn touch<A: Family, W: Datapath, P: Packet>(
    run: &Run<'_, W, P>,
    flow: &mut Flow,
    datagram: &Datagram<A>,
    direction: Direction,
) -> Touched {
    let (scratch, protocol) = (run.scratch, datagram.protocol);
    // Another CPU may have written a later time than this packet's.
    let idle = run.now().saturating_sub(flow.last_seen);
    let (rule, flags) = (flow.rule, flow.flags);
    let (group, origin) = (flow.group.into(), flow.origin());
    let open = Ending::Open as u8;
    let found = Touched { state: State::Alive, rule, flags, group, origin, ending: open };
    if direction == Direction::ToClient && flow.far_zone != 0 {
        match far_end(run, flow, run.source()) {
            FarEnd::THERE => scratch.ctx.sent.set(flow.far_zone.into()),
            FarEnd::LEFT => flow.far_zone = 0,
            _ => return Touched { state: State::Expired, ..found },
        }
    }
    // A SYN on a flow that is closing begins another connection between the same ports.
    let reopened = protocol == TCP
        && datagram.transport.flags & (TCP_SYN | TCP_ACK) == TCP_SYN
        && lifetime(protocol, flags) == TCP_CLOSING;
    if reopened || idle > lifetime(protocol, flags) {
        let ending = run.datapath.end_flow(flow, scratch, Ending::Expired);
        return Touched { state: State::Expired, ending, ..found };
    }
    if direction == Direction::FromClient && flow.mac() != run.scratch.ctx.client_mac.get() {
        return Touched { state: State::Moved, ..found };
    }
    if flow.generation != run.generation() {
        return Touched { state: State::Older, ..found };
    }
    note(flow, run.now(), idle.cast_signed(), run.packets(), datagram.length, direction);
    let mut news = open;
    let tcp = datagram.transport.flags;
    if protocol == TCP && run.datapath.note_segment(flow, scratch, tcp, direction) != 0 {
        let ending = ending(flow.flags);
        if ending != Ending::Open {
            news = run.datapath.end_flow(flow, scratch, ending);
        }
    }
    Touched { ending: news, ..found }
}

/// Counts packets of a flow that was idle for `idle` nanoseconds: negative if another CPU has
/// written a later time.
#[inline(always)]
pub(super) fn note(
    flow: &mut Flow,
    now: u64,
    idle: i64,
    packets: u64,
    bytes: u32,
    direction: Direction,
) {
    // Most packets find a recent time there, and then change only the counters of the cache line.
    if idle > NANOS_PER_SEC.cast_signed() {
        flow.last_seen = now;
    }
    match direction {
        Direction::FromClient => {
            flow.client_packets += packets;
            flow.client_bytes += u64::from(bytes);
        }
        Direction::ToClient => {
            flow.remote_packets += packets;
            flow.remote_bytes += u64::from(bytes);
        }
    }
}

/// Keeps a flow that has ended, as an [`Ending`] says, for the record of it. Returns the ending, or
/// [`Ending::Open`] if it was told before.
#[inline(always)]
pub fn end_flow(flow: &mut Flow, scratch: &Scratch, ending: u8) -> u8 {
    if flow.flags & flow_flags::REPORTED != 0 {
        return Ending::Open as u8;
    }
    flow.flags |= flow_flags::REPORTED;
    // SAFETY: the scratch memory is this run's alone.
    unsafe { scratch.ctx.flow.get().write(*flow) };
    ending
}

/// Reports the flow in the working memory. The record is made in a function of its own to save
/// stack; few packets lead to one.
#[inline(always)]
fn report<A: Family, W: DatapathOf<A>, P: Packet>(
    run: &Run<'_, W, P>,
    kind: EventKind,
    ending: u8,
) {
    run.scratch.ctx.flow_kind.set(kind as u64);
    run.scratch.ctx.flow_ending.set(u64::from(ending));
    if make_record::<A, W, P>(run) != Stage::DONE {
        run.scratch.ctx.flow_kind.set(0);
    }
}

#[inline(never)]
fn make_record<A: Family, W: DatapathOf<A>, P: Packet>(run: &Run<'_, W, P>) -> Stage {
    let ctx = &run.scratch.ctx;
    // SAFETY: the scratch memory is this run's alone, and holds the key and the flow.
    let (key, flow) = unsafe { (&*A::key(run.scratch), &*ctx.flow.get()) };
    run.datapath.report_flow(run.now(), || FlowEvent {
        kind: ctx.flow_kind.get() as u32,
        reserved: 0,
        time: run.now(),
        flow: *flow,
        client: key.client.wide(),
        remote: key.remote.wide(),
        client_port: key.client_port,
        remote_port: key.remote_port,
        zone: key.zone,
        protocol: key.protocol,
        ending: ctx.flow_ending.get() as u8,
    });
    Stage::done()
}

#[inline(always)]
fn known(flow: Touched) -> Known {
    let audited = (flow.flags & flow_flags::AUDITED) as u8;
    Known { rule: flow.rule, group: flow.group, audited }
}

/// Opens the packet's flow on the terms that its verdict has noted, if there are any and the packet may
/// open one. A segment's numbers are known since [`pass`] has found no flow of it.
///
/// Part of the program itself, since each function costs a new flow its return. The terms are in the
/// working memory so that the verifier follows one case, whatever they are.
#[inline(always)]
pub(super) fn open<A: Family, W: DatapathOf<A>, P: Packet>(
    run: &Run<'_, W, P>,
    direction: Direction,
) {
    let (scratch, datagram) = (run.scratch, run.datagram::<A>());
    if scratch.ctx.opening.get() == 0
        || datagram.fragment == Fragment::Later
        || !opening::may_open(datagram)
        || (datagram.protocol == TCP && scratch.segment.known.get() == 0)
    {
        return;
    }
    let Some(key) = key(scratch, datagram, run.zone(), direction) else {
        return;
    };
    opening::begin(
        scratch,
        direction,
        datagram.length,
        datagram.transport.flags,
        datagram.protocol,
    );
    // SAFETY: the scratch memory is this run's alone.
    let flow = unsafe { &mut *scratch.ctx.flow.get() };
    // DNS over UDP never matches its flow: every query opens it anew.
    let silent = datagram.protocol == UDP && key.remote_port == DNS_PORT;
    if silent {
        flow.flags |= flow_flags::REPORTED;
    }
    let may_be_answered = scratch.ctx.no_answered_flow.get() == 0;
    run.datapath.open(key, flow, may_be_answered);
    if !silent {
        report::<A, W, P>(run, EventKind::Opened, Ending::Open as u8);
    }
    Verdict::set_opened(scratch);
}
