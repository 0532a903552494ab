//! Verdicts over packets from clients.
//!
//! In the kernel each stage is a function of its own that stores its verdict in the working memory:
//! programs have 512 octets of stack in all, those of callers included.

use super::{
    Action, Arrival, NO_RULE, Run, Verdict, denied_frame_event, flow, fragment, known_flow,
    links::Links,
    membership, moved, other_vlan,
    policy::{is_any_dns, is_dns},
    reply, reporting,
    resolver::{self, DNS_PORT},
    stage::Stage,
    stream,
};
use crate::{
    abi::{Address as _, LIMIT_FRAGMENTS, MODE_EXEMPT, Reason, V4, V6},
    datapath::{Datapath, DatapathOf, DualStack, Location, Member, RuleEvent},
    packet::{
        Datagram, Direction, ETHERTYPE_IPV4, ETHERTYPE_IPV6, Fragment, Frame, HeaderError, Packet,
        UDP, is_link_scope_ethertype,
    },
    scratch::Family,
};

/// Judges a frame that came in on a LAN interface.
#[inline(always)]
pub fn ingress<W: DualStack>(
    packet: &(impl Packet + Copy),
    datapath: W,
    arrival: Arrival,
) -> Verdict {
    let packets = packet.packets();
    let verdict = judge(packet, datapath, arrival, packets);
    let bytes = packet.counted_length();
    datapath.count(verdict.counted(), packets, bytes);
    if verdict.rule != NO_RULE {
        let event = match verdict.reason {
            Reason::Policy if verdict.opened != 0 => RuleEvent::Opened,
            reason if reason.denies() && verdict.audited != 0 => RuleEvent::Audited,
            reason if reason.denies() => RuleEvent::Denied,
            _ => RuleEvent::Packet,
        };
        datapath.count_rule(verdict.rule, event, packets, bytes);
    }
    verdict
}

#[inline(always)]
fn judge<W: DualStack, P: Packet + Copy>(
    packet: &P,
    datapath: W,
    arrival: Arrival,
    packets: u32,
) -> Verdict {
    let Some(frame) = Frame::parse(packet, arrival.stripped_tag) else {
        return Verdict::deny(Reason::Malformed);
    };
    let Some(zone) = datapath.zone(arrival.ifindex, frame.vlan) else {
        return if frame.hides_vlan() {
            Verdict::deny(Reason::VlanTag)
        } else {
            other_vlan::judge(packet, datapath, arrival, &frame, Direction::FromClient)
        };
    };
    let known = known_flow::pass(packet, datapath, zone, &frame, Direction::FromClient, packets);
    if known != 0 {
        return known_flow::verdict(known);
    }
    let Some(scratch) = datapath.claim() else {
        return Verdict::deny(Reason::Busy);
    };
    let run =
        Run::new(datapath, *packet, scratch, arrival, zone, frame.payload, Direction::FromClient);
    if frame.second_tag {
        run.deny_frame(Reason::VlanTag).store(scratch);
    } else if frame.ethertype == ETHERTYPE_IPV4 {
        stages::<V4, _, _>(&run);
    } else if frame.ethertype == ETHERTYPE_IPV6 {
        stages::<V6, _, _>(&run);
    } else if P::HAS_ETHERNET && is_link_scope_ethertype(frame.ethertype) {
        Verdict::pass_builtin(Reason::Link).store(scratch);
    } else {
        run.deny_frame(Reason::EtherType).store(scratch);
    }
    let verdict = Verdict::load(scratch);
    if !verdict.action.is_answered() {
        datapath.release(scratch);
    }
    verdict
}

#[inline(always)]
fn stages<A: Links, W: DatapathOf<A>, P: Packet>(run: &Run<'_, W, P>) {
    let mut stage = parse(run);
    stage = match stage {
        Stage::QUERY => query(run),
        Stage::STREAM => stream(run),
        Stage::MOVED => go_on(run),
        _ => stage,
    };
    if stage == Stage::POLICY {
        stage = policy(run);
    }
    if stage == Stage::OPEN {
        stage = open(run);
    }
    if stage == Stage::DONE && run.is_first_fragment::<A>() {
        stage = record_fragment(run);
    }
    if stage == Stage::DONE && Verdict::load(run.scratch).reason.denies() {
        stage = check_local(run);
    }
    if stage != Stage::DONE {
        Verdict::deny(Reason::Malformed).store(run.scratch);
    }
}

/// Parses the headers; passes link scope and known flows, which need no policy.
#[inline(never)]
fn parse<A: Links, W: DatapathOf<A>, P: Packet>(run: &Run<'_, W, P>) -> Stage {
    let (headers, message) = (&run.scratch.headers, &run.scratch.message);
    let verdict = match A::parse(&run.packet, headers, message, run.network_offset()) {
        Err(HeaderError::Malformed) => run.deny_frame(Reason::Malformed),
        Err(HeaderError::SourceRoute) => run.deny_frame(Reason::SourceRoute),
        Err(HeaderError::Fragment) => run.deny_frame(Reason::Fragment),
        Ok(()) if !run.read_policy() => Verdict::deny(Reason::NoPolicy),
        Ok(()) => match run.by_scope_or_flow(run.datagram()) {
            Ok(verdict) => verdict,
            Err(stage) => return stage,
        },
    };
    verdict.store(run.scratch);
    if run.scratch.ctx.moved.get() != 0 {
        return Stage::MOVED;
    }
    Stage::done()
}

