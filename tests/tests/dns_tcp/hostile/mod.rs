//! Clients that want to be read otherwise than they are judged, some with an accomplice beside them.

mod opening;
mod pieces;

use intune_filter_tests::random::Random;

use crate::{
    coverage::Trick,
    messages::{self, Carries, Pair},
    script::{Act, Cut, Dud, Forged, Manner, Script, Step, Unasked, Until},
    segment::{ACK, FIN, RST},
};

/// A hostile client's connection.
pub fn script(random: &mut Random, without: &[Trick]) -> Script {
    let mut client = Client { random, without, steps: Vec::new(), acts: Vec::new() };
    let mut base = 0;
    client.connection(base);
    while client.random.once_in(5) && client.may(Trick::Reuse) {
        client.end(base);
        base = client.shift();
        client.connection(base);
    }
    client.rest();
    client.rest();
    let steps = std::mem::take(&mut client.steps);
    let unasked = client.random.once_in(12) && client.may(Trick::Unasked);
    let kind = *client.random.pick(&[Unasked::Name, Unasked::Identifier, Unasked::Early]);
    let manner = Manner {
        slow: random.once_in(2),
        // What the kernel leaves to a daemon that is late passes unread, and is counted.
        split: !unasked && random.once_in(10),
        unasked: unasked.then(|| (kind, random.within(0..2) as usize)),
    };
    Script {
        expected: None,
        stamps: random.within(0..3) != 0,
        most: *random.pick(&[536, 1440, 9000]),
        manner,
        steps,
    }
}

struct Client<'a> {
    random: &'a mut Random,
    without: &'a [Trick],
    steps: Vec<Step>,
    acts: Vec<Act>,
}

/// Octets to send as they are judged, others in their place, and positions of cuts.
struct Plan {
    octets: Vec<u8>,
    twin: Vec<u8>,
    cuts: Vec<usize>,
    /// Offsets at which a message for a denied name begins in the middle of an allowed one.
    inner: Vec<usize>,
    /// Whether one of the messages is for a denied name.
    denied: bool,
}

impl Client<'_> {
    fn may(&self, trick: Trick) -> bool {
        !self.without.contains(&trick)
    }

    /// One of these that may be tried; plain if none may.
    fn pick(&mut self, tricks: &[Trick]) -> Trick {
        let trick = *self.random.pick(tricks);
        if self.may(trick) { trick } else { Trick::Plain }
    }

    fn send(&mut self, cut: Cut) {
        self.acts.push(Act::Send(cut));
    }

    /// Lets what was sent have its effect.
    fn rest(&mut self) {
        self.steps.push(Step { until: Until::Sent, acts: std::mem::take(&mut self.acts) });
    }

    fn perhaps_rest(&mut self) {
        if self.random.once_in(2) {
            self.rest();
        }
    }

    /// Distance to another initial sequence number.
    fn shift(&mut self) -> i64 {
        match self.random.within(0..4) {
            0 => i64::from(self.random.within(1..200)),
            1 => -i64::from(self.random.within(1..200)),
            2 => i64::from(self.random.within(60_000..140_000)),
            _ => i64::from(self.random.next() as u32),
        }
    }

    fn plan(&mut self) -> Plan {
        let mut plan = Plan {
            octets: Vec::new(),
            twin: Vec::new(),
            cuts: vec![0],
            inner: Vec::new(),
            denied: false,
        };
        let style = self.random.within(0..4);
        for _ in 0..self.random.within(1..5) {
            let choices = [Carries::Nothing, Carries::Nothing, Carries::Padding, Carries::Name];
            let carries = *self.random.pick(&choices);
            let Pair { message, twin, inner } = messages::pair(self.random, carries);
            let begin = plan.octets.len();
            let denied = self.random.once_in(10) && self.may(Trick::Denied);
            plan.denied |= denied;
            plan.octets.extend(if denied { &twin } else { &message });
            plan.twin.extend(&twin);
            plan.inner.extend(inner.map(|inner| begin + inner));
            match style {
                // The length in a segment of its own.
                0 => plan.cuts.push(begin + 2),
                1 => {
                    for _ in 0..self.random.within(0..4) {
                        plan.cuts
                            .push(begin + self.random.within(0..message.len() as u32) as usize);
                    }
                }
                _ => {}
            }
            if style != 2 || self.random.once_in(2) {
                plan.cuts.push(plan.octets.len());
            }
        }
        plan.cuts.push(plan.octets.len());
        plan.cuts.sort_unstable();
        plan.cuts.dedup();
        plan
    }

    /// Opens a connection whose initial number is `base`, and sends what is planned on it.
    fn connection(&mut self, base: i64) {
        let plan = self.plan();
        let (from, acknowledging) = self.open(base, &plan);
        if self.random.once_in(12) && self.may(Trick::Skipped) {
            let off = i64::from(self.random.within(0..7)) - 3;
            self.send(Cut::data(Trick::Skipped, acknowledging, acknowledging + 1 + off, &[]));
            self.perhaps_rest();
        } else if acknowledging != from || self.random.once_in(2) {
            self.send(Cut::data(Trick::Plain, acknowledging, acknowledging + 1, &[]));
            self.perhaps_rest();
        }
        let mut at = 0;
        while let Some(pair) = plan.cuts.get(at..at + 2) {
            let [begin, end] = [pair[0], pair[1]];
            if self.random.once_in(12) && self.may(Trick::Reorder) {
                let next = plan.cuts.get(at + 2).copied().unwrap_or(end);
                self.octets(Trick::Reorder, from, &plan.octets, end, next);
                self.perhaps_rest();
            }
            self.piece(from, &plan, begin, end);
            if self.random.within(0..4) != 0 {
                self.rest();
            }
            if self.random.once_in(16) && self.may(Trick::SynLate) {
                let shift = self.aligned(&plan);
                self.send(Cut::syn(Trick::SynLate, base + shift));
                self.rest();
            }
            at += 1;
        }
        self.rest();
    }

    fn forge(&mut self, trick: Trick, flags: u8, acknowledged: i64, base: i64, data: &[u8]) {
        let data = data.to_vec();
        self.acts.push(Act::Forge(Forged { trick, flags, acknowledged, base, data }));
    }

    fn octets(&mut self, trick: Trick, from: i64, of: &[u8], begin: usize, end: usize) {
        let data = of.get(begin..end).unwrap_or_default();
        self.send(Cut::data(trick, from, from + 1 + begin as i64, data));
    }

    /// Other octets in place of some: their twin's, or any.
    fn changed(&mut self, plan: &Plan) -> Vec<u8> {
        let mut octets = plan.twin.clone();
        if self.random.once_in(3) {
            octets.clone_from(&plan.octets);
            for _ in 0..self.random.within(1..4) {
                let at = self.random.within(0..octets.len() as u32) as usize;
                octets[at] ^= 1 << self.random.within(0..8);
            }
        }
        octets
    }

    /// Ends the connection, or seems to.
    fn end(&mut self, base: i64) {
        let at = base + 1 + i64::from(self.random.within(0..200));
        let trick = self.pick(&[Trick::Reset, Trick::ResetIgnored, Trick::Fin, Trick::Plain]);
        let mut cut = Cut::data(trick, base, at, &[]);
        match trick {
            Trick::Reset => cut.flags = RST | ACK,
            Trick::ResetIgnored => {
                cut.flags = RST;
                cut.dud = Some(Dud::Checksum);
            }
            Trick::Fin => cut.flags = FIN | ACK,
            _ => {}
        }
        self.send(cut);
        self.rest();
    }
}
