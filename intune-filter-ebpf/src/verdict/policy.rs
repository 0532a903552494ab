//! Verdicts by the AND of client, destination and port.

use super::{
    Action, NO_GROUP, NO_RULE, Run, Verdict, flow, limit,
    links::Links,
    opening,
    resolver::{self, DNS_PORT},
    rules::ANY_PORT,
    stage::Stage,
};
use crate::{
    abi::{
        Address as _, MODE_AUDIT, MODE_ENFORCE, MODE_EXEMPT, Reason, SERVER_DHCP, V6, flow_flags,
        has_ports, port_index,
    },
    datapath::{Datapath, DatapathOf, Member},
    packet::{Datagram, Direction, Fragment, Packet, TCP, UDP},
    scratch::Family,
};

impl<W: Datapath, P: Packet> Run<'_, W, P> {
    /// Returns a verdict, or, with one that passes in the working memory, the stage that opens the flow.
    #[inline(always)]
    pub(super) fn by_policy<A: Links>(&self, datagram: &Datagram<A>) -> Result<Verdict, Stage>
    where
        W: DatapathOf<A>,
    {
        let Some(settings) = self.settings() else {
            return Ok(Verdict::deny(Reason::NoPolicy));
        };
        if datagram.source.is_link_local() || datagram.source.is_unspecified() {
            return Ok(Verdict::deny(Reason::LinkLocal));
        }
        // The gateway would forward the packet to a client that waits for just such an answer.
        let forged = resolver::is_from_resolver(self, datagram);
        let found = self.client(datagram);
        let listed = found.is_some();
        let client = found.unwrap_or(Member { group: u32::from(NO_GROUP), ..Member::default() });
        let exempt = client.mode == MODE_EXEMPT;
        if forged && !exempt {
            return Ok(Verdict::deny(Reason::Source));
        }
        let verdict = if exempt {
            Verdict::pass_builtin(Reason::Exempt).of(&client)
        } else if listed {
            self.by_rules(datagram, &client)
        } else if settings.allow_unlisted_clients == 0 {
            Verdict::deny(Reason::UnlistedClient)
        } else {
            Verdict::pass_builtin(Reason::UnlistedAllowed)
        };
        if verdict.action != Action::Pass {
            return Ok(verdict);
        }
        let link = verdict.reason == Reason::Link;
        let (rule, flags) = if verdict.reason == Reason::Policy {
            (verdict.rule, 0)
        } else if verdict.audited == 0 {
            // The answer of a DHCP server needs a flow too, to find its way back.
            (NO_RULE, flow_flags::UNRULED)
        } else if client.mode == MODE_AUDIT {
            (NO_RULE, flow_flags::AUDITED)
        } else {
            (NO_RULE, flow_flags::WARM_UP)
        };
        opening::set_terms(self.scratch, client.group, rule, flags, 0);
        let believed = if link { Member::BELIEVED } else { 0 };
        let who = Member { flags: client.flags | believed, ..client };
        self.scratch.ctx.member.set(who.word());
        verdict.store(self.scratch);
        Err(Stage::OPEN)
    }

    /// Opens the flow of a client's datagram that passes by the verdict in the working memory, if the
    /// datagram may open one and its sender may; or puts there the verdict that denies it.
    ///
    /// A stage of its own: the verifier goes over it once, whatever has led to the verdict.
    #[inline(always)]
    pub(super) fn open_flow<A: Links>(&self)
    where
        W: DatapathOf<A>,
    {
        let client = Member::from_word(self.scratch.ctx.member.get()).unwrap_or_default();
        if limit::admits_flow::<A, W, P>(self, &client) {
            flow::open::<A, W, P>(self, Direction::FromClient);
            return;
        }
        let verdict = Verdict::load(self.scratch);
        let reason = limit::refusal(self);
        // What passes without a rule passes over its limit too, and takes no entry.
        let limited = verdict.reason == Reason::Policy || verdict.reason == Reason::Link;
        if limited || reason != Reason::FlowLimit {
            let denied = Verdict::over_limit(reason, &client);
            Verdict { rule: verdict.rule, ..denied }.store(self.scratch);
        }
    }

    #[inline(always)]
    fn by_rules<A: Links>(&self, datagram: &Datagram<A>, client: &Member) -> Verdict
    where
        W: DatapathOf<A>,
    {
        if datagram.fragment == Fragment::Later {
            return Verdict::deny_client(Reason::Fragment, client);
        }
        let protocol = datagram.protocol;
        let echoes = || self.settings().is_some_and(|settings| settings.icmp_echo != 0);
        if protocol == A::ICMP && (datagram.transport.flags != A::ECHO_REQUEST || !echoes()) {
            return self.by_quote(datagram, client);
        }
        if protocol != A::ICMP && !has_ports(protocol) {
            return Verdict::deny_client(Reason::Protocol, client);
        }
        if self.is_to_dhcp_server(datagram) {
            return Verdict::pass_builtin(Reason::Link);
        }
        if is_dns(datagram) {
            // Only trusted resolvers are asked; every other is a way out.
            return Verdict::deny_client(Reason::Resolver, client);
        }
        let port = if protocol == A::ICMP {
            ANY_PORT
        } else {
            let port = u16::from_be(datagram.transport.destination_port);
            u64::from(port_index(protocol, port))
        };
        let found = self.datapath.match_rules(self.scratch, A::BITS == V6::BITS, port);
        if found.reason == Reason::Policy {
            let (rule, matched) = (found.rule, found.matched);
            return Verdict { rule, matched, ..Verdict::pass_builtin(Reason::Policy).of(client) };
        }
        let over_tls = is_dns_over_tls(datagram);
        let reason = if over_tls { Reason::DnsOverTls } else { found.reason };
        let verdict = Verdict { rule: found.rule, ..Verdict::deny_client(reason, client) };
        if found.may_be_tried && client.mode == MODE_ENFORCE {
            return Verdict { action: Action::Pass, audited: 1, ..verdict };
        }
        verdict
    }

    /// An ICMP message that is no echo request passes if it is an error that quotes a flow.
    #[inline(always)]
    fn by_quote<A: Links>(&self, datagram: &Datagram<A>, client: &Member) -> Verdict
    where
        W: DatapathOf<A>,
    {
        let known = A::quoted_by_client(&self.packet, datagram, self.zone())
            .is_some_and(|key| flow::is_known(self, &key, Direction::FromClient));
        if known {
            return Verdict::pass_builtin(Reason::IcmpError).of(client);
        }
        Verdict::deny_client(Reason::Icmp, client)
    }

    /// Whether the datagram is for a DHCP server that the configuration names (RFC 2131, RFC 8415).
    #[inline(always)]
    fn is_to_dhcp_server<A: Family>(&self, datagram: &Datagram<A>) -> bool {
        const V4_SERVER: u16 = 67_u16.to_be();
        const V4_CLIENT: u16 = 68_u16.to_be();
        const V6_SERVER: u16 = 547_u16.to_be();
        const V6_CLIENT: u16 = 546_u16.to_be();
        let ports = (datagram.transport.source_port, datagram.transport.destination_port);
        datagram.protocol == UDP
            && (ports == (V4_CLIENT, V4_SERVER) || ports == (V6_CLIENT, V6_SERVER))
            && self.datapath.server(self.set(), self.destination()) & SERVER_DHCP != 0
    }
}

/// Whether the datagram is DNS, by its destination port.
#[inline(always)]
pub(super) fn is_dns<A: Family>(datagram: &Datagram<A>) -> bool {
    is_to_port(datagram, DNS_PORT)
}

/// Whether the datagram is DNS over TLS (RFC 7858) or QUIC (RFC 9250), by its destination port.
#[inline(always)]
fn is_dns_over_tls<A: Family>(datagram: &Datagram<A>) -> bool {
    is_to_port(datagram, 853_u16.to_be())
}

/// Whether the datagram is DNS, plain or over TLS or QUIC, by its destination port.
#[inline(always)]
pub(super) fn is_any_dns<A: Family>(datagram: &Datagram<A>) -> bool {
    is_dns(datagram) || is_dns_over_tls(datagram)
}

#[inline(always)]
fn is_to_port<A: Family>(datagram: &Datagram<A>, port: u16) -> bool {
    datagram.fragment != Fragment::Later
        && datagram.transport.destination_port == port
        && (datagram.protocol == UDP || datagram.protocol == TCP)
}
