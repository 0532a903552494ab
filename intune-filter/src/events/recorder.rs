//! Turns the kernel's records into events, and keeps statistics of them.
//!
//! Events name clients, so that none is logged above debug level.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use intune_filter_ebpf::abi::{AnswerEvent, Ending, FlowEvent, FlowKey, V6, answer_flags};
use jiff::Timestamp;

use super::{
    Closed, Denied, Event, EventFilter, Labels, Learned, Traffic, What,
    denial_stats::{DenialStats, Denials},
    feed::{Feed, Subscription},
    flow_reaper::FlowReaper,
    records::{Record, key_of},
};
use crate::{
    kernel::Swept,
    names::{Names, answer::Answer, seen::SeenNames},
    policy::Policy,
    system::{Interface, clock},
};

const SECOND: u64 = 1_000_000_000;

/// Recorder of events, with recent events and statistics.
#[derive(Debug, Default)]
pub(crate) struct EventRecorder {
    labels: Labels,
    interfaces: Vec<Interface>,
    feed: Feed,
    reaper: FlowReaper,
    denials: DenialStats,
    seen: SeenNames,
    evicted: Arc<AtomicU64>,
}

impl EventRecorder {
    /// Replaces the policy by which records are translated.
    pub(crate) fn set_policy(&mut self, policy: &Policy) {
        self.labels = Labels::of_policy(policy);
        self.labels.set_interfaces(&self.interfaces);
    }

    /// Replaces the machine's interfaces, by whose names records without a zone are told.
    pub(crate) fn set_interfaces(&mut self, interfaces: &[Interface]) {
        self.interfaces = interfaces.to_vec();
        self.labels.set_interfaces(interfaces);
    }

    /// Returns the counter of answered flows that were evicted.
    #[must_use]
    pub(crate) fn evicted(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.evicted)
    }

    /// Records an event of the kernel, except answers and segments.
    pub(crate) fn take(&mut self, record: &Record<'_>, names: &Names) {
        match record {
            Record::Denied(event) => {
                let denied = self.labels.denied(event, names, &self.seen);
                self.denied(denied, wall_time(event.time));
            }
            Record::Query(head, question) => {
                let denied = self.labels.query(head, question);
                self.denied(denied, wall_time(head.time));
            }
            Record::Opened(event) => {
                let flow = self.labels.flow(&key_of(event), &event.flow, names);
                self.feed.push(Event { time: wall_time(event.time), what: What::Opened(flow) });
            }
            Record::Closed(event) => {
                self.reaper.closed(event);
                self.close(event, names);
            }
            Record::Answer(..) | Record::Segment(..) => {}
        }
    }

    fn denied(&mut self, denied: Denied, time: Timestamp) {
        self.denials.add(&denied, time);
        self.feed.push(Event { time, what: What::Denied(denied) });
    }

    /// Takes in an answer that taught nothing: its name explains what the client is denied later.
    pub(crate) fn seen(&mut self, event: &AnswerEvent, message: &[u8]) {
        self.seen.take(event, message);
    }

    /// Records an answer that the kernel or userspace has learned from, or for which there was no
    /// room, with the services of its name.
    pub(crate) fn learned(&mut self, event: &AnswerEvent, answer: &Answer, services: Vec<String>) {
        let expires = answer.addresses.iter().map(|(_, expires)| *expires).min();
        let learned = Learned {
            name: answer.name.clone(),
            addresses: answer.hosts().collect(),
            targets: answer.targets.values().cloned().collect(),
            services,
            client: event.client.into(),
            expires_in_s: expires.unwrap_or_default().saturating_sub(event.time) / SECOND,
        };
        let is = |flag| event.flags & flag != 0;
        let time = wall_time(event.time);
        if is(answer_flags::LEARNED | answer_flags::DEFERRED) {
            self.feed.push(Event { time, what: What::Learned(learned.clone()) });
        }
        if is(answer_flags::FULL) {
            self.feed.push(Event { time, what: What::Full(learned) });
        }
    }

    /// Records that the addresses which answers to a query gave to a name were taken back.
    pub(crate) fn disputed(&mut self, event: &AnswerEvent, name: String, addresses: Vec<IpAddr>) {
        let services = Vec::new();
        let client = event.client.into();
        let targets = Vec::new();
        let disputed = Learned { name, addresses, targets, services, client, expires_in_s: 0 };
        self.feed.push(Event { time: wall_time(event.time), what: What::Conflict(disputed) });
    }

    /// Records the flows that a change of the policy has ended.
    pub(crate) fn revoked(
        &mut self,
        flows: &[(FlowKey<V6>, intune_filter_ebpf::abi::Flow)],
        names: &Names,
    ) {
        let now = clock::boot_time();
        for (key, flow) in flows {
            if let Some(event) = self.reaper.revoked(key, flow, now) {
                self.close(&event, names);
            }
        }
    }

    /// Records the ends that a look at the flow tables has found.
    pub(crate) fn look(&mut self, swept: &Swept, now: u64, names: &Names) {
        for event in self.reaper.look(swept, now) {
            self.close(&event, names);
        }
        self.evicted.store(self.reaper.evicted(), Ordering::Relaxed);
    }

    /// Subscribes to events: see [`Feed::subscribe`].
    ///
    /// # Errors
    ///
    /// There are too many followers.
    pub(crate) fn subscribe(
        &self,
        filter: EventFilter,
        last: usize,
        follow: bool,
    ) -> Result<Subscription, &'static str> {
        self.feed.subscribe(filter, last, follow)
    }

    /// Returns the denials of every client that has any.
    pub(crate) fn denials(&self) -> impl Iterator<Item = &Denials> {
        self.denials.iter()
    }

    fn close(&mut self, event: &FlowEvent, names: &Names) {
        let ending = Ending::from_number(event.ending).map_or("unknown", Ending::as_str);
        // Exact to a second, since the kernel does not store the time of each packet.
        let until = match event.ending {
            last if last == Ending::Expired as u8 || last == Ending::Evicted as u8 => {
                event.flow.last_seen
            }
            _ => event.time,
        };
        let duration = Duration::from_nanos(until.saturating_sub(event.flow.opened));
        let closed = Closed {
            flow: self.labels.flow(&key_of(event), &event.flow, names),
            traffic: Traffic::from(&event.flow),
            ending: ending.to_owned(),
            duration_s: duration.as_millis() as f64 / 1000.0,
        };
        self.feed.push(Event { time: wall_time(event.time), what: What::Closed(closed) });
    }
}

/// Converts a time of CLOCK_BOOTTIME in nanoseconds to wall time.
fn wall_time(boot: u64) -> Timestamp {
    let ago = Duration::from_nanos(clock::boot_time().saturating_sub(boot));
    let now = Timestamp::now();
    let exact = now.checked_sub(ago).unwrap_or(now);
    // Milliseconds suffice, and the conversion is no more exact.
    exact.round(jiff::Unit::Millisecond).unwrap_or(exact)
}
