//! Clients that want to be read otherwise than they are judged, some with an accomplice beside them.

use intune_filter_tests::soak::random::Random;

use crate::{
    coverage::Trick,
    messages::{self, Carries, Pair},
    script::{Acknowledged, Act, Cut, Dud, Forged, Manner, Script, Step, Unasked, Until},
    segment::{ACK, FIN, RST, SYN, URG},
};

/// Ways in which a segment gets lost behind the filter.
const LOSSES: [Trick; 7] = [
    Trick::Checksum,
    Trick::Hops,
    Trick::Stamp,
    Trick::Signature,
    Trick::AckBeyond,
    Trick::NoAck,
    Trick::AckOld,
];

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
        split: random.once_in(10),
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

/// What is sent: octets as they are judged, others in their place, and where one may cut them.
struct Plan {
    octets: Vec<u8>,
    twin: Vec<u8>,
    cuts: Vec<usize>,
    /// Where a message for a denied name begins in the middle of an allowed one.
    inner: Vec<usize>,
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

    /// How far another initial sequence number is away.
    fn shift(&mut self) -> i64 {
        match self.random.within(0..4) {
            0 => i64::from(self.random.within(1..200)),
            1 => -i64::from(self.random.within(1..200)),
            2 => i64::from(self.random.within(60_000..140_000)),
            _ => i64::from(self.random.next() as u32),
        }
    }

