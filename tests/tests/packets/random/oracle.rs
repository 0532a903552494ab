//! Oracle, which has seen every frame since the tables were empty: whether a frame has a reason to
//! pass.

use std::collections::{HashMap, HashSet};

use intune_filter_ebpf::{
    abi::{Matched, Reason},
    verdict::Verdict,
};
use intune_filter_tests::prog_test_run::filter::HookPoint;

use super::{
    model::{self, within},
    reading::{Flow, Reading, TCP, UDP},
};

const SECOND: u64 = 1_000_000_000;
/// Time for which fragments and answers are waited for.
const PATIENCE: u64 = 30 * SECOND;
const DNS: Option<u16> = Some(53);

type Zone = (&'static str, u16);
type Address = std::net::IpAddr;

/// ZoneMap that have passed.
#[derive(Debug, Default)]
pub struct Oracle {
    flows: HashMap<(&'static str, Flow), Known>,
    datagrams: HashMap<(Zone, Address, Address, u32), u64>,
    queries: HashMap<(Zone, Address, Address, u16, u16), u64>,
    streams: HashSet<(Zone, Address, Address, u16)>,
    /// Of DNS.
    answers: Vec<Vec<u8>>,
}

/// A flow that has passed.
#[derive(Clone, Copy, Debug)]
struct Known {
    /// Its last packet's time.
    last: u64,
    /// Policy that has allowed it.
    generation: u32,
    /// Whether its client has opened it, and was allowed to.
    begun: bool,
    /// The other interface whose client has opened it.
    from: Option<&'static str>,
    /// Whether it was let in by the group's choice.
    let_in: bool,
}

/// Time and policy of a judgement.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    pub now: u64,
    pub generation: u32,
    /// Whether it is the second policy.
    pub second: bool,
}

impl Oracle {
    /// Whether a frame may pass, or not, with this verdict; notes what passes.
    pub fn agrees(
        &mut self,
        at: Moment,
        place: HookPoint,
        frame: &[u8],
        verdict: &Verdict,
    ) -> bool {
        let reading = Reading::of(frame);
        let from = match place {
            HookPoint::EgressFrom(_, from) => Some(from),
            _ => None,
        };
        let (interface, ingress) = match place {
            HookPoint::Ingress(interface) => (interface, true),
            HookPoint::Egress(interface)
            | HookPoint::EgressFrom(interface, _)
            | HookPoint::EgressOfGateway(interface) => (interface, false),
        };
        let passes = verdict.audited != 0 || !verdict.reason.denies();
        match verdict.reason {
            Reason::Unmanaged => return model::is_unmanaged(at.second, interface, vlan_of(frame)),
            Reason::OtherVlan => return model::is_other(at.second, interface, vlan_of(frame)),
            // Another protocol than IP.
            Reason::Link if reading.is_none() => return true,
            Reason::GatewaySent if reading.is_none() => return is_gateways_own(place),
            _ => {}
        }
        let Some(reading) = reading else { return !passes };
        let is_gateways_own = is_gateways_own(place);
        let seen = Seen { at, interface, ingress, from, is_gateways_own, reading: &reading };
        if !passes {
            return verdict.reason != Reason::Unsolicited || !seen.is_let_in_by_network();
        }
        self.has_cause(&seen, verdict) && {
            self.note(&seen, verdict);
            true
        }
    }

    fn has_cause(&mut self, seen: &Seen<'_>, verdict: &Verdict) -> bool {
        let Seen { at, interface, ingress, reading, .. } = *seen;
        let (vlan, client) = (reading.vlan, seen.client());
        if verdict.audited != 0 && verdict.reason.denies() {
            return model::is_audited(at.second, interface, vlan, client);
        }
        match (ingress, verdict.reason) {
            (_, Reason::Flow) => reading.flow(ingress).is_some_and(|flow| {
                let alive = self.is_alive(seen, &flow);
                if alive && let Some(known) = self.flows.get_mut(&(interface, flow)) {
                    known.last = at.now;
                    known.generation = at.generation;
                }
                alive
            }),
            (_, Reason::FragmentAllowed) => {
                let first = seen.datagram(false).and_then(|key| self.datagrams.get(&key));
                first.is_some_and(|first| at.now - first <= PATIENCE)
            }
            (_, Reason::IcmpError) => self.is_quoted(seen),
            (false, Reason::GatewaySent) => seen.is_gateways_own,
            (_, Reason::Exempt) => model::is_exempt(interface, vlan, client),
            (true, Reason::Policy) => reading.is_allowed(at.second, interface, |networks, to| {
                if verdict.matched == Matched::Name {
                    self.answers.iter().any(|answer| has_address(answer, to))
                } else {
                    within(networks, to)
                }
            }),
            (true, Reason::Link) => {
                model::is_gateways(reading.destination) || reading.is_to_dhcp_server()
            }
            (true, Reason::Gateway) => {
                let dns = matches!(reading.protocol, TCP | UDP) && reading.port() == DNS;
                model::is_gateways(reading.destination) && (reading.is_later() || !dns)
            }
            (true, Reason::DnsQuery) => seen.may_query(),
            (false, Reason::DnsAnswer) => self.is_awaited(seen),
            (false, Reason::FromZone) => self.is_sent(seen),
            (false, Reason::Inbound) if verdict.matched == Matched::Builtin => {
                model::is_server(interface, vlan, client)
            }
            (false, Reason::Inbound) => seen.is_let_in(|networks| match verdict.matched {
                Matched::Name => self.answers.iter().any(|one| has_address(one, reading.source)),
                _ => within(networks, reading.source),
            }),
            _ => false,
        }
    }

    fn is_alive(&self, seen: &Seen<'_>, flow: &Flow) -> bool {
        let Some(known) = self.flows.get(&(seen.interface, *flow)) else {
            return false;
        };
        if known.from.is_some() && !seen.ingress && seen.from != known.from {
            return false;
        }
        let Known { last, generation, .. } = known;
        let longest = match flow.protocol {
            TCP => 7440,
            UDP => 300,
            _ => 60,
        };
        seen.at.now - last <= longest * SECOND
            && (*generation == seen.at.generation
                || match known.from {
                    Some(from) => self.is_begun(seen, from, &turned(flow)),
                    None if known.let_in => {
                        model::is_let_in_still(seen.at.second, seen.interface, flow)
                    }
                    None => model::may_go_on(seen.at.second, seen.interface, flow),
                })
    }

    /// Whether the client of another interface was allowed to send the packet.
    fn is_sent(&self, seen: &Seen<'_>) -> bool {
        let Some(flow) = seen.reading.flow(true) else { return false };
        let from = seen.from.filter(|from| *from != seen.interface);
        from.is_some_and(|from| self.is_begun(seen, from, &Flow { vlan: 0, ..flow }))
    }

    /// Whether an interface's client has opened a flow, and may go on with it.
    fn is_begun(&self, seen: &Seen<'_>, interface: &'static str, flow: &Flow) -> bool {
        let known = self.flows.get(&(interface, *flow));
        known.is_some_and(|known| known.begun)
            && self.is_alive(&Seen { interface, ingress: true, ..*seen }, flow)
    }

    /// Whether an ICMP error is about a flow, and for whom it concerns.
    fn is_quoted(&self, seen: &Seen<'_>) -> bool {
        let reading = seen.reading;
        let is_error = match (reading.protocol, reading.payload.first()) {
            (1, Some(kind)) => [3, 11, 12].contains(kind),
            (58, Some(kind)) => (1..=4).contains(kind),
            _ => false,
        };
        let Some(quoted) = reading.quoted() else { return false };
        let for_whom = if seen.ingress {
            quoted.destination == reading.source && quoted.source == reading.destination
        } else {
            quoted.source == reading.destination
        };
        // The other way round: what is quoted went where the error comes from.
        let flow = quoted.flow(!seen.ingress);
        is_error && for_whom && flow.is_some_and(|flow| self.is_alive(seen, &flow))
    }

    fn is_awaited(&self, seen: &Seen<'_>) -> bool {
        let reading = seen.reading;
        let from_resolver = model::is_resolver(reading.source) && reading.be16(0) == DNS;
        let (Some(port), Some(id)) = (reading.port(), reading.be16(8)) else { return false };
        let (client, resolver) = (reading.destination, reading.source);
        let asked = match reading.protocol {
            UDP => self
                .queries
                .get(&(seen.zone(), client, resolver, port, id))
                .is_some_and(|asked| seen.at.now - asked <= PATIENCE),
            TCP => self.streams.contains(&(seen.zone(), client, resolver, port)),
            _ => false,
        };
        from_resolver && reading.fragment.is_none() && asked
    }

    /// Notes what has passed, as far as others may follow.
    fn note(&mut self, seen: &Seen<'_>, verdict: &Verdict) {
        let Seen { at, interface, ingress, reading, .. } = *seen;
        let opens = match verdict.reason {
            Reason::Policy | Reason::Exempt | Reason::Link => ingress,
            Reason::Inbound | Reason::FromZone => true,
            reason => ingress && reason.denies(),
        };
        if opens && let Some(flow) = reading.flow(ingress) {
            let known = Known {
                last: at.now,
                generation: at.generation,
                begun: ingress && !verdict.reason.denies(),
                from: seen.from.filter(|_| verdict.reason == Reason::FromZone),
                let_in: verdict.reason == Reason::Inbound,
            };
            self.flows.insert((interface, flow), known);
        }
        if let Some(key) = seen.datagram(true) {
            self.datagrams.insert(key, at.now);
        }
        let to_resolver =
            ingress && reading.port() == DNS && model::is_resolver(reading.destination);
        if to_resolver && let (Some(port), Some(id)) = (reading.be16(0), reading.be16(8)) {
            let (client, resolver) = (reading.source, reading.destination);
            self.queries.insert((seen.zone(), client, resolver, port, id), at.now);
            self.streams.insert((seen.zone(), client, resolver, port));
        }
        if verdict.reason == Reason::DnsAnswer {
            self.answers.push(reading.payload.clone());
        }
    }
}

/// The flow as the zone of its other side has it, untagged.
const fn turned(flow: &Flow) -> Flow {
    Flow {
        vlan: 0,
        protocol: flow.protocol,
        client: flow.remote,
        client_port: flow.remote_port,
        remote: flow.client,
        remote_port: flow.client_port,
    }
}

/// A frame with an IP header, and where and when it is judged.
struct Seen<'a> {
    at: Moment,
    interface: &'static str,
    ingress: bool,
    /// The interface that it came in by, of a forwarded one, where it is a filtered one.
    from: Option<&'static str>,
    is_gateways_own: bool,
    reading: &'a Reading,
}

