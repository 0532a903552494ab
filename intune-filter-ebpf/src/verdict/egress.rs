//! Verdicts over packets to clients: DNS answers teach addresses, and unsolicited packets are
//! denied.

use super::{
    Arrival, NO_GROUP, NO_RULE, Run, Verdict, denied_frame_event, flow, fragment, known_flow,
    limit,
    links::Links,
    membership, opening, other_vlan, reporting,
    resolver::{self, DNS_PORT, Response},
    resolver_route,
    stage::Stage,
    stream,
};
use crate::{
    abi::{
        Address as _, LIMIT_INBOUND, LIMIT_INBOUND_FRAGMENTS, MODE_EXEMPT, Matched, Reason, V4, V6,
        client_flags, flow_flags, has_ports, inbound_zone, port_index,
    },
    datapath::{ClientMaps, Datapath, DatapathOf, DualStack, Member, RuleEvent, RuleMatch},
    packet::{
        Datagram, Direction, ETHERTYPE_IPV4, ETHERTYPE_IPV6, Fragment, Frame, HeaderError, Packet,
        UDP,
    },
    scratch::Family,
};

/// Judges a frame that is about to leave on a LAN interface.
#[inline(always)]
pub fn egress<W: DualStack>(
    packet: &(impl Packet + Copy),
    datapath: W,
    arrival: Arrival,
) -> Verdict {
    let packets = packet.packets();
    let verdict = judge(packet, datapath, arrival, packets);
    let bytes = packet.counted_length();
    datapath.count(verdict.counted(), packets, bytes);
    if verdict.rule != NO_RULE {
        let opens = verdict.reason == Reason::Inbound && verdict.opened != 0;
        let event = if opens { RuleEvent::Opened } else { RuleEvent::Packet };
        datapath.count_rule(verdict.rule, event, packets, bytes);
    }
    verdict
}

#[inline(always)]
fn judge<W: DualStack>(
    packet: &(impl Packet + Copy),
    datapath: W,
    arrival: Arrival,
    packets: u32,
) -> Verdict {
    let Some(frame) = Frame::parse(packet, arrival.stripped_tag) else {
        return Verdict::deny(Reason::Malformed);
    };
    let Some(zone) = datapath.zone(arrival.ifindex, frame.vlan) else {
        return other_vlan::judge(packet, datapath, arrival, &frame, Direction::ToClient);
    };
    if !arrival.is_from_gateway() {
        let known = known_flow::pass(packet, datapath, zone, &frame, Direction::ToClient, packets);
        if known != 0 {
            return known_flow::verdict(known);
        }
    }
    let Some(scratch) = datapath.claim() else {
        return Verdict::deny(Reason::Busy);
    };
    let run =
        Run::new(datapath, *packet, scratch, arrival, zone, frame.payload, Direction::ToClient);
    let mut stage = if frame.second_tag {
        run.second_tag(arrival.is_from_gateway()).store(scratch);
        Stage::DONE
    } else if frame.ethertype == ETHERTYPE_IPV4 {
        stages::<V4, _, _>(&run)
    } else if frame.ethertype == ETHERTYPE_IPV6 {
        stages::<V6, _, _>(&run)
    } else {
        // A router forwards nothing else: the gateway itself talks to hosts on the link.
        Verdict::pass_builtin(Reason::Link).store(scratch);
        Stage::DONE
    };
    if stage == Stage::ANSWERS {
        // Called here for both families, so that the verifier checks it once.
        stage = answers(&run);
        if stage == Stage::DONE {
            stage = if frame.ethertype == ETHERTYPE_IPV4 {
                record::<V4, _, _>(&run)
            } else {
                record::<V6, _, _>(&run)
            };
        }
    }
    let verdict = Verdict::load(scratch);
    datapath.release(scratch);
    if stage == Stage::DONE { verdict } else { Verdict::deny(Reason::Malformed) }
}