    fn plan(&mut self) -> Plan {
        let mut plan =
            Plan { octets: Vec::new(), twin: Vec::new(), cuts: vec![0], inner: Vec::new() };
        let style = self.random.within(0..4);
        for _ in 0..self.random.within(1..5) {
            let choices = [Carries::Nothing, Carries::Nothing, Carries::Padding, Carries::Name];
            let carries = *self.random.pick(&choices);
            let Pair { message, twin, inner } = messages::pair(self.random, carries);
            let begin = plan.octets.len();
            let denied = self.random.once_in(10) && self.may(Trick::Denied);
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

    /// A distance between two initial numbers at which a message inside another begins to be read.
    fn aligned(&mut self, plan: &Plan) -> i64 {
        match (plan.inner.as_slice(), self.random.within(0..4)) {
            ([], _) | (_, 0) => self.shift(),
            (inner, 1) => *self.random.pick(inner) as i64,
            (inner, _) => -(*self.random.pick(inner) as i64),
        }
    }

    /// Opens a connection. Returns the initial number that data follows, and the one whose SYN-ACK
    /// is acknowledged.
    fn open(&mut self, base: i64, plan: &Plan) -> (i64, i64) {
        let trick = match self.random.within(0..10) {
            0 => self.pick(&[Trick::SynData]),
            1 => self.pick(&[Trick::Early]),
            2 => self.pick(&[Trick::SynBefore]),
            3 | 4 => self.pick(&[Trick::SynAfter]),
            5 => self.pick(&[Trick::ForgedSynAck]),
            _ => Trick::Plain,
        };
        let mut syn = Cut::syn(if base == 0 { Trick::Plain } else { Trick::Reuse }, base);
        let other = base + self.aligned(plan);
        let mut follows = (base, base);
        match trick {
            Trick::SynData => {
                let length = self.random.within(1..plan.octets.len() as u32) as usize;
                syn = Cut { trick, data: plan.octets[..length].to_vec(), ..syn };
                self.send(syn.clone());
                self.perhaps_rest();
                self.send(Cut::syn(Trick::Plain, base));
            }
            Trick::Early => {
                self.send(syn);
                // Sent before the answer is known: it acknowledges nothing.
                let end = plan.cuts.get(1).copied().unwrap_or(0);
                let data = Cut::data(trick, base, base + 1, &plan.octets[..end]);
                self.send(data);
            }
            Trick::SynBefore | Trick::SynAfter => {
                let mut second = Cut::syn(trick, other);
                // One of them may never arrive.
                let loss = self.loss_of_syn();
                if self.random.once_in(2) {
                    syn.dud = loss
                } else {
                    second.dud = loss
                }
                self.send(syn);
                if trick == Trick::SynAfter {
                    self.rest();
                }
                self.send(second);
                let choices = [(base, base), (other, other), (other, base), (base, other)];
                follows = *self.random.pick(&choices);
            }
            Trick::ForgedSynAck => {
                let second = self.random.once_in(2);
                syn.dud = if second { None } else { self.loss_of_syn() };
                self.send(syn);
                self.forge(trick, SYN | ACK, if second { other } else { base } + 1, base, &[]);
                if second {
                    follows = (other, base);
                }
            }
            _ => self.send(syn),
        }
        self.rest();
        follows
    }

    fn loss_of_syn(&mut self) -> Option<Dud> {
        *self.random.pick(&[None, Some(Dud::Checksum), Some(Dud::Hops), Some(Dud::Signature)])
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

    /// Sends a piece of the plan, with or without a trick.
    fn piece(&mut self, from: i64, plan: &Plan, begin: usize, end: usize) {
        let trick = self.pick(&[
            Trick::Plain,
            Trick::Plain,
            Trick::Plain,
            Trick::Repeat,
            Trick::Overlap,
            Trick::OverlapChanged,
            Trick::Beyond,
            Trick::Changed,
            Trick::LostChanged,
            Trick::LostChanged,
            Trick::LostRepeat,
            Trick::LostForever,
            Trick::DeniedFirst,
            Trick::Urgent,
            Trick::KeepAlive,
            Trick::ZeroWindow,
            Trick::Reset,
            Trick::ResetIgnored,
            Trick::Fin,
            Trick::ForgedAck,
            Trick::ForgedReset,
            Trick::ForgedAnswer,
        ]);
        let (octets, length) = (&plan.octets, octets_len(begin, end));
        let at = from + 1 + begin as i64;
        let whole = Cut::data(trick, from, at, &octets[begin..end]);
        match trick {
            Trick::Repeat => {
                self.send(whole.clone());
                self.perhaps_rest();
                self.send(whole);
            }
            Trick::Overlap | Trick::OverlapChanged => {
                let back = self.random.within(0..begin as u32 + 1) as usize;
                let changed = self.changed(plan);
                let over = if trick == Trick::Overlap { octets } else { &changed };
                let data = [&over[back..begin], &octets[begin..end]].concat();
                self.send(Cut::data(trick, from, from + 1 + back as i64, &data));
                self.perhaps_rest();
                self.send(Cut { trick: Trick::Plain, ..whole });
            }
            Trick::Beyond => {
                let split = begin + self.random.within(0..length as u32) as usize;
                let changed = self.changed(plan);
                self.octets(Trick::Plain, from, octets, begin, split.max(begin + 1).min(end));
                self.perhaps_rest();
                let data = [&changed[begin..split], &octets[split..end]].concat();
                self.send(Cut::data(trick, from, at, &data));
                self.perhaps_rest();
                self.octets(Trick::Plain, from, octets, begin, end);
            }
            Trick::Changed => {
                self.octets(Trick::Plain, from, octets, begin, end);
                self.perhaps_rest();
                let changed = self.changed(plan);
                let begin = self.random.within(0..begin as u32 + 1) as usize;
                self.octets(trick, from, &changed, begin, end);
            }
            Trick::LostChanged | Trick::LostRepeat | Trick::LostForever => {
                self.lost(trick, from, plan, begin, end)
            }
            Trick::DeniedFirst => {
                self.octets(trick, from, &plan.twin, begin, end);
                self.perhaps_rest();
                self.octets(Trick::Plain, from, octets, begin, end);
            }
            Trick::Urgent => {
                let past = self.random.once_in(8);
                let pointer = self.random.within(0..length as u32 + if past { 40 } else { 1 });
                self.send(Cut { flags: whole.flags | URG, urgent: pointer as u16, ..whole });
            }
            Trick::KeepAlive => {
                let octet = self.random.next() as u8;
                let below = self.random.within(1..3);
                self.send(Cut {
                    flags: ACK,
                    ..Cut::data(trick, from, at - i64::from(below), &[octet])
                });
                self.perhaps_rest();
                self.send(Cut { trick: Trick::Plain, ..whole });
            }
            Trick::ZeroWindow => {
                self.send(Cut { window: 0, ..whole });
                self.rest();
                self.send(Cut::data(trick, from, from + 1 + end as i64, &[]));
            }
            Trick::Reset | Trick::ResetIgnored => {
                let ignored = trick == Trick::ResetIgnored;
                let mut reset = Cut { flags: RST | ACK, ..Cut::data(trick, from, at, &[]) };
                if ignored && self.random.once_in(2) {
                    reset.at += i64::from(self.random.within(1..100_000));
                } else if ignored {
                    reset.dud = Some(Dud::Checksum);
                }
                self.send(reset);
                self.perhaps_rest();
                let changed = self.changed(plan);
                let octets = if self.random.once_in(2) { octets } else { &changed };
                self.octets(Trick::Plain, from, octets, begin, end);
            }
            Trick::Fin => {
                let lost = self.random.once_in(2).then_some(Dud::Checksum);
                self.send(Cut { flags: whole.flags | FIN, dud: lost, ..whole });
                self.perhaps_rest();
                let changed = self.changed(plan);
                self.octets(Trick::Plain, from, &changed, begin, end);
            }
            Trick::ForgedAck => {
                self.send(Cut { dud: Some(Dud::Checksum), ..whole });
                self.forge(trick, ACK, from + 1 + end as i64, from, &[]);
                self.perhaps_rest();
                let changed = self.changed(plan);
                self.octets(Trick::LostChanged, from, &changed, begin, end);
            }
            Trick::ForgedReset => {
                self.send(whole);
                self.forge(trick, RST | ACK, from + 1 + end as i64, from, &[]);
            }
            Trick::ForgedAnswer => {
                self.send(whole);
                let kind = hickory_proto::rr::RecordType::A;
                let query = messages::query(99, &messages::denied("forged"), kind, &[]);
                let answer = messages::framed(&messages::answer(&query));
                self.forge(trick, ACK, from + 1 + end as i64, from, &answer);
            }
            _ => self.send(Cut { trick: Trick::Plain, ..whole }),
        }
    }

    /// Sends a piece so that the server does not take it, and then once more.
    fn lost(&mut self, trick: Trick, from: i64, plan: &Plan, begin: usize, end: usize) {
        let loss = self.pick(&LOSSES);
        let at = from + 1 + begin as i64;
        let mut cut = Cut::data(loss, from, at, &plan.octets[begin..end]);
        match loss {
            Trick::Hops => cut.dud = Some(Dud::Hops),
            Trick::Stamp => cut.dud = Some(Dud::Stamp),
            Trick::Signature => cut.dud = Some(Dud::Signature),
            Trick::AckBeyond => {
                cut.acknowledged = Acknowledged::Beyond(self.random.within(1..100_000));
            }
            Trick::AckOld => cut.acknowledged = Acknowledged::Old(self.random.within(1..100_000)),
            Trick::NoAck => cut.flags &= !ACK,
            _ => cut.dud = Some(Dud::Checksum),
        }
        self.send(cut);
        self.perhaps_rest();
        if self.random.once_in(4) && self.may(Trick::ForgedAck) {
            self.forge(Trick::ForgedAck, ACK, from + 1 + end as i64, from, &[]);
        }
        if self.random.once_in(4) {
            // More arrives behind the hole, and is acknowledged selectively.
            let next = (end + 20).min(plan.octets.len());
            self.octets(Trick::Reorder, from, &plan.octets, end, next);
        }
        if trick == Trick::LostForever {
            return;
        }
        if trick == Trick::LostRepeat {
            self.octets(trick, from, &plan.octets, begin, end);
            return;
        }
        let changed = self.changed(plan);
        // The same, its head alone, or what begins before it.
        let (begin, end) = match self.random.within(0..4) {
            0 => (begin, begin + 1 + self.random.within(0..octets_len(begin, end) as u32) as usize),
            1 => (self.random.within(0..begin as u32 + 1) as usize, end),
            _ => (begin, end),
        };
        self.octets(trick, from, &changed, begin, end);
        self.perhaps_rest();
        self.octets(trick, from, &changed, end, plan.octets.len());
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

const fn octets_len(begin: usize, end: usize) -> usize {
    end - begin
}
