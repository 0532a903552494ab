//! A sender of packets of all kinds, each judged when it has gone its way; in both directions.

use std::{
    collections::VecDeque,
    net::IpAddr,
    sync::atomic::Ordering::SeqCst,
    time::{Duration, Instant},
};

use anyhow::Result;

use super::{
    far_end,
    judge::Flow,
    ledger::Side,
    links::Links,
    model::Verdict,
    packet::{Packet, What},
    site::{self, CLIENTS, Group, Known, PORTS},
    timeline::Span,
    world::World,
};
use intune_filter_tests::random::Random;
use intune_filter_tests::{
    prog_test_run::{
        Flags, Message,
        message::{A, AAAA, QUESTION},
    },
    resolver::BEYOND,
};

/// Packets that are on the way at once: few enough for every queue.
const AT_ONCE: u32 = 32;

/// Longest delay of a packet that has to arrive.
const LATE: Duration = Duration::from_secs(2);

/// Time for which a conversation is followed.
const FOLLOWED: Duration = Duration::from_secs(60);

/// Conversations that are followed.
const FLOWS: usize = 200;

/// Ports of clients that rules let in to, and others.
const INWARD: [u16; 6] = [7, 22, 80, 443, 631, 993];

/// Ports of each sender's clients: no other sender's, and none that the system gives to sockets.
const LOCAL: u32 = 15_000;

/// A packet on its way.
struct Sent {
    kind: &'static str,
    packet: Packet,
    tag: u64,
    flow: Option<Flow>,
}

/// A sender.
pub struct Sender<'a> {
    world: &'a World,
    links: Links<'a>,
    random: Random,
    names: Vec<Known>,
    flows: VecDeque<Flow>,
    first_port: u16,
    conversations: u32,
}

impl<'a> Sender<'a> {
    /// The sender of this number.
    pub fn new(world: &'a World, number: u16) -> Result<Self> {
        Ok(Self {
            world,
            links: Links::open(world, number)?,
            random: Random::new(world.measure.seed, &format!("sender {number}")),
            names: site::names(),
            flows: VecDeque::new(),
            first_port: 1024 + number * LOCAL as u16,
            conversations: 0,
        })
    }

    /// Sends until the soak is over.
    pub fn run(&mut self) -> Result<()> {
        let mut sent = 0_u64;
        let begun = Instant::now();
        while self.world.goes_on() {
            sent += self.cycle()?;
            let due = Duration::from_secs_f64(sent as f64 / f64::from(self.world.measure.pace));
            self.world.pause(due.saturating_sub(begun.elapsed()));
        }
        Ok(())
    }

    /// Packets from clients, then some to them, then more of what both have begun.
    fn cycle(&mut self) -> Result<u64> {
        let begun = Instant::now();
        let mut sent = Vec::new();
        while (sent.len() as u32) < AT_ONCE {
            let probes = self.probes();
            self.send(Side::Client, probes, &mut sent)?;
        }
        let mut count = sent.len() as u64;
        let opened = self.judge(Side::Client, sent, begun)?;

        let begun = Instant::now();
        let mut sent = Vec::new();
        let mut returns = Vec::new();
        for flow in &opened {
            returns.extend(self.returned(flow));
        }
        for _ in 0..4 {
            returns.push(self.unsolicited());
        }
        returns.extend(self.pooled().and_then(|flow| self.returned(&flow)));
        self.send(Side::Server, returns, &mut sent)?;
        count += sent.len() as u64;
        self.judge(Side::Server, sent, begun)?;
        self.flows.extend(opened.into_iter().filter(|flow| is_udp(&flow.opening)));

        let begun = Instant::now();
        let mut sent = Vec::new();
        for _ in 0..4 {
            let Some(flow) = self.pooled() else { break };
            let probe = ("follows, from client", flow.opening.clone(), Some(flow));
            self.send(Side::Client, [probe], &mut sent)?;
        }
        count += sent.len() as u64;
        self.judge(Side::Client, sent, begun)?;
        while self.flows.len() > FLOWS {
            self.flows.pop_front();
        }
        Ok(count)
    }

