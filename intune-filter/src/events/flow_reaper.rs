//! Finds the ends of flows that no packet shows: of those that expired, and those that were
//! evicted.
//!
//! The kernel reports an end that it sees: both FINs, an RST, a packet on a flow that has expired
//! or that the policy no longer allows. Other ends are found by a periodic look at the tables:
//! expired flows are reported and removed, and a flow that was there at the last look, had time
//! left and is gone without a report was evicted. Flows opened and evicted between two looks are
//! not seen, nor are evictions of unanswered flows: their table exists to absorb floods of
//! openings.

use std::collections::HashMap;

use intune_filter_ebpf::{
    abi::{Ending, EventKind, Flow, FlowEvent, FlowKey, V6, flow_flags},
    verdict::{ending, lifetime},
};

use super::records::key_of;
use crate::kernel::{FlowEntry, Swept};

/// Whether the last packet of a flow is longer ago than the flow's lifetime.
#[must_use]
pub fn has_expired(protocol: u8, flow: &Flow, now: u64) -> bool {
    now.saturating_sub(flow.last_seen) > lifetime(protocol, flow.flags)
}

/// Answered flows at the last look.
#[derive(Debug, Default)]
pub struct FlowReaper {
    known: HashMap<FlowKey<V6>, Flow>,
    evicted: u64,
}

impl FlowReaper {
    /// Returns the number of answered flows that were evicted.
    #[must_use]
    pub const fn evicted(&self) -> u64 {
        self.evicted
    }

    /// Records that the kernel has reported the end of a flow.
    pub fn closed(&mut self, event: &FlowEvent) {
        self.known.remove(&key_of(event));
    }

    /// Records that a change of the policy has ended a flow. Returns the flow's record, unless its
    /// end was reported.
    pub fn revoked(&mut self, key: &FlowKey<V6>, flow: &Flow, now: u64) -> Option<FlowEvent> {
        self.known.remove(key);
        record(key, flow, Ending::Revoked, now)
    }

    /// Compares the tables with the last look. Returns the records of the flows that have ended,
    /// each of which has been removed or is gone.
    pub fn look(&mut self, tables: &Swept, now: u64) -> Vec<FlowEvent> {
        let mut ended = Vec::new();
        let mut before = std::mem::take(&mut self.known);
        for FlowEntry { key, flow, .. } in &tables.removed {
            before.remove(key);
            let how = match ending(flow.flags) {
                Ending::Open => Ending::Expired,
                how => how,
            };
            ended.extend(record(key, flow, how, now));
        }
        for FlowEntry { key, flow, answered } in &tables.left {
            before.remove(key);
            if *answered && flow.flags & flow_flags::REPORTED == 0 {
                self.known.insert(*key, *flow);
            }
        }
        // A flow that has expired by now may have been replaced by another flow, which was then
        // evicted.
        for (key, flow) in before {
            if !has_expired(key.protocol, &flow, now) {
                self.evicted += 1;
                ended.extend(record(&key, &flow, Ending::Evicted, now));
            }
        }
        ended
    }
}

fn record(key: &FlowKey<V6>, flow: &Flow, ending: Ending, now: u64) -> Option<FlowEvent> {
    (flow.flags & flow_flags::REPORTED == 0).then_some(FlowEvent {
        kind: EventKind::Closed as u32,
        reserved: 0,
        time: now,
        flow: *flow,
        client: key.client,
        remote: key.remote,
        client_port: key.client_port,
        remote_port: key.remote_port,
        zone: key.zone,
        protocol: key.protocol,
        ending: ending as u8,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;
    const NOW: u64 = 10_000 * SECOND;

    fn key(client_port: u16) -> FlowKey<V6> {
        FlowKey { zone: 1, protocol: 17, client_port, ..FlowKey::default() }
    }

    fn flow(silent: u64, flags: u16) -> Flow {
        Flow { last_seen: NOW - silent * SECOND, flags, ..Flow::default() }
    }

    fn tables(flows: impl IntoIterator<Item = (u16, Flow)>) -> Swept {
        let entry = |(port, flow): (u16, Flow)| FlowEntry {
            key: key(port),
            flow,
            answered: flow.flags & flow_flags::ANSWERED != 0,
        };
        let (removed, left) =
            flows.into_iter().map(entry).partition(|entry| has_expired(17, &entry.flow, NOW));
        Swept { left, removed }
    }

    fn told(events: &[FlowEvent]) -> Vec<(u16, Ending)> {
        let of = |event: &FlowEvent| {
            assert_eq!(event.kind, EventKind::Closed as u32);
            (event.client_port, Ending::from_number(event.ending).unwrap())
        };
        let mut told: Vec<_> = events.iter().map(of).collect();
        told.sort_unstable_by_key(|(port, _)| *port);
        told
    }

    #[test]
    fn silence_is_told_of_once() {
        let mut reaper = FlowReaper::default();
        let answered = flow_flags::ANSWERED;
        let first = (1, flow(299, answered));
        let tables1 = tables([
            first,
            (2, flow(301, answered)),
            (3, flow(121, 0)),
            (4, flow(301, answered | flow_flags::REPORTED)),
        ]);
        assert_eq!(
            told(&reaper.look(&tables1, NOW)),
            [(2, Ending::Expired), (3, Ending::Expired)],
            "what was told of is only removed"
        );
        assert_eq!(told(&reaper.look(&tables([first]), NOW)), []);
        assert_eq!(reaper.evicted(), 0);
    }

    #[test]
    fn what_is_gone_before_its_time_was_evicted() {
        let mut reaper = FlowReaper::default();
        let answered = flow_flags::ANSWERED;
        let all = (1..=5).map(|port| (port, flow(1, answered))).chain([(9, flow(0, 0))]);
        assert_eq!(told(&reaper.look(&tables(all), NOW)), []);

        reaper.closed(&FlowEvent { zone: 1, protocol: 17, client_port: 1, ..FlowEvent::default() });
        let revoked = reaper.revoked(&key(2), &flow(1, answered), NOW);
        assert_eq!(told(&[revoked.unwrap()]), [(2, Ending::Revoked)]);
        // A flow with the same ports: the report of the earlier flow's end may have been lost.
        let again = (3, Flow { opened: NOW, ..flow(0, answered) });
        let left = tables([again, (4, flow(1, answered))]);
        assert_eq!(told(&reaper.look(&left, NOW)), [(5, Ending::Evicted)]);
        assert_eq!(reaper.evicted(), 1);
        assert_eq!(told(&reaper.look(&left, NOW)), []);
        // Both have expired meanwhile: their ends are unknown.
        assert_eq!(told(&reaper.look(&Swept::default(), NOW + 400 * SECOND)), []);
        assert_eq!(reaper.evicted(), 1);
    }
}
