//! Flows: lookup, opening, update by packets, and end.

use super::{
    Run, Verdict,
    lifetime::{TCP_CLOSING, ending, lifetime},
    resolver::DNS_PORT,
    revocation::{REVOKED, allowing_group},
    segment::{self, Numbers},
    stage::Stage,
};
use crate::{
    abi::{Ending, EventKind, Flow, FlowEvent, FlowKey, Matched, Reason, flow_flags, has_ports},
    datapath::{Datapath, DatapathOf, NANOS_PER_SEC},
    packet::{Datagram, Direction, Fragment, Packet, TCP, TCP_ACK, TCP_FIN, TCP_RST, TCP_SYN, UDP},
    scratch::{Family, Scratch},
};

/// Whether a datagram belongs to a flow, by its protocol.
#[inline(always)]
pub(super) fn is_kept<A: Family>(datagram: &Datagram<A>) -> bool {
    let (protocol, transport) = (datagram.protocol, &datagram.transport);
    // In ICMP messages other than echoes, the field of the identifier holds something else.
    let echo = protocol == A::ICMP
        && (transport.flags == A::ECHO_REQUEST || transport.flags == A::ECHO_REPLY);
    has_ports(protocol) || echo
}

/// Whether a datagram that belongs to no known flow may open one. A FIN or RST opens none: a forged
/// one would occupy an entry.
#[inline(always)]
pub(super) fn may_open<A: Family>(datagram: &Datagram<A>) -> bool {
    let ends = datagram.protocol == TCP && datagram.transport.flags & (TCP_FIN | TCP_RST) != 0;
    is_kept(datagram) && !ends
}

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
    if !is_kept(datagram) {
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
        Direction::ToClient => FlowKey {
            zone,
            protocol,
            reserved: 0,
            client_port: transport.destination_port,
            remote_port: transport.source_port,
            client: datagram.destination,
            remote: datagram.source,
        },
    };
    // SAFETY: the scratch memory is this run's alone.
    unsafe {
        A::key(scratch).write(key);
        Some(&*A::key(scratch))
    }
}

/// Whether a flow with this key, opened by either side, is alive and still allowed.
#[inline(always)]
pub(super) fn is_known<A: Family, W: DatapathOf<A>, P: Packet>(
    run: &Run<'_, W, P>,
    key: &FlowKey<A>,
) -> bool {
    let (now, generation) = (run.now(), run.generation());
    let look = |flow: &mut Flow| {
        let (rule, flags, group) = (flow.rule, flow.flags, flow.group);
        let state = if now.saturating_sub(flow.last_seen) > lifetime(key.protocol, flags) {
            State::Expired
        } else if flow.generation == generation {
            State::Alive
        } else {
            State::Older
        };
        Touched { state, rule, flags, group, ending: Ending::Open as u8 }
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
        State::Older => allowing_group(run, key, found.rule, found.flags) != REVOKED,
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
        State::Older => {
            let group = allowing_group(run, key, touched.rule, touched.flags);
            if group == REVOKED {
                let ended = |flow: &mut Flow| datapath.end_flow(flow, run.scratch, Ending::Revoked);
                let ending = match datapath.flow(key, ended) {
                    Some(ending) => ending,
                    None => datapath.new_flow(key, ended).unwrap_or(Ending::Open as u8),
                };
                datapath.close(key);
                if ending != Ending::Open as u8 {
                    report::<A, W, P>(run, EventKind::Closed, ending);
                }
                return None;
            }
            let renew = |flow: &mut Flow| {
                flow.generation = run.generation();
                flow.group = group as u16;
                let ending = touch(run, flow, datagram, direction).ending;
                flow.generation = lasting(run.generation(), flow.flags);
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
            Some(known(Touched { group: group as u16, ..touched }))
        }
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
}

/// Flow that a packet has updated, or has found to be expired or of an older generation.
#[derive(Clone, Copy)]
struct Touched {
    state: State,
    rule: u8,
    flags: u16,
    group: u16,
    /// [`Ending`] of the flow as a number, if this packet has ended the flow.
    ending: u8,
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
    let (rule, flags, group) = (flow.rule, flow.flags, flow.group);
    // A SYN on a flow that is closing begins another connection between the same ports.
    let reopened = protocol == TCP
        && datagram.transport.flags & (TCP_SYN | TCP_ACK) == TCP_SYN
        && lifetime(protocol, flags) == TCP_CLOSING;
    if reopened || idle > lifetime(protocol, flags) {
        let ending = run.datapath.end_flow(flow, scratch, Ending::Expired);
        return Touched { state: State::Expired, rule, flags, group, ending };
    }
    let open = Ending::Open as u8;
    if flow.generation != run.generation() {
        return Touched { state: State::Older, rule, flags, group, ending: open };
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
    Touched { state: State::Alive, rule, flags, group, ending: news }
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
    Known { rule: flow.rule, group: flow.group, audited: (flow.flags & flow_flags::AUDITED) as u8 }
}

/// Returns the generation that a flow is stored with. A flow of the warm-up gets 0: its packets are
/// judged one by one by the warm-up's clock, not by the age of the policy.
#[inline(always)]
const fn lasting(generation: u32, flags: u16) -> u32 {
    if flags & flow_flags::WARM_UP == flow_flags::WARM_UP { 0 } else { generation }
}

/// Bit of [`crate::scratch::PacketCtx::opening`] that says that there is a flow to open.
const OPENS: u64 = 1 << 63;

/// Notes on which terms [`open`] is to open the packet's flow: its group, rule and flags.
#[inline(always)]
pub(super) fn set_terms(scratch: &Scratch, group: u32, rule: u8, flags: u16) {
    let terms = u64::from(rule) << 32 | u64::from(flags) << 16 | u64::from(group as u16);
    scratch.ctx.opening.set(OPENS | terms);
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
        || !may_open(datagram)
        || (datagram.protocol == TCP && scratch.segment.known.get() == 0)
    {
        return;
    }
    let Some(key) = key(scratch, datagram, run.zone(), direction) else {
        return;
    };
    begin(scratch, direction, datagram.length, datagram.transport.flags, datagram.protocol);
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

/// Writes into the working memory the flow of the packet there, as it is when it is opened.
#[inline(always)]
fn begin(scratch: &Scratch, direction: Direction, length: u32, tcp: u8, protocol: u8) {
    let (terms, bytes) = (scratch.ctx.opening.get(), u64::from(length));
    let (rule, flags, group) = ((terms >> 32) as u8, (terms >> 16) as u16, terms as u16);
    let from_client = u64::from(direction == Direction::FromClient);
    let to_client = 1 - from_client;
    let (now, mac) = (scratch.ctx.now.get(), scratch.ctx.client_mac.get().to_ne_bytes());
    // SAFETY: the scratch memory is this run's alone. Field by field: on the stack there is no room.
    unsafe {
        let flow = &mut *scratch.ctx.flow.get();
        flow.opened = now;
        flow.last_seen = now;
        flow.client_packets = from_client;
        flow.client_bytes = from_client * bytes;
        flow.remote_packets = to_client;
        flow.remote_bytes = to_client * bytes;
        flow.client_end = 0;
        flow.client_acknowledged = 0;
        flow.remote_end = 0;
        flow.remote_acknowledged = 0;
        flow.generation = lasting(scratch.ctx.generation.get() as u32, flags);
        flow.group = group;
        flow.flags = flags;
        flow.rule = rule;
        flow.reserved = 0;
        flow.client_mac = [mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]];
        flow.name_state = [0; 2];
        if protocol == TCP {
            segment::note(flow, Numbers::of(&scratch.segment, tcp), direction, true);
        }
    }
}