impl<W: Datapath, P: Packet> Run<'_, W, P> {
    #[inline(always)]
    fn is_from_gateway(&self) -> bool {
        self.scratch.ctx.came_by.get() == 0
    }

    /// Judges a frame with two VLAN tags: the gateway alone may send one, since no policy names its
    /// VLAN.
    #[inline(always)]
    fn second_tag(&self, from_gateway: bool) -> Verdict {
        if from_gateway {
            return Verdict::pass_builtin(Reason::GatewaySent);
        }
        let verdict = Verdict::deny(Reason::VlanTag);
        let now = self.datapath.now();
        let event = || denied_frame_event(&verdict, self.scratch, now, true);
        reporting::tell_frame(self.datapath, now, event);
        verdict
    }
}

/// Runs the stages, which are functions of their own in the kernel to save stack.
#[inline(always)]
fn stages<A: Links, W: DualStack + DatapathOf<A>, P: Packet>(run: &Run<'_, W, P>) -> Stage {
    let mut stage = parse::<A, W, P>(run);
    if stage == Stage::NEXT {
        stage = dns_answer::<A, W, P>(run);
        if stage == Stage::NEXT {
            stage = flow_or_unsolicited::<A, W, P>(run);
            if stage == Stage::DONE {
                flow::open::<A, W, P>(run, Direction::ToClient);
            }
        }
        if stage == Stage::DONE && has_more_to_record::<A, W, P>(run) {
            stage = record::<A, W, P>(run);
        }
    }
    stage
}

/// Parses the headers.
#[inline(never)]
fn parse<A: Links, W: DatapathOf<A>, P: Packet>(run: &Run<'_, W, P>) -> Stage {
    let from_gateway = run.is_from_gateway();
    let (headers, message) = (&run.scratch.headers, &run.scratch.message);
    let verdict = match A::parse(&run.packet, headers, message, run.network_offset()) {
        Ok(()) if run.read_policy() => return Stage::NEXT,
        Ok(()) | Err(_) if from_gateway => Verdict::pass_builtin(Reason::GatewaySent),
        Ok(()) => {
            Verdict::deny(Reason::NoPolicy).store(run.scratch);
            tell(run, run.datagram::<A>());
            return Stage::done();
        }
        Err(HeaderError::Malformed) => Verdict::deny(Reason::Malformed),
        Err(HeaderError::SourceRoute) => Verdict::deny(Reason::SourceRoute),
        Err(HeaderError::Fragment) => Verdict::deny(Reason::Fragment),
    };
    verdict.store(run.scratch);
    Stage::done()
}

/// Learns from a trusted resolver's answer.
#[inline(never)]
fn dns_answer<A: Links, W: DualStack, P: Packet>(run: &Run<'_, W, P>) -> Stage {
    let datagram = run.datagram::<A>();
    // A fragmented answer cannot be learned from, and without that an answer has no use.
    if datagram.fragment != Fragment::Whole || !resolver::is_from_resolver(run, datagram) {
        return Stage::NEXT;
    }
    // The stack forwards IPv6 packets whose source is one of its own addresses. Where a DNAT rule hands
    // queries to another host, the configuration names the device that its answers come in by.
    if !run.is_from_gateway()
        && run.datapath.is_own(run.source())
        && !resolver_route::has_named_devices(run.scratch, run.datapath)
    {
        return Stage::NEXT;
    }
    if !run.is_from_gateway() && run.datapath.is_astray(run.scratch) {
        run.scratch.ctx.astray.set(1);
        return Stage::NEXT;
    }
    let verdict = if datagram.protocol == UDP {
        match resolver::answer(run, datagram) {
            Response::NOT_OURS => return Stage::NEXT,
            Response::DEFERRED => Verdict::deny(Reason::DnsPunted),
            _ => Verdict::pass_builtin(Reason::DnsAnswer),
        }
    } else {
        match stream::answer::<A, W, P>(run) {
            stream::Found::PASSED => Verdict::pass_builtin(Reason::DnsAnswer),
            stream::Found::PUNTED => Verdict::deny(Reason::DnsPunted),
            stream::Found::DENIED => Verdict::deny(Reason::DnsTransport),
            stream::Found::UNSOLICITED => Verdict::deny(Reason::Unsolicited),
            stream::Found::READABLE | stream::Found::UNREADABLE | stream::Found::HARMLESS => {
                return Stage::ANSWERS;
            }
            _ => return Stage::NEXT,
        }
    };
    verdict.store(run.scratch);
    Stage::done()
}

