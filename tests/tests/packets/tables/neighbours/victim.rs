//! The life of a client, packet by packet, and what each is to come to.

use std::net::IpAddr;

use intune_filter_tests::{
    prog_test_run::{
        Addresses, Datagram, Flags, HookPoint, Message,
        datagram::patched,
        message::{A, AAAA, QUESTION},
    },
    random::Random,
};

use crate::tables::{answers::PORTAL, streams::framed};

/// Hardware address of the client.
pub(super) const MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 0xaa];
/// Ports that the client begins things from, and the neighbour in its name.
pub(super) const PORTS: [u16; 8] = [40000, 40001, 40002, 40003, 40004, 40005, 40006, 40007];
/// The first id of its queries, its datagrams and its echoes, one for each act.
pub(super) const FIRST_ID: u16 = 0x1200;
/// Most acts of a life.
pub(super) const ACTS: u16 = 6;
/// Frames of the neighbour's between two packets of the client's, at most: by life.
const BETWEEN: [u32; 4] = [2, 5, 15, 60];
/// A port that the neighbour opens nothing from in the client's name: what comes to it answers nothing.
const SILENT: u16 = 61_000;

/// Something that happens to the client.
pub(super) enum Step {
    /// A packet of its own, or one to it.
    Packet {
        what: &'static str,
        point: HookPoint,
        frame: Vec<u8>,
        /// Fate, and what is counted.
        expected: String,
    },
    /// So many seconds in which nothing does.
    Rest(u64),
}

/// A client's life.
pub(super) struct Life {
    pub(super) who: Addresses,
    pub(super) steps: Vec<Step>,
    /// Addresses that it is taught.
    pub(super) taught: Vec<IpAddr>,
    /// Numbers that its connections begin with, its own and the server's.
    pub(super) numbers: [u32; 2],
    /// Frames of the neighbour's before each step, at most.
    pub(super) disturbed: u32,
}

/// Something that the client does, with a port and an id of its own.
struct Act {
    who: Addresses,
    port: u16,
    id: u16,
    numbers: [u32; 2],
    steps: Vec<Step>,
    taught: Vec<IpAddr>,
}

impl Life {
    /// A life of a few acts, whose packets come one among the other's.
    pub(super) fn new(random: &mut Random) -> Self {
        let who = *random.pick(&Addresses::both());
        let numbers = [random.next() as u32, random.next() as u32];
        let mut acts: Vec<Act> = (0..ACTS).map(|act| Act::new(&who, act, numbers)).collect();
        for act in &mut acts {
            match random.within(0..11) {
                0 | 1 => act.connects(who.web, 443, "core/web"),
                2 | 3 => act.resolves_and_connects(),
                4 => act.resolves_over_tcp(),
                5 => act.asks_in_vain(),
                6 => act.sends_datagrams(random),
                7 => act.sends_fragments(),
                8 => act.receives_fragments(),
                9 => act.is_denied(),
                _ => act.talks_icmp(),
            }
        }
        let mut taught: Vec<IpAddr> = acts.iter().flat_map(|act| act.taught.clone()).collect();
        taught.sort();
        let mut steps = Vec::new();
        let mut queues: Vec<_> = acts.into_iter().map(|act| act.steps.into_iter()).collect();
        while !queues.is_empty() {
            let at = random.within(0..queues.len() as u32) as usize;
            match queues[at].next() {
                Some(step) => steps.push(step),
                None => drop(queues.swap_remove(at)),
            }
        }
        // Its last connection goes on after an hour.
        if random.once_in(4) {
            let mut last = Act::new(&who, ACTS, numbers);
            last.is_kept_alive();
            steps.extend(last.steps);
        }
        let disturbed = *random.pick(&BETWEEN);
        Self { who, steps, taught, numbers, disturbed }
    }
}

impl Act {
    fn new(who: &Addresses, number: u16, numbers: [u32; 2]) -> Self {
        let port = PORTS[usize::from(number)];
        let (steps, taught) = (Vec::new(), Vec::new());
        Self { who: *who, port, id: FIRST_ID + number, numbers, steps, taught }
    }

    fn out(&self, to: IpAddr) -> Datagram {
        Datagram::new(self.who.client, to)
    }

    fn back(&self, from: IpAddr) -> Datagram {
        Datagram::new(from, self.who.client)
    }

    fn sends(&mut self, what: &'static str, datagram: &Datagram, expected: &str) {
        let frame = patched(datagram.frame(), 6, &MAC);
        let point = HookPoint::Ingress("eth1");
        self.steps.push(Step::Packet { what, point, frame, expected: expected.to_owned() });
    }

    fn receives(&mut self, what: &'static str, datagram: &Datagram, expected: &str) {
        let (frame, point) = (datagram.frame(), HookPoint::Egress("eth1"));
        self.steps.push(Step::Packet { what, point, frame, expected: expected.to_owned() });
    }