/// Judges a packet by the AND of client, destination and port.
#[inline(never)]
fn policy<A: Links, W: DatapathOf<A>, P: Packet>(run: &Run<'_, W, P>) -> Stage {
    match run.by_policy(run.datagram()) {
        Ok(verdict) => verdict.store(run.scratch),
        Err(stage) => return stage,
    }
    Stage::done()
}

/// Judges a packet of a known flow whose hardware address is another one.
#[inline(never)]
fn go_on<A: Links, W: DatapathOf<A>, P: Packet>(run: &Run<'_, W, P>) -> Stage {
    match moved::go_on(run, run.datagram()) {
        Ok(verdict) => verdict.store(run.scratch),
        Err(stage) => return stage,
    }
    Stage::done()
}

/// Opens the flow of a packet that the policy passes.
#[inline(never)]
fn open<A: Links, W: DatapathOf<A>, P: Packet>(run: &Run<'_, W, P>) -> Stage {
    run.open_flow::<A>();
    Stage::done()
}

/// Judges a query to a trusted resolver.
#[inline(never)]
fn query<A: Links, W: DatapathOf<A>, P: Packet>(run: &Run<'_, W, P>) -> Stage {
    match run.by_question(run.datagram()) {
        Ok(verdict) => verdict.store(run.scratch),
        Err(stage) => return stage,
    }
    Stage::done()
}

/// Judges a segment of a connection to a trusted resolver.
#[inline(never)]
fn stream<A: Links, W: DatapathOf<A>, P: Packet>(run: &Run<'_, W, P>) -> Stage {
    match run.by_stream(run.datagram()) {
        Ok(verdict) => verdict.store(run.scratch),
        Err(stage) => return stage,
    }
    Stage::done()
}

/// Asks the routes, before a denial, whether the packet is for the gateway itself.
#[inline(never)]
fn check_local<A: Links, W: DatapathOf<A>, P: Packet>(run: &Run<'_, W, P>) -> Stage {
    run.before_denial(run.datagram(), Verdict::load(run.scratch)).store(run.scratch);
    Stage::done()
}

/// Records the verdict over a first fragment for later ones.
#[inline(never)]
fn record_fragment<A: Links, W: DatapathOf<A>, P: Packet>(run: &Run<'_, W, P>) -> Stage {
    let (verdict, datagram) = (Verdict::load(run.scratch), run.datagram());
    let client = || run.client(datagram);
    fragment::remember::<LIMIT_FRAGMENTS, A, W, P>(run, datagram, verdict, client)
        .store(run.scratch);
    Stage::done()
}

