//! Openings by hostile clients: once, twice, with data, or with an accomplice's help.

use super::{Client, Plan};
use crate::{
    coverage::Trick,
    script::{Cut, Dud},
    segment::{ACK, SYN},
};

impl Client<'_> {
    /// A distance between two initial numbers at which a message inside another begins to be read.
    pub(super) fn aligned(&mut self, plan: &Plan) -> i64 {
        match (plan.inner.as_slice(), self.random.within(0..4)) {
            ([], _) | (_, 0) => self.shift(),
            (inner, 1) => *self.random.pick(inner) as i64,
            (inner, _) => -(*self.random.pick(inner) as i64),
        }
    }

    /// Opens a connection. Returns the initial number that data follows, and the one whose SYN-ACK
    /// is acknowledged.
    pub(super) fn open(&mut self, base: i64, plan: &Plan) -> (i64, i64) {
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
                // Else the answer is there as soon as the SYN is sent.
                syn.dud = self.loss_of_syn();
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
}