    /// Segments of a connection: flags, octets sent before by each side, and data.
    fn segment(&self, to: IpAddr, port: u16, flags: Flags, at: [u32; 2], data: &[u8]) -> Datagram {
        let [own, other] = self.numbers;
        let acknowledged = if flags.ack { other.wrapping_add(at[1]) } else { 0 };
        let numbers = [own.wrapping_add(at[0]), acknowledged];
        self.out(to).segment([self.port, port], flags, numbers, data)
    }

    fn reply(&self, from: IpAddr, port: u16, flags: Flags, at: [u32; 2], data: &[u8]) -> Datagram {
        let [own, other] = self.numbers;
        let numbers = [other.wrapping_add(at[1]), own.wrapping_add(at[0])];
        self.back(from).segment([port, self.port], flags, numbers, data)
    }

    fn shakes_hands(&mut self, to: IpAddr, port: u16, rule: &str) {
        let allowed = format!("passed: allowed, {rule}");
        self.sends("SYN", &self.segment(to, port, Flags::SYN, [0, 0], b""), &allowed);
        self.receives("SYN ACK", &self.reply(to, port, Flags::SYN_ACK, [1, 0], b""), &allowed);
        self.sends("ACK", &self.segment(to, port, Flags::ACK, [1, 1], b""), &allowed);
    }

    fn connects(&mut self, to: IpAddr, port: u16, rule: &str) {
        let allowed = format!("passed: allowed, {rule}");
        self.shakes_hands(to, port, rule);
        self.sends("data", &self.segment(to, port, Flags::ACK, [1, 1], b"hello"), &allowed);
        self.receives("data", &self.reply(to, port, Flags::ACK, [6, 1], b"world!"), &allowed);
        self.sends("FIN", &self.segment(to, port, Flags::FIN, [6, 7], b""), &allowed);
        self.receives("FIN", &self.reply(to, port, Flags::FIN, [7, 7], b""), &allowed);
        self.sends("the last ACK", &self.segment(to, port, Flags::ACK, [7, 8], b""), &allowed);
        // Another connection from the same port.
        self.numbers = self.numbers.map(|number| number.wrapping_add(0x1000_0000));
        self.shakes_hands(to, port, rule);
        self.sends("RST", &self.segment(to, port, Flags::RST, [1, 1], b""), &allowed);
    }

    fn is_kept_alive(&mut self) {
        let (to, allowed) = (self.who.web, "passed: allowed, core/web");
        self.shakes_hands(to, 443, "core/web");
        self.steps.push(Step::Rest(3600));
        self.sends("keep-alive", &self.segment(to, 443, Flags::ACK, [0, 1], b""), allowed);
        self.receives("its answer", &self.reply(to, 443, Flags::ACK, [1, 1], b""), allowed);
    }

    /// A name of its own, and the address that it has.
    fn name(&self) -> (String, IpAddr) {
        let number = self.id - FIRST_ID;
        let address = match self.who.public {
            IpAddr::V4(_) => IpAddr::from([20, 0, 1, number as u8 + 1]),
            IpAddr::V6(_) => IpAddr::from([0x2a01, 0x111, 1, 0, 0, 0, 0, number + 1]),
        };
        (format!("host{number}.apps.core.example"), address)
    }

    fn question(&self, name: &str) -> Message {
        Message::query(self.id, name, if self.who.client.is_ipv4() { A } else { AAAA })
    }

    fn asks(&mut self, message: &Message, expected: &str) {
        let datagram = self.out(self.who.resolver).udp(self.port, 53, message.octets());
        self.sends("a query", &datagram, expected);
    }

    fn is_answered(&mut self, message: &Message, expected: &str) {
        let datagram = self.back(self.who.resolver).udp(53, self.port, message.octets());
        self.receives("its answer", &datagram, expected);
    }

    fn resolves_and_connects(&mut self) {
        let (name, address) = self.name();
        let one = self.question(&name);
        // With the same port and id, as some stub resolvers ask.
        let other = Message::query(self.id, PORTAL, if address.is_ipv4() { AAAA } else { A });
        self.asks(&one, "passed: dns_query");
        self.asks(&other, "passed: dns_query");
        let empty = "passed: dns_answer, nothing_learned";
        self.is_answered(&one.answered().address(&QUESTION, 300, address), {
            "passed: dns_answer, learned"
        });
        self.is_answered(&other.answered(), empty);
        self.taught.push(address);
        self.connects(address, 443, "core/web");
    }

    fn resolves_over_tcp(&mut self) {
        let (to, (name, address)) = (self.who.resolver, self.name());
        let query = framed(&[&self.question(&name)]);
        let answer = framed(&[&self.question(&name).answered().address(&QUESTION, 300, address)]);
        let (asked, told) = (query.len() as u32, answer.len() as u32);
        let (out, back) = ("passed: dns_query", "passed: dns_answer");
        self.sends("SYN", &self.segment(to, 53, Flags::SYN, [0, 0], b""), out);
        self.receives("SYN ACK", &self.reply(to, 53, Flags::SYN_ACK, [1, 0], b""), back);
        self.sends("ACK", &self.segment(to, 53, Flags::ACK, [1, 1], b""), out);
        self.sends("a query", &self.segment(to, 53, Flags::ACK, [1, 1], &query), out);
        self.receives("its answer", &self.reply(to, 53, Flags::ACK, [1 + asked, 1], &answer), {
            "passed: dns_answer, learned"
        });
        self.sends("FIN", &self.segment(to, 53, Flags::FIN, [1 + asked, 1 + told], b""), out);
        let fin = self.reply(to, 53, Flags::FIN, [2 + asked, 1 + told], b"");
        self.receives("FIN", &fin, back);
        self.taught.push(address);
    }