const fn is_gateways_own(place: HookPoint) -> bool {
    matches!(place, HookPoint::EgressOfGateway(_))
}

impl Seen<'_> {
    fn zone(&self) -> Zone {
        (self.interface, self.reading.vlan)
    }

    fn client(&self) -> Address {
        if self.ingress { self.reading.source } else { self.reading.destination }
    }

    /// Whether a rule of the receiver's group lets it in: `sends` says whether its sender is one of networks'.
    fn is_let_in(&self, sends: impl Fn(&[&str; 2]) -> bool) -> bool {
        let reading = self.reading;
        let Some(port) = reading.port().filter(|_| !self.ingress && !reading.is_later()) else {
            return false;
        };
        let port = (reading.protocol, port);
        model::is_let_in(self.at.second, self.zone(), reading.destination, port, sends)
    }

    /// Whether it has to arrive by such a rule, whose networks have the sender.
    fn is_let_in_by_network(&self) -> bool {
        let reading = self.reading;
        // A whole header, and no resolver's answer.
        let header = if reading.protocol == TCP { 20 } else { 8 };
        reading.payload.len() >= header
            && reading.fragment.is_none()
            && reading.be16(0) != DNS
            && self.is_let_in(|networks| within(networks, reading.source))
    }

    /// The datagram that a fragment belongs to: a first one, or another.
    fn datagram(&self, first: bool) -> Option<(Zone, Address, Address, u32)> {
        let fragment = self.reading.fragment.filter(|fragment| fragment.is_first == first)?;
        Some((self.zone(), self.reading.source, self.reading.destination, fragment.id))
    }

    /// Whether it is DNS to a resolver; over UDP, for a name that the client may ask for.
    fn may_query(&self) -> bool {
        let (at, reading) = (self.at, self.reading);
        let (interface, vlan, client) = (self.interface, reading.vlan, reading.source);
        let to_resolver = reading.port() == DNS && model::is_resolver(reading.destination);
        let listed = || {
            let octets = reading.be16(4).map(usize::from);
            let message = octets.and_then(|length| reading.payload.get(8..length));
            let name = message.and_then(|message| name_in(message.get(12..)?));
            name.is_some_and(|name| model::may_ask(at.second, interface, vlan, client, &name))
        };
        to_resolver
            && match reading.protocol {
                TCP => !reading.is_later(),
                UDP if model::is_exempt(interface, vlan, client) => true,
                UDP => reading.fragment.is_none() && listed(),
                _ => false,
            }
    }
}

/// The name at the beginning of octets, its labels in a row.
fn name_in(mut octets: &[u8]) -> Option<String> {
    let mut labels = Vec::new();
    loop {
        let (length, rest) = octets.split_first()?;
        if *length == 0 {
            return Some(labels.join("."));
        }
        let (label, rest) = rest.split_at_checked((*length).into())?;
        labels.push(String::from_utf8_lossy(label).into_owned());
        octets = rest;
    }
}

fn has_address(message: &[u8], address: Address) -> bool {
    match address {
        Address::V4(v4) => message.windows(4).any(|octets| octets == v4.octets()),
        Address::V6(v6) => message.windows(16).any(|octets| octets == v6.octets()),
    }
}

/// The id of the first VLAN tag; 0 without.
fn vlan_of(frame: &[u8]) -> u16 {
    match frame.get(12..16) {
        Some([0x81, 0, high, low] | [0x88, 0xa8, high, low]) => {
            u16::from_be_bytes([*high, *low]) & 0xfff
        }
        _ => 0,
    }
}
