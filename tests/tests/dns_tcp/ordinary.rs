//! Honest clients: what they send has to be answered, every bit of it.

use intune_filter_tests::random::Random;

use crate::{
    coverage::Trick,
    messages::{self, Asked, Carries, PREFIX},
    script::{Act, Cut, Manner, Script, Step, Until},
    segment::{ACK, FIN},
};

/// How far the numbers of a second connection are ahead at least: with nearer ones none is opened
/// between the same ports, for the resolver might take the octets of the one for the other's.
const NEAR: u32 = 1 << 22;

/// An honest client's connection, perhaps two in turn from the same port.
pub fn script(random: &mut Random) -> Script {
    let mut client = Client { random, steps: Vec::new(), expected: Vec::new(), base: 0 };
    client.connection();
    if client.random.once_in(10) {
        client.base = i64::from(client.random.within(NEAR..2_000_000_000));
        client.connection();
    }
    let Client { steps, expected, .. } = client;
    let manner = Manner { slow: random.once_in(2), split: random.once_in(20), unasked: None };
    Script { expected: Some(expected), stamps: random.once_in(2), most: 1440, manner, steps }
}

struct Client<'a> {
    random: &'a mut Random,
    steps: Vec<Step>,
    expected: Vec<Asked>,
    base: i64,
}

impl Client<'_> {
    fn step(&mut self, until: Until, cuts: impl IntoIterator<Item = Cut>) {
        self.steps.push(Step { until, acts: cuts.into_iter().map(Act::Send).collect() });
    }

    fn connection(&mut self) {
        let base = self.base;
        let mut next = base + 1;
        let trick = if base == 0 { Trick::Plain } else { Trick::Reuse };
        self.step(Until::Sent, [Cut::syn(trick, base)]);
        if self.random.once_in(8) {
            self.step(Until::Sent, [Cut::syn(Trick::Repeat, base)]);
        }
        self.step(Until::Established(base), [Cut::data(trick, base, next, &[])]);
        let waits = self.random.once_in(2);
        // Some send more than anybody would keep until it is acknowledged, in fewer queries than end a
        // connection to dnsmasq (100).
        let long = self.random.once_in(12);
        let flights = if long { 60 } else { self.random.within(1..4) };
        for _ in 0..flights {
            for data in self.flight(long) {
                self.send(&mut next, &data);
            }
            if waits {
                let answered = Until::Answered(self.expected.len());
                self.step(answered, [Cut::data(Trick::Plain, base, next, &[])]);
            }
        }
        self.step(Until::Answered(self.expected.len()), [Cut::data(Trick::Plain, base, next, &[])]);
        let fin = Cut { flags: FIN | ACK, ..Cut::data(Trick::Plain, base, next, &[]) };
        self.step(Until::Sent, [fin]);
        self.step(Until::Finished(base), [Cut::data(Trick::Plain, base, next + 1, &[])]);
    }

    /// Octets of one flight, cut into segments.
    fn flight(&mut self, long: bool) -> Vec<Vec<u8>> {
        let padded = long || self.random.once_in(3);
        let first = self.message(if padded { Carries::Padding } else { Carries::Nothing });
        match self.random.within(0..4) {
            // As glibc does: both questions at once.
            0 => vec![[first, self.message(Carries::Nothing)].concat()],
            1 => {
                let (length, rest) = first.split_at(PREFIX);
                vec![length.to_vec(), rest.to_vec()]
            }
            _ => vec![first],
        }
    }

    /// A query. Its identifier is none that may be in flight (RFC 7766 section 6.2.1): who uses one
    /// twice at once cannot tell the answers apart either.
    fn message(&mut self, carries: Carries) -> Vec<u8> {
        loop {
            let message = messages::pair(self.random, carries).message;
            let query = message.get(PREFIX..).and_then(messages::asked).expect("a query is one");
            if self.expected.iter().all(|before| before.id != query.id) {
                self.expected.push(query);
                return message;
            }
        }
    }

    /// Sends a segment, sometimes twice, as who has missed the acknowledgement.
    fn send(&mut self, next: &mut i64, data: &[u8]) {
        let cut = |trick| Cut::data(trick, self.base, *next, data);
        let (once, again) = (cut(Trick::Plain), cut(Trick::Repeat));
        match self.random.within(0..8) {
            0 => self.step(Until::Sent, [once, again]),
            1 => {
                self.step(Until::Sent, [once]);
                self.step(Until::Sent, [again]);
            }
            _ => self.step(Until::Sent, [once]),
        }
        *next += data.len() as i64;
    }
}
