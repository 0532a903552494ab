//! Frames of a neighbour of the client's: of any kind, from any source, most of them as close to what the
//! client does as someone can come who has read its script.
//!
//! What the threat page grants a neighbour is not among them, and nothing else is left out:
//!
//! - Frames with both the client's address and its hardware address: who clones both is the client.
//! - ARP and neighbour discovery that change the gateway's neighbour table: test runs change no table,
//!   and the entries of those that are sent on a wire are permanent.
//! - FIN and RST with a number that ends a connection: the one that the other side expects, or the one
//!   behind the sender's last octet.
//! - In the client's name, an SYN to a resolver from a port that the client uses, and a first fragment
//!   with an id that it has yet to use: whoever comes first holds the place.
//! - In the client's name, the opening of what the script says nobody has opened.

use std::net::IpAddr;

use intune_filter_tests::{
    prog_test_run::{
        Addresses, Bed, Datagram, Fate, Flags, HookPoint, Message,
        datagram::{frame_of, patched},
        message::{A, AAAA, QUESTION},
    },
    random::Random,
};

use super::victim::{ACTS, FIRST_ID, Life, MAC, PORTS, Step};
use crate::tables::answers::PORTAL;

/// Hardware address of the neighbour.
pub(super) const OWN: [u8; 6] = [0x02, 0, 0, 0, 0, 0x66];

/// Has the gateway know both of them.
pub(super) fn settle(bed: &mut dyn Bed) {
    for who in Addresses::both() {
        bed.set_neighbour(who.client, MAC).expect("an entry");
        bed.set_neighbour(who.neighbour, OWN).expect("an entry");
    }
}

/// A neighbour.
pub(super) struct Hostile<'a> {
    pub(super) random: Random,
    life: &'a Life,
    /// Ids of the client's datagrams in fragments, each from a step on.
    begun: Vec<(usize, u16)>,
    /// Frames that it sends at most.
    most: u64,
    pub(super) sent: u64,
    pub(super) passed: u64,
    pub(super) in_its_name: u64,
}

impl<'a> Hostile<'a> {
    pub(super) fn new(random: Random, life: &'a Life, most: u64) -> Self {
        let begun = life.steps.iter().enumerate().filter_map(|(at, step)| match step {
            Step::Packet {
                what: "a first fragment", point: HookPoint::Ingress(_), frame, ..
            } => {
                let id = if life.who.client.is_ipv4() { 18 } else { 60 };
                Some((at, u16::from_be_bytes([frame[id], frame[id + 1]])))
            }
            _ => None,
        });
        let begun = begun.collect();
        Self { random, life, begun, most, sent: 0, passed: 0, in_its_name: 0 }
    }

    /// Sends a frame before a step of the client's, and has what honest servers say to it follow.
    pub(super) fn send(&mut self, bed: &dyn Bed, at: usize) {
        if self.sent == self.most {
            return;
        }
        let source = self.source();
        let (mut frame, answer) = self.frame(source, at);
        let of_client = source == self.life.who.client;
        frame = patched(frame, 6, &self.hardware(of_client));
        if !of_client && self.random.once_in(4) {
            self.damage(&mut frame);
        }
        if frame[6..12] == MAC && names(&frame, self.life.who.client) {
            return;
        }
        self.sent += 1;
        self.in_its_name += u64::from(of_client);
        // The kernel takes no frame that is too short for its type.
        let passed =
            bed.judge(HookPoint::Ingress("eth1"), &frame).is_ok_and(|fate| fate == Fate::Passed);
        self.passed += u64::from(passed);
        if let Some(answer) = answer.filter(|_| passed) {
            bed.judge(HookPoint::Egress("eth1"), &answer.frame()).expect("a whole frame");
        }
    }

    fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        *self.random.pick(choices)
    }

    fn source(&mut self) -> IpAddr {
        let who =
            if self.random.once_in(8) { self.pick(&Addresses::both()) } else { self.life.who };
        if !self.random.once_in(2) {
            return self.life.who.client;
        }
        self.pick(&[
            who.neighbour,
            who.neighbour,
            who.server,
            who.exempt,
            who.unlisted,
            who.link_local,
            who.other,
            who.gateway,
            who.resolver,
            who.web,
            who.public,
        ])
    }

    /// The client's own only with another's address.
    fn hardware(&mut self, of_client: bool) -> [u8; 6] {
        let random = self.random.next().to_be_bytes();
        let any = [0x02, 0, 1, random[0], random[1], random[2]];
        let last = if of_client { OWN } else { MAC };
        self.pick(&[OWN, OWN, any, [0; 6], last])
    }

    /// Someone of the source's family.
    fn whom(&self, source: IpAddr) -> Addresses {
        let [four, six] = Addresses::both();
        if source.is_ipv4() { four } else { six }
    }

    fn port(&mut self) -> u16 {
        self.pick(&PORTS)
    }

    fn id(&mut self) -> u16 {
        FIRST_ID + self.random.within(0..u32::from(ACTS) + 2) as u16
    }

    fn destination(&mut self, who: &Addresses) -> IpAddr {
        let taught: Vec<IpAddr> = self.life.taught.clone();
        let taught = taught.into_iter().filter(|address| address.is_ipv4() == who.web.is_ipv4());
        let mut all = vec![
            who.web,
            who.web,
            who.push,
            who.ntp,
            who.foreign,
            who.public2,
            who.gateway,
            who.resolver,
            who.foreign_resolver,
            who.dhcp_server,
            who.client,
        ];
        all.extend(taught);
        self.pick(&all)
    }

    fn frame(&mut self, source: IpAddr, at: usize) -> (Vec<u8>, Option<Datagram>) {
        let who = self.whom(source);
        let destination = self.destination(&who);
        let datagram = Datagram::new(source, destination);
        let frame = match self.random.within(0..14) {
            0..4 => self.segment(source, destination).frame(),
            4 => {
                let ports = (self.port(), self.pick(&[123, 5223, 443, 53, 9]));
                datagram.udp(ports.0, ports.1, b"evil").frame()
            }
            5..8 => {
                let (query, answer) = self.query(source, &who);
                return (query.frame(), answer);
            }
            8 => self.answer(&who).frame(),
            9 | 10 => self.fragment(source, &who, at).frame(),
            11 => self.error(source, &who).frame(),
            12 => datagram.echo_request(self.id()).frame(),
            _ => self.of_link(source, &who),
        };
        (frame, None)
    }

    /// A segment of a connection of the client's, or of none. Numbers in a window that end a connection
    /// are even here, as octets end, and those of FIN and RST odd.
    fn segment(&mut self, source: IpAddr, destination: IpAddr) -> Datagram {
        let kinds = [Flags::SYN, Flags::SYN_ACK, Flags::ACK, Flags::FIN, Flags::RST, Flags::URG];
        let mut flags = self.pick(&kinds);
        let port = self.pick(&[443, 443, 443, 80, 5223, 22, 53]);
        let who = self.life.who;
        if source == who.client && destination == who.resolver && port == 53 && flags.syn {
            flags = Flags::ACK;
        }
        let later = self.pick(&[0, 0x1000_0000_u32]);
        let [own, other] = self.life.numbers.map(|number| number.wrapping_add(later) & !1);
        let ahead = 0x100 + 2 * self.random.within(0..0x1000);
        let ends = flags.fin || flags.rst;
        let near = own.wrapping_add(ahead + u32::from(ends));
        let sequence = if self.random.once_in(3) {
            self.random.next() as u32 & !1 | u32::from(ends)
        } else {
            near
        };
        let acknowledged = other.wrapping_add(self.random.within(0..0x100));
        let data: &[u8] = match (flags.syn, self.random.once_in(2)) {
            (true, _) => b"evi",
            (_, true) => b"evil",
            _ => b"",
        };
        let ports = [self.port(), port];
        Datagram::new(source, destination).segment(ports, flags, [sequence, acknowledged], data)
    }

    /// A query, and what its resolver says to it.
    fn query(&mut self, source: IpAddr, who: &Addresses) -> (Datagram, Option<Datagram>) {
        let (number, any) = (self.id() - FIRST_ID, self.random.within(0..200) as u16);
        let address = |network: u8, host: u16| match source {
            IpAddr::V4(_) => IpAddr::from([20, 0, network, host as u8 + 1]),
            IpAddr::V6(_) => IpAddr::from([0x2a01, 0x111, network.into(), 0, 0, 0, 0, host + 1]),
        };
        let (name, address) = match self.random.within(0..5) {
            0 | 1 => (format!("host{number}.apps.core.example"), Some(address(1, number))),
            2 => (format!("evil{any}.apps.core.example"), Some(address(2, any))),
            3 => (PORTAL.to_owned(), None),
            _ => ("unlisted.example".to_owned(), None),
        };
        let own = if source.is_ipv4() { A } else { AAAA };
        let kind = self.pick(&[own, own, A, AAAA]);
        let question = Message::query(self.id(), &name, kind);
        let (port, resolver) = (self.port(), self.pick(&[who.resolver, who.resolver, who.gateway]));
        let query = Datagram::new(source, resolver).udp(port, 53, question.octets());
        let told = match address.filter(|_| kind == own) {
            Some(address) => question.answered().address(&QUESTION, 300, address),
            None => question.answered(),
        };
        let answer = Datagram::new(resolver, source).udp(53, port, told.octets());
        (query, (resolver == who.resolver && self.random.once_in(2)).then_some(answer))
    }

    /// An answer to a query of the client's, with the resolver's address.
    fn answer(&mut self, who: &Addresses) -> Datagram {
        let number = self.id() - FIRST_ID;
        let kind = if who.client.is_ipv4() { A } else { AAAA };
        let question = Message::query(self.id(), &format!("host{number}.apps.core.example"), kind);
        let answer = question.answered().address(&QUESTION, 300, who.public2);
        Datagram::new(who.resolver, who.client).udp(53, self.port(), answer.octets())
    }

    /// A fragment of a datagram of the client's.
    fn fragment(&mut self, source: IpAddr, who: &Addresses, at: usize) -> Datagram {
        let id = self.id();
        let begun = self.begun.iter().any(|(step, begun)| *step < at && *begun == id);
        let to = self.pick(&[who.ntp, who.ntp, who.web]);
        let datagram = Datagram::new(source, to).identification(id);
        let (offset, more) = (self.random.within(1..8) as u16, self.random.once_in(2));
        if self.random.once_in(2) && (source != self.life.who.client || begun) {
            return datagram.fragment(0, true).udp(self.port(), 123, &[0x66; 16]);
        }
        datagram.fragment(self.pick(&[offset, 1]), more).raw(17, &[0x66; 8])
    }

    /// An error about a flow of the client's.
    fn error(&mut self, source: IpAddr, who: &Addresses) -> Datagram {
        let (remote, port) = self.pick(&[(who.web, 443), (who.push, 5223), (who.ntp, 123)]);
        let quoted = Datagram::new(remote, source);
        let own = self.port();
        let quoted = if port == 443 {
            quoted.segment([port, own], Flags::ACK, self.life.numbers, b"data")
        } else {
            quoted.udp(port, own, b"told")
        };
        Datagram::new(source, remote).unreachable(&quoted)
    }

    /// What stays on the link.
    fn of_link(&mut self, source: IpAddr, who: &Addresses) -> Vec<u8> {
        match (self.random.within(0..3), source, who.gateway) {
            (0, IpAddr::V4(source), IpAddr::V4(gateway)) => {
                // "I am the client."
                let own = &OWN[..];
                let parts = [&[0, 1, 8, 0, 6, 4, 0, 2][..], own, &source.octets(), own];
                frame_of(0x0806, &[&parts.concat()[..], &gateway.octets()].concat())
            }
            (0, IpAddr::V6(address), _) => {
                let told = [&address.octets()[..], &[2, 1], &OWN].concat();
                let datagram = Datagram::new(source, who.gateway).hop_limit(255);
                datagram.icmp(136, 0, [0x20, 0, 0, 0], &told).frame()
            }
            (1, ..) => {
                let ports = if source.is_ipv4() { (68, 67) } else { (546, 547) };
                Datagram::new(source, who.dhcp_server).udp(ports.0, ports.1, b"mine").frame()
            }
            _ => {
                let octets: Vec<u8> =
                    (0..self.random.within(1..90)).map(|_| self.random.next() as u8).collect();
                frame_of(self.pick(&[0x0800, 0x86dd, 0x8100, 0x0806, 0x888e]), &octets)
            }
        }
    }

    fn damage(&mut self, frame: &mut Vec<u8>) {
        let at = self.random.within(12..frame.len() as u32) as usize;
        match self.random.within(0..4) {
            0 => frame.truncate(at.max(15)),
            1 => frame[at] = self.random.next() as u8,
            _ => frame[at] ^= 1 << self.random.within(0..8),
        }
    }
}

/// Whether a frame of IP has this source.
fn names(frame: &[u8], source: IpAddr) -> bool {
    match source {
        IpAddr::V4(v4) => frame.windows(4).any(|octets| octets == v4.octets()),
        IpAddr::V6(v6) => frame.windows(16).any(|octets| octets == v6.octets()),
    }
}