    fn asks_in_vain(&mut self) {
        self.asks(&self.question("unlisted.example"), "answered NXDOMAIN: dns_unlisted");
        let elsewhere = self.out(self.who.foreign_resolver);
        let question = self.question(PORTAL);
        let datagram = elsewhere.udp(self.port, 53, question.octets());
        self.sends("a query to another resolver", &datagram, "dropped: resolver");
        // Nobody has asked from there.
        let answer = question.answered().address(&QUESTION, 300, self.who.public2);
        let datagram = self.back(self.who.resolver).udp(53, SILENT, answer.octets());
        self.receives("an answer to nothing", &datagram, "dropped: unsolicited");
    }

    fn sends_datagrams(&mut self, random: &mut Random) {
        let who = self.who;
        let choices = [(who.push, 5223, "core/push"), (who.ntp, 123, "time/ntp")];
        let (to, port, rule) = *random.pick(&choices);
        let allowed = format!("passed: allowed, {rule}");
        for _ in 0..3 {
            self.sends("a datagram", &self.out(to).udp(self.port, port, b"asks"), &allowed);
            self.receives("its answer", &self.back(to).udp(port, self.port, b"told"), &allowed);
        }
    }

    fn sends_fragments(&mut self) {
        let (to, id) = (self.who.ntp, self.id);
        let part = |offset, more| self.out(to).identification(id).fragment(offset, more);
        let first = part(0, true).udp(self.port, 123, &[0x23; 16]);
        let (second, last) = (part(3, true).raw(17, &[7; 16]), part(5, false).raw(17, &[8; 5]));
        self.sends("a first fragment", &first, "passed: allowed, time/ntp");
        self.sends("the second", &second, "passed: fragment_allowed, time/ntp");
        self.sends("the last", &last, "passed: fragment_allowed, time/ntp");
    }

    fn receives_fragments(&mut self) {
        let (from, id) = (self.who.ntp, self.id);
        let allowed = "passed: allowed, time/ntp";
        self.sends("a datagram", &self.out(from).udp(self.port, 123, b"asks"), allowed);
        let part = |offset, more| self.back(from).identification(id).fragment(offset, more);
        let first = part(0, true).udp(123, self.port, &[0x23; 16]);
        let last = part(3, false).raw(17, &[8; 5]);
        self.receives("a first fragment", &first, allowed);
        self.receives("the last", &last, "passed: fragment_allowed, time/ntp");
    }

    fn is_denied(&mut self) {
        let who = self.who;
        let syn = |to, port| self.segment(to, port, Flags::SYN, [0, 0], b"");
        let (port, service) = (syn(who.web, 22), syn(who.foreign, 443));
        let (nowhere, gateway) = (syn(who.public2, 443), syn(who.gateway, 22));
        self.sends("to a port of no rule", &port, "dropped: port, core/web");
        self.sends("to another group's service", &service, "dropped: service, other/web");
        self.sends("to an address of no name", &nowhere, "dropped: destination");
        self.sends("to the gateway", &gateway, "passed: gateway");
        let datagram = self.back(who.foreign).udp(9, SILENT, b"hello");
        self.receives("what nobody asked for", &datagram, "dropped: unsolicited");
        let later = self.out(who.ntp).identification(0x7777).fragment(3, false).raw(17, &[7; 8]);
        self.sends("a fragment without a first", &later, "dropped: fragment");
    }

    fn talks_icmp(&mut self) {
        let (who, allowed) = (self.who, "passed: allowed, core/push");
        let echo = self.out(who.web).echo_request(self.id);
        self.sends("an echo", &echo, "passed: allowed, core/web");
        let reply = self.back(who.web).echo_reply(self.id);
        self.receives("its reply", &reply, "passed: allowed, core/web");
        let out = self.out(who.push).udp(self.port, 5223, b"asks of it");
        let back = self.back(who.push).udp(5223, self.port, b"is told it");
        self.sends("a datagram", &out, allowed);
        let error = self.back(who.public2).unreachable(&out);
        self.receives("an error about it", &error, "passed: icmp_error");
        self.receives("its answer", &back, allowed);
        let error = self.out(who.push).unreachable(&back);
        self.sends("an error about that", &error, "passed: icmp_error");
        let silent = self.out(who.push).udp(SILENT, 5223, b"never sent");
        let error = self.back(who.public2).unreachable(&silent);
        self.receives("an error about nothing", &error, "dropped: unsolicited");
    }
}