/// Learns from a resolver's answer over TCP.
#[inline(always)]
fn answers<W: DualStack, P: Packet>(run: &Run<'_, W, P>) -> Stage {
    let verdict = match stream::read(run) {
        stream::Found::PASSED => Verdict::pass_builtin(Reason::DnsAnswer),
        stream::Found::UNSOLICITED => Verdict::deny(Reason::Unsolicited),
        _ => Verdict::deny(Reason::DnsPunted),
    };
    verdict.store(run.scratch);
    Stage::DONE
}

/// Passes packets of known flows, and judges unsolicited ones.
#[inline(never)]
fn flow_or_unsolicited<A: Links, W: DatapathOf<A>, P: Packet>(run: &Run<'_, W, P>) -> Stage {
    by_flow::<A, W, P>(run).store(run.scratch);
    Stage::done()
}

/// Whether [`record`] has something to do: a function of its own costs each packet a return.
#[inline(always)]
fn has_more_to_record<A: Links, W: Datapath, P: Packet>(run: &Run<'_, W, P>) -> bool {
    run.is_first_fragment::<A>() || Verdict::load(run.scratch).reason.denies()
}

/// Records the verdict over a first fragment for later ones, and reports a denial.
#[inline(never)]
fn record<A: Links, W: DatapathOf<A>, P: Packet>(run: &Run<'_, W, P>) -> Stage {
    let (verdict, datagram) = (Verdict::load(run.scratch), run.datagram::<A>());
    let client = || membership::member(run, &datagram.destination);
    let verdict =
        fragment::remember::<LIMIT_INBOUND_FRAGMENTS, A, W, P>(run, datagram, verdict, client);
    verdict.store(run.scratch);
    if verdict.reason.denies() {
        tell(run, datagram);
    }
    Stage::done()
}

/// Tells of a denied packet, whose verdict is stored.
#[inline(always)]
fn tell<A: Family, W: Datapath, P: Packet>(run: &Run<'_, W, P>, datagram: &Datagram<A>) {
    let transport = &datagram.transport;
    let (from, to) = (transport.source_port, transport.destination_port);
    run.datapath.tell_denial(run.scratch, reporting::ends(from, to, datagram.protocol), false);
}

#[inline(always)]
fn by_flow<A: Links, W: DatapathOf<A>, P: Packet>(run: &Run<'_, W, P>) -> Verdict {
    let datagram = run.datagram::<A>();
    if run.is_from_gateway() {
        return Verdict::pass_builtin(Reason::GatewaySent);
    }
    if datagram.fragment != Fragment::Whole {
        fragment::note_side(run);
    }
    if datagram.fragment == Fragment::Later {
        if let Some(verdict) = fragment::later(run, datagram) {
            return verdict;
        }
    } else if fragment::is_duplicate_first(run, datagram) {
        return Verdict::deny(Reason::Fragment);
    }
    // Port 53 over UDP never belongs to a flow.
    let dns = datagram.fragment != Fragment::Later
        && datagram.protocol == UDP
        && datagram.transport.source_port == DNS_PORT;
    if datagram.fragment != Fragment::Later
        && !dns
        && let Some(known) = flow::pass(run, datagram, Direction::ToClient)
    {
        return flow::flow_verdict(&known);
    }
    if datagram.protocol == A::ICMP
        && datagram.fragment != Fragment::Later
        && let Some(key) = A::quoted_to_client(&run.packet, datagram, run.zone())
        && flow::is_known(run, &key, Direction::ToClient)
    {
        return Verdict { matched: Matched::Flow, ..Verdict::pass_builtin(Reason::IcmpError) };
    }
    unsolicited(run, datagram)
}