impl<W: Datapath, P: Packet> Run<'_, W, P> {
    #[inline(always)]
    fn deny_frame(&self, reason: Reason) -> Verdict {
        let verdict = Verdict::deny(reason);
        let now = self.datapath.now();
        let event = || denied_frame_event(&verdict, self.scratch, now, false);
        reporting::tell_frame(self.datapath, now, event);
        verdict
    }

    #[inline(always)]
    fn before_denial<A: Links>(&self, datagram: &Datagram<A>, verdict: Verdict) -> Verdict
    where
        W: DatapathOf<A>,
    {
        // A frame that did not parse was reported already; an invalid source gets no report and no
        // reply.
        if !self.is_parsed() || verdict.reason == Reason::Source {
            return verdict;
        }
        // Before there is a policy, no network is known to be the client's: an administrator of the
        // gateway is not to be cut off.
        let here = if verdict.reason == Reason::NoPolicy {
            self.is_gateway()
        } else {
            self.own_location() == Location::ELSEWHERE
                && self.datapath.routed_location(self.scratch) == Location::HERE
        };
        if !is_any_dns(datagram) && self.is_let_in(datagram) && here {
            if self.is_forged(datagram) {
                return Verdict::deny(Reason::Source);
            }
            return Verdict::pass_builtin(Reason::Gateway);
        }
        let transport = &datagram.transport;
        let (from, to) = (transport.source_port, transport.destination_port);
        let ends = reporting::ends(from, to, datagram.protocol);
        self.datapath.tell_denial(self.scratch, ends, true);
        if verdict.reject != 0
            && verdict.action == Action::Drop
            && reply::describe(self, datagram)
            && self.datapath.may_reply(self.now())
        {
            return Verdict { action: Action::Reject, ..verdict };
        }
        verdict
    }

    /// Returns a verdict, or the stage that finds it.
    #[inline(always)]
    fn by_scope_or_flow<A: Links>(&self, datagram: &Datagram<A>) -> Result<Verdict, Stage>
    where
        W: DatapathOf<A>,
    {
        if datagram.source.is_invalid_source() {
            return Ok(Verdict::deny(Reason::Source));
        }
        // Maps of both families would take the address for the IPv4 one, the routes would not.
        if datagram.destination.is_mapped() {
            return Ok(Verdict::deny(Reason::Destination));
        }
        if A::is_link_scope(datagram, || self.is_gateway()) {
            // Sockets that are bound to no address receive packets for all hosts of the link.
            if datagram.protocol == UDP && self.is_forged(datagram) {
                return Ok(Verdict::deny(Reason::Source));
            }
            return Ok(Verdict::pass_builtin(Reason::Link));
        }
        let mut to_resolver = false;
        if datagram.fragment == Fragment::Later {
            if let Some(verdict) = fragment::later(self, datagram) {
                return Ok(verdict);
            }
        } else if fragment::is_duplicate_first(self, datagram) {
            return Ok(Verdict::deny(Reason::Fragment));
        } else {
            to_resolver = self.is_to_resolver(datagram);
            // Over TCP, only clients whose queries are not judged have flows to a resolver: see
            // `by_stream`.
            if let Some(verdict) = self.by_flow(datagram) {
                return Ok(verdict);
            }
        }
        // The stack never forwards packets to IPv6 link-local destinations off their link; those to
        // IPv4 link-local destinations it does. A resolver that listens on every address of the
        // gateway must not become a way around the policy.
        let stays = A::BITS == V6::BITS && datagram.destination.is_link_local();
        let location = if stays { Location::HERE } else { self.own_location() };
        if location != Location::ELSEWHERE && self.is_forged(datagram) {
            return Ok(Verdict::deny(Reason::Source));
        }
        if to_resolver {
            let forwarded = A::BITS == V4::BITS
                && datagram.source.is_link_local()
                && location == Location::ELSEWHERE
                && self.datapath.routed_location(self.scratch) == Location::ELSEWHERE;
            if forwarded {
                return Ok(Verdict::deny(Reason::LinkLocal));
            }
            return Err(if datagram.protocol == UDP { Stage::QUERY } else { Stage::STREAM });
        }
        if location == Location::HERE && !is_any_dns(datagram) && self.is_let_in(datagram) {
            return Ok(Verdict::pass_builtin(Reason::Gateway));
        }
        Err(Stage::POLICY)
    }

    /// Whether the datagram is DNS to a trusted resolver.
    #[inline(always)]
    fn is_to_resolver<A: Family>(&self, datagram: &Datagram<A>) -> bool {
        is_dns(datagram) && resolver::is_resolver(self.datapath, self.set(), self.destination())
    }

    #[inline(always)]
    pub(super) fn is_own(&self) -> bool {
        self.datapath.is_own(self.destination())
    }

    /// Whether the packet is for the gateway itself, by the map of own addresses or by the routes.
    #[inline(always)]
    fn is_gateway(&self) -> bool {
        self.is_own() || self.datapath.routed_location(self.scratch) != Location::ELSEWHERE
    }

    #[inline(always)]
    pub(super) fn client<A: Links>(&self, datagram: &Datagram<A>) -> Option<Member>
    where
        W: DatapathOf<A>,
    {
        membership::member(self, &datagram.source)
    }

    /// Returns a verdict, or the stage that finds it.
    #[inline(always)]
    fn by_question<A: Links>(&self, datagram: &Datagram<A>) -> Result<Verdict, Stage>
    where
        W: DatapathOf<A>,
    {
        let Some(settings) = self.settings() else {
            return Ok(Verdict::deny(Reason::NoPolicy));
        };
        // A link-local source is in no group: the element of its zone has what its groups may ask
        // for.
        let Some(client) = self.client(datagram) else {
            return Err(Stage::POLICY);
        };
        Ok(resolver::query(self, settings, datagram, &client))
    }

    /// Returns a verdict, or the stage that finds it.
    #[inline(always)]
    fn by_stream<A: Links>(&self, datagram: &Datagram<A>) -> Result<Verdict, Stage>
    where
        W: DatapathOf<A>,
    {
        let Some(settings) = self.settings() else {
            return Ok(Verdict::deny(Reason::NoPolicy));
        };
        let Some(client) = self.client(datagram) else {
            return Err(Stage::POLICY);
        };
        if client.mode == MODE_EXEMPT {
            return Err(Stage::POLICY);
        }
        Ok(stream::query(self, settings, datagram, &client))
    }

    #[inline(always)]
    fn by_flow<A: Links>(&self, datagram: &Datagram<A>) -> Option<Verdict>
    where
        W: DatapathOf<A>,
    {
        // Port 53 over UDP never belongs to a flow: one socket sends several queries.
        if datagram.protocol == UDP && datagram.transport.destination_port == DNS_PORT {
            return None;
        }
        flow::pass(self, datagram, Direction::FromClient).map(|known| flow::flow_verdict(&known))
    }
}
