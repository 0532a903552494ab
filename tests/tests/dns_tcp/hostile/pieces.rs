//! Tricks of hostile clients with a piece of their octets.

use super::{Client, Plan};
use crate::{
    coverage::Trick,
    messages,
    script::{Acknowledged, Cut, Dud},
    segment::{ACK, FIN, RST, URG},
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

impl Client<'_> {
    /// Sends a piece of the plan, with or without a trick.
    pub(super) fn piece(&mut self, from: i64, plan: &Plan, begin: usize, end: usize) {
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
            _ => {
                let trick = if plan.denied { Trick::Denied } else { Trick::Plain };
                self.send(Cut { trick, ..whole });
            }
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
}

const fn octets_len(begin: usize, end: usize) -> usize {
    end - begin
}