    fn send(
        &mut self,
        from: Side,
        probes: impl IntoIterator<Item = (&'static str, Packet, Option<Flow>)>,
        sent: &mut Vec<Sent>,
    ) -> Result<()> {
        let to = if from == Side::Client { Side::Server } else { Side::Client };
        for (kind, packet, flow) in probes {
            let tag = self.world.ledger.tag(to);
            if matches!(packet.what, What::Echo { .. }) {
                // Who is asked answers with the same octets.
                self.world.ledger.also(tag, Side::Client);
            }
            self.links.send(from, packet.frame(tag))?;
            sent.push(Sent { kind, packet, tag, flow });
        }
        Ok(())
    }

    /// Judges what was sent since `begun`, and returns the conversations that have begun.
    fn judge(&mut self, from: Side, sent: Vec<Sent>, begun: Instant) -> Result<Vec<Flow>> {
        let to = if from == Side::Client { Side::Server } else { Side::Client };
        self.links.settle(from)?;
        let world = self.world;
        let span = Span::since(begun);
        let mut opened = Vec::new();
        for Sent { kind, packet, tag, flow } in sent {
            let judgement = match &flow {
                Some(flow) => world.judge_flow(flow, &packet, span),
                None => world.judge(&packet, span),
            };
            if judgement.0 == Verdict::Passes {
                // Not lost because it is late.
                world.ledger.wait(tag, to, if self.excused(span) { Duration::ZERO } else { LATE });
            }
            let arrived = world.ledger.take(tag, to);
            if arrived && flow.is_none() && from == Side::Client {
                opened.extend(world.opened(&packet, span));
            }
            if matches!(packet.what, What::Echo { .. }) {
                self.judge_echo(&packet, tag, span, arrived)?;
            }
            // What goes to a client while its interface is away is routed back to where it came from.
            if judgement.0 == Verdict::Denied && !arrived && to == Side::Server {
                world.ledger.deny(tag);
            }
            world.hold(kind, &packet, judgement, span, arrived);
        }
        Ok(opened)
    }

    fn excused(&self, span: Span) -> bool {
        self.world.had(super::timeline::Fault::Link, span)
    }

    /// An echo that has arrived is answered.
    fn judge_echo(&self, packet: &Packet, tag: u64, begun: Span, arrived: bool) -> Result<()> {
        let world = self.world;
        let back = packet.reversed(packet.what.clone());
        if !arrived {
            world.ledger.take(tag, Side::Client);
            return Ok(());
        }
        let answered = world.ledger.wait(tag, Side::Client, LATE);
        world.ledger.take(tag, Side::Client);
        let span = begun.with(Span::since(Instant::now()));
        // Of a group that is not enforced everything passes.
        let judgement = match world.opened(packet, begun) {
            Some(flow) => world.judge_flow(&flow, &back, span),
            None => world.judge(&back, span),
        };
        let lost = !answered && judgement.0 == Verdict::Passes;
        if lost && self.was_left_unanswered(packet.destination.is_ipv6())? {
            world.tally().add("echoes that the far end had no room to answer", 1);
        } else {
            world.hold("echo reply, to client", &back, judgement, span, answered);
        }
        Ok(())
    }

    /// Whether the far end has left an echo request unanswered that is not yet accounted for.
    fn was_left_unanswered(&self, v6: bool) -> Result<bool> {
        let known = &self.world.unanswered[usize::from(v6)];
        let all = far_end::unanswered(self.world, v6)?;
        Ok(known.fetch_update(SeqCst, SeqCst, |one| (one < all).then_some(one + 1)).is_ok())
    }

    /// Packets from a client: one, or the fragments of one.
    fn probes(&mut self) -> Vec<(&'static str, Packet, Option<Flow>)> {
        let group = *self.random.pick(&Group::SENDERS);
        let family = self.random.within(0..2) as usize;
        let (client, local) = self.conversation(group);
        let (source, destination) = (client[family], self.destination(family));
        let remote = *self.random.pick(&PORTS);
        let new = |what| Packet::new(source, destination, what);
        // Of groups that are judged in full.
        let judged = matches!(group, Group::Staff | Group::Kiosk | Group::Servers);
        let one = |kind, packet| vec![(kind, packet, None)];
        match self.random.within(0..100) {
            0..45 => one("UDP, from client", new(What::Udp { local, remote })),
            45..65 => one("TCP, from client", new(What::Tcp { local, remote, flags: Flags::SYN })),
            65..70 => {
                let flags = *self.random.pick(&[
                    Flags::FIN,
                    Flags::RST,
                    Flags::ACK,
                    Flags::SYN_ACK,
                    Flags { syn: true, fin: true, ack: true, rst: true, urg: false },
                    Flags::default(),
                ]);
                one("TCP, odd flags", new(What::Tcp { local, remote, flags }))
            }
            70..80 => one("echo request", new(What::Echo { id: local })),
            80..86 => {
                let part = |offset, more| {
                    let id = local;
                    new(What::Fragments { local, remote, id, offset, more })
                };
                [part(0, true), part(3, true), part(5, false)]
                    .map(|packet| ("fragments, from client", packet, None))
                    .into()
            }
            86..90 if judged => one("fragment without its first", new(What::Orphan { id: local })),
            86..92 => {
                let protocol = *self.random.pick(&[4, 41, 47, 132]);
                one("other protocols", new(What::Protocol(protocol)))
            }
            92..95 => one("source routes", new(What::SourceRoute)),
            95..97 => one("cut short", new(What::Cut)),
            _ => {
                let sources: [&[&str]; 2] = [
                    &["127.0.0.1", "224.0.0.5", "255.255.255.255", "172.16.5.5", "8.8.8.8"],
                    &["::1", "ff02::5", "fd00:99::1", "2001:4860:4860::8888"],
                ];
                let source: IpAddr = self.random.pick(sources[family]).parse().expect("a constant");
                one("forged sources", Packet::new(source, destination, What::Udp { local, remote }))
            }
        }
    }

    /// A client, and a port of its own that it has not used for long.
    fn conversation(&mut self, group: Group) -> ([IpAddr; 2], u16) {
        self.conversations += 1;
        let number = self.conversations;
        let port = (number / CLIENTS) % LOCAL;
        (group.client(number), self.first_port + port as u16)
    }

    fn destination(&mut self, family: usize) -> IpAddr {
        let host = self.random.within(0..64);
        let addresses = match self.random.within(0..10) {
            0..2 => site::core(host),
            2 => site::printer(host),
            3 => site::bulk(host),
            4 => site::nowhere(host),
            5 => site::forged(host),
            _ => self.random.pick(&self.names).addresses,
        };
        addresses[family]
    }

    /// Packet that the far end sends back.
    fn returned(&mut self, flow: &Flow) -> Option<(&'static str, Packet, Option<Flow>)> {
        let What::Udp { local, remote } = flow.opening.what else { return None };
        let (kind, what) = if self.random.once_in(8) {
            ("ICMP error, to client", What::Unreachable { local, remote })
        } else {
            ("answers, to client", What::Udp { local, remote })
        };
        Some((kind, flow.opening.reversed(what), Some(flow.clone())))
    }

    /// Unsolicited packet.
    fn unsolicited(&mut self) -> (&'static str, Packet, Option<Flow>) {
        let family = self.random.within(0..2) as usize;
        let group = *self.random.pick(&Group::SENDERS);
        let (client, local) = self.conversation(group);
        let remote = *self.random.pick(&PORTS);
        let (kind, source, what) = match self.random.within(0..8) {
            // To a port that a rule may have: none that the client sends from.
            6 | 7 => {
                let (host, remote) = (self.random.within(0..6), local);
                let local = *self.random.pick(&INWARD);
                let source = match self.random.within(0..3) {
                    0 => self.random.pick(&self.names).addresses,
                    1 => site::printer(host),
                    _ => site::core(host),
                };
                let what = if self.random.once_in(2) {
                    What::Udp { local, remote }
                } else {
                    What::Tcp { local, remote, flags: Flags::SYN }
                };
                ("by rules, to client", source, what)
            }
            0 => {
                ("scans, to client", site::core(0), What::Tcp { local, remote, flags: Flags::SYN })
            }
            1 => ("ICMP error about nothing", site::core(1), What::Unreachable { local, remote }),
            2 => ("forged DNS answers", BEYOND, self.forged_answer(family, local)),
            3 => ("source routes", site::core(0), What::SourceRoute),
            _ => ("unasked, to client", site::core(2), What::Udp { local, remote }),
        };
        let packet = Packet::new(client[family], source[family], what.clone()).reversed(what);
        // Strangers' ICMP errors have no group that says what to do with them.
        (kind, packet, None)
    }

    fn forged_answer(&mut self, family: usize, local: u16) -> What {
        let name = format!("h{}.shop.test", self.random.within(0..60));
        let query = Message::query(self.random.next() as u16, &name, [A, AAAA][family]);
        let address = site::forged(self.random.within(0..64))[family];
        let answer = query.answered().address(&QUESTION, 300, address);
        What::Answer { local, message: answer.octets().to_vec() }
    }

    /// A conversation that has not been followed for too long.
    fn pooled(&mut self) -> Option<Flow> {
        let is_old = |flow: &Flow| flow.opened.from.elapsed() > FOLLOWED;
        while self.flows.front().is_some_and(is_old) {
            self.flows.pop_front();
        }
        if self.flows.is_empty() {
            return None;
        }
        let number = self.random.within(0..self.flows.len() as u32);
        // One that the model is not sure of is not followed any further.
        let flow = self.flows.get(number as usize)?.clone();
        let now = Span::since(Instant::now());
        let packet = flow.opening.clone();
        if self.world.judge_flow(&flow, &packet, now).0 == Verdict::Either {
            self.flows.remove(number as usize);
            return None;
        }
        Some(flow)
    }
}

fn is_udp(packet: &Packet) -> bool {
    matches!(packet.what, What::Udp { .. })
}