/// Returns the zone that was allowed to send the packet, if it comes from another one; otherwise 0.
///
/// A resolver only answers queries: a flow that a resolver opened would let the client reach it.
#[inline(always)]
fn sending_zone<A: Links, W: DatapathOf<A>, P: Packet>(
    run: &Run<'_, W, P>,
    datagram: &Datagram<A>,
) -> u16 {
    if datagram.fragment == Fragment::Later
        || !opening::is_kept(datagram)
        || resolver::is_from_resolver(run, datagram)
    {
        return 0;
    }
    let here = flow::key_to_client(datagram, 0);
    // SAFETY: the scratch memory is this run's alone.
    unsafe { A::sender_key(run.scratch).write(here.of_remote(0)) };
    run.datapath.sending_zone(run.scratch, A::BITS == V6::BITS)
}

/// Returns what the group's `inbound` option says of a packet that belongs to no flow. Rules let in what has
/// ports; those of the client are in the working memory then.
#[inline(always)]
fn let_in<A: Links, W: DatapathOf<A>, P: Packet>(
    run: &Run<'_, W, P>,
    datagram: &Datagram<A>,
    client: &Member,
) -> RuleMatch {
    let denied = RuleMatch { reason: Reason::Unsolicited, ..RuleMatch::UNTOLD };
    if client.flags & client_flags::INBOUND != 0 {
        return RuleMatch { reason: Reason::Inbound, matched: Matched::Builtin, ..denied };
    }
    if client.flags & client_flags::INBOUND_RULES == 0
        || datagram.fragment == Fragment::Later
        || !has_ports(datagram.protocol)
    {
        return denied;
    }
    let (zone, to) = (inbound_zone(run.zone()), &datagram.destination);
    if ClientMaps::<A>::client(run.datapath, run.scratch, run.set(), zone, to).is_none() {
        return denied;
    }
    let port = port_index(datagram.protocol, u16::from_be(datagram.transport.destination_port));
    run.datapath.match_sender(run.scratch, A::BITS == V6::BITS, u64::from(port))
}

/// Judges a packet that belongs to no flow: what another zone was allowed to send arrives, and the
/// group's `inbound` option decides on the rest.
#[inline(always)]
fn unsolicited<A: Links, W: DatapathOf<A>, P: Packet>(
    run: &Run<'_, W, P>,
    datagram: &Datagram<A>,
) -> Verdict {
    let scratch = run.scratch;
    let found = membership::member(run, &datagram.destination);
    let listed = found.is_some();
    let client = found.unwrap_or(Member { group: u32::from(NO_GROUP), ..Member::default() });
    if client.mode == MODE_EXEMPT {
        return Verdict::pass_builtin(Reason::Exempt).of(&client);
    }
    let origin = sending_zone(run, datagram);
    if origin != 0 {
        scratch.ctx.sent.set(origin.into());
        opening::set_terms(scratch, client.group, NO_RULE, flow_flags::INBOUND, origin);
        return Verdict::pass_builtin(Reason::FromZone).of(&client);
    }
    if !listed {
        let allowed = run.settings().is_some_and(|settings| settings.allow_unlisted_clients != 0);
        return if allowed {
            Verdict::pass_builtin(Reason::UnlistedAllowed)
        } else {
            Verdict::deny(Reason::Unsolicited)
        };
    }
    // A resolver only answers queries: a flow that a resolver opened would let the client reach it.
    let found = if resolver::is_from_resolver(run, datagram) {
        RuleMatch { reason: Reason::Unsolicited, ..RuleMatch::UNTOLD }
    } else {
        let_in(run, datagram, &client)
    };
    if found.reason != Reason::Inbound {
        let later = datagram.fragment == Fragment::Later;
        let reason = if later {
            Reason::Fragment
        } else if scratch.ctx.astray.get() != 0 {
            Reason::AnswerInterface
        } else {
            Reason::Unsolicited
        };
        return Verdict::deny_client(reason, &client);
    }
    let (rule, matched) = (found.rule, found.matched);
    let mut verdict =
        Verdict { rule, matched, ..Verdict::pass_builtin(Reason::Inbound).of(&client) };
    if datagram.fragment != Fragment::Later && opening::may_open(datagram) {
        if !limit::admits::<LIMIT_INBOUND, W, P>(run, &client) {
            verdict = Verdict::over_limit(Reason::FlowLimit, &client);
            if verdict.audited == 0 {
                return verdict;
            }
        }
        opening::set_terms(scratch, client.group, rule, flow_flags::INBOUND, 0);
    }
    verdict
}
