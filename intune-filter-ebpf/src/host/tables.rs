//! The tables themselves, and what does not depend on the address family.

use core::cell::{Cell, RefCell};
use std::{
    collections::{HashMap, HashSet},
    vec::Vec,
};

use super::Trie;
use crate::{
    abi::{
        Active, AnswerEvent, Client, Counter, DeniedEvent, EdgeKey, Flow, FlowEvent, FlowKey,
        FragmentKey, FragmentVerdict, Glob, Host, KEPT_CAPACITY, KeptOctets, Limit, LimitKey,
        Limits, NameNode, OwnKey, Pending, PendingKey, Reason, RuleCounter, SegmentEvent, Settings,
        Stream, StreamRead, Taking, V4, V6, ZoneKey,
    },
    scratch::Scratch,
    verdict::{self, Place, Verdict},
    world::{NOT_FORWARDED, Routes, RuleEvent, Taken, UNTOLD, World},
};

/// One policy's maps.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// As `CLIENTS4`: the zone's four octets in native order, then the address's.
    pub clients4: Trie<Client>,
    /// As `CLIENTS6`.
    pub clients6: Trie<Client>,
    /// As `NETS4`.
    pub nets4: Trie<u64>,
    /// As `NETS6`.
    pub nets6: Trie<u64>,
    /// As `ANSWERS4`.
    pub answers4: Trie<u32>,
    /// As `ANSWERS6`.
    pub answers6: Trie<u32>,
    /// As `PORTS`.
    pub ports: Vec<u64>,
    /// As `EDGES`.
    pub edges: HashMap<EdgeKey, NameNode>,
    /// As `GLOBS`.
    pub globs: Vec<Glob>,
    /// As `SERVERS`.
    pub servers: HashMap<V6, u32>,
    /// As the policy's half of `GATEWAY_PORTS`: indices of ports.
    pub gateway_ports: HashSet<u32>,
    /// As an element of `SETTINGS`.
    pub settings: Settings,
}

/// Everything that the kernel holds in maps. Public fields are what userspace writes.
#[derive(Debug, Default)]
pub struct Tables {
    /// CLOCK_BOOTTIME, nanoseconds.
    pub now: Cell<u64>,
    /// As `ACTIVE`.
    pub active: Cell<Active>,
    /// As `ZONES`.
    pub zones: HashMap<ZoneKey, u32>,
    /// As `OWN_ADDRESSES`.
    pub own_addresses: HashSet<V6>,
    /// As `OWN_ON_DEVICE`.
    pub own_on_device: HashSet<OwnKey>,
    /// As `ZONE_DEVICES`.
    pub devices: HashMap<u16, u32>,
    /// Addresses that the routes make the gateway's own, and the device of their network.
    pub local_routes: HashMap<V6, u32>,
    /// Where routes lead to, by mapped addresses.
    pub routes: Trie<u32>,
    /// The maps of the policies, by the lowest bit of their generation.
    pub policies: [Policy; 2],
    /// As `HOSTS4`.
    pub hosts4: RefCell<HashMap<V4, Host>>,
    /// As `HOSTS6`.
    pub hosts6: RefCell<HashMap<V6, Host>>,
    /// As `FLOWS4`.
    pub flows4: RefCell<HashMap<FlowKey<V4>, Flow>>,
    /// As `FLOWS6`.
    pub flows6: RefCell<HashMap<FlowKey<V6>, Flow>>,
    /// As `NEW_FLOWS4`.
    pub new_flows4: RefCell<HashMap<FlowKey<V4>, Flow>>,
    /// As `NEW_FLOWS6`.
    pub new_flows6: RefCell<HashMap<FlowKey<V6>, Flow>>,
    /// As `DNS_PENDING`.
    pub pending: RefCell<HashMap<PendingKey, Pending>>,
    /// As `STREAMS`.
    pub streams: RefCell<HashMap<FlowKey<V6>, Stream>>,
    /// As `STREAMS_READ`.
    pub streams_read: RefCell<HashMap<FlowKey<V6>, StreamRead>>,
    /// As `KEPT_OCTETS`.
    pub kept: RefCell<HashMap<u32, KeptOctets>>,
    /// As `CLIENT_LIMITS`, with room for everybody, and `ZONE_LIMITS`.
    pub limits: RefCell<HashMap<LimitKey, Limits>>,
    /// As `FRAGMENTS`.
    pub fragments: RefCell<HashMap<FragmentKey, FragmentVerdict>>,
    /// As `COUNTERS`, by number of reason.
    pub counters: RefCell<HashMap<u8, Counter>>,
    /// As `RULE_COUNTERS`.
    pub rule_counters: RefCell<HashMap<u8, RuleCounter>>,
    /// What `EVENTS` tells of denied packets.
    pub denied: RefCell<Vec<DeniedEvent>>,
    /// What `EVENTS` tells of flows.
    pub flow_events: RefCell<Vec<FlowEvent>>,
    /// What `EVENTS` tells of answers: record and message.
    pub answers: RefCell<Vec<(AnswerEvent, Vec<u8>)>>,
    /// What `EVENTS` tells of segments: record and data.
    pub segments: RefCell<Vec<(SegmentEvent, Vec<u8>)>>,
    /// Entries that `hosts4` and `hosts6` have room for; 0 is no limit.
    pub hosts_capacity: usize,
    scratch: Scratch,
}

impl Tables {
    /// Judges a frame from a client.
    pub fn ingress(&self, frame: &[u8], place: Place) -> Verdict {
        let verdict = verdict::ingress(&frame, self, place);
        if verdict.action.is_answered() {
            self.release(&self.scratch);
        }
        verdict
    }

    /// Judges a frame to a client.
    pub fn egress(&self, frame: &[u8], place: Place) -> Verdict {
        verdict::egress(&frame, self, place)
    }

    /// How often a reason was counted.
    #[must_use]
    pub fn counted(&self, reason: Reason) -> u64 {
        self.counters.borrow().get(&(reason as u8)).map_or(0, |counter| counter.packets)
    }

    pub(super) fn policy(&self, set: u32) -> &Policy {
        &self.policies[(set & 1) as usize]
    }
}

impl World for &Tables {
    fn now(self) -> u64 {
        self.now.get()
    }

    fn tick(self) -> u64 {
        self.now()
    }

    fn active(self) -> Option<Active> {
        Some(self.active.get()).filter(|active| active.generation != 0)
    }

    fn zone(self, ifindex: u32, vlan: u16) -> Option<u16> {
        let key = ZoneKey { ifindex, vlan: u32::from(vlan) };
        self.zones.get(&key).map(|zone| *zone as u16)
    }

    fn settings<'s>(self, set: u32) -> Option<&'s Settings>
    where
        Self: 's,
    {
        Some(&self.policy(set).settings)
    }

    fn port(self, set: u32, index: u32) -> u64 {
        self.policy(set).ports.get(index as usize).copied().unwrap_or_default()
    }

    fn server(self, set: u32, address: &V6) -> u32 {
        self.policy(set).servers.get(address).copied().unwrap_or_default()
    }

    fn is_own(self, address: &V6) -> bool {
        self.own_addresses.contains(address)
    }

    fn is_own_on(self, _: &Scratch, device: u32, address: &V6) -> bool {
        self.own_on_device.contains(&OwnKey { device, address: *address })
    }

    fn device(self, zone: u16) -> u32 {
        self.devices.get(&zone).copied().unwrap_or_default()
    }

    fn is_gateway_port(self, set: u32, index: u32) -> bool {
        self.policy(set).gateway_ports.contains(&index)
    }

    fn route(self, scratch: &Scratch, _: u32, routes: Routes) -> u64 {
        // SAFETY: tables are not shared between threads.
        let to = unsafe { *scratch.ctx.route_to.get() };
        match (self.local_routes.get(&to), routes) {
            (Some(_), Routes::All) => NOT_FORWARDED,
            (Some(device), Routes::Main) => u64::from(*device),
            (Some(_), _) => UNTOLD,
            (None, _) => {
                let key: Vec<u8> = to.0.iter().flat_map(|word| word.to_ne_bytes()).collect();
                self.routes.get(&key).map_or(NOT_FORWARDED, u64::from)
            }
        }
    }

    fn edge<R>(self, set: u32, key: &EdgeKey, visit: impl FnOnce(&NameNode) -> R) -> Option<R> {
        self.policy(set).edges.get(key).map(visit)
    }

    fn glob<R>(self, set: u32, index: u32, visit: impl FnOnce(&Glob) -> R) -> Option<R> {
        self.policy(set).globs.get(index as usize).map(visit)
    }

    fn remember(self, key: &PendingKey, pending: &Pending) {
        self.pending.borrow_mut().insert(*key, *pending);
    }

    fn pending(self, key: &PendingKey) -> Option<Pending> {
        self.pending.borrow().get(key).copied()
    }

    fn stream<R>(self, key: &FlowKey<V6>, visit: impl FnOnce(&mut Stream) -> R) -> Option<R> {
        self.streams.borrow_mut().get_mut(key).map(visit)
    }

    fn open_stream(self, key: &FlowKey<V6>, stream: &Stream) {
        self.streams.borrow_mut().insert(*key, *stream);
    }

    fn own_kept(self, slot: u32, owner: u64) -> Option<bool> {
        let mut kept = self.kept.borrow_mut();
        let empty = KeptOctets { owner: 0, octets: [0; KEPT_CAPACITY as usize] };
        let slot = kept.entry(slot).or_insert(empty);
        let had = slot.owner == owner;
        slot.owner = owner;
        Some(had)
    }

    fn settle_kept(self, _: u32, _: u64) {}

    fn is_kept_of(self, slot: u32, owner: u64) -> bool {
        self.kept.borrow().get(&slot).is_some_and(|slot| slot.owner == owner)
    }

    fn keep_octet(self, slot: u32, number: u32, octet: u64) {
        if let Some(slot) = self.kept.borrow_mut().get_mut(&slot) {
            slot.octets[(number % KEPT_CAPACITY) as usize] = octet as u8;
        }
    }

    fn kept_octet(self, slot: u32, number: u32) -> u64 {
        let octet = |slot: &KeptOctets| slot.octets[(number % KEPT_CAPACITY) as usize];
        self.kept.borrow().get(&slot).map_or(0, |slot| u64::from(octet(slot)))
    }

    fn stream_read(self, key: &FlowKey<V6>) -> Option<StreamRead> {
        self.streams_read.borrow().get(key).copied()
    }

    fn take(self, taking: &Taking) -> Taken {
        let mut limits = self.limits.borrow_mut();
        let limits = limits.entry(taking.key).or_default();
        let limit = Limit { interval: taking.interval, window: taking.window };
        match limit.next_due(limits.due[taking.kind as usize], taking.now) {
            0 => Taken::Refused,
            due => {
                limits.due[taking.kind as usize] = due;
                Taken::Done
            }
        }
    }

    fn fragment(self, key: &FragmentKey) -> Option<FragmentVerdict> {
        self.fragments.borrow().get(key).copied()
    }

    fn keep_fragment(self, key: &FragmentKey, verdict: &FragmentVerdict) {
        self.fragments.borrow_mut().insert(*key, *verdict);
    }

    fn count(self, reason: Reason, packets: u32, bytes: u32) {
        let mut counters = self.counters.borrow_mut();
        let counter = counters.entry(reason as u8).or_default();
        counter.packets += u64::from(packets);
        counter.bytes += u64::from(bytes);
    }

    fn count_rule(self, rule: u8, event: RuleEvent, packets: u32, bytes: u32) {
        let mut counters = self.rule_counters.borrow_mut();
        let counter = counters.entry(rule).or_default();
        if event == RuleEvent::Denied {
            counter.denied += u64::from(packets);
            return;
        }
        counter.packets += u64::from(packets);
        counter.bytes += u64::from(bytes);
        if event == RuleEvent::Opened {
            counter.flows += 1;
        }
    }

    fn may_reply(self, _: u64) -> bool {
        true
    }

    fn claim<'s>(self) -> Option<&'s Scratch>
    where
        Self: 's,
    {
        // SAFETY: tables are not shared between threads, and no reference to the word is kept.
        unsafe {
            if *self.scratch.claimed.get() != 0 {
                return None;
            }
            *self.scratch.claimed.get() = 1;
        }
        Some(&self.scratch)
    }

    fn release(self, scratch: &Scratch) {
        // SAFETY: as in `claim`.
        unsafe { *scratch.claimed.get() = 0 }
    }

    fn report_denied(self, _: u64, event: impl FnOnce() -> DeniedEvent) {
        self.denied.borrow_mut().push(event());
    }

    fn report_flow(self, _: u64, event: impl FnOnce() -> FlowEvent) {
        self.flow_events.borrow_mut().push(event());
    }

    fn report_answer(self, scratch: &Scratch) {
        // SAFETY: the logic has written the record, and the scratch memory is this run's alone.
        let event = unsafe { *scratch.answer_event() };
        let message =
            (0..u64::from(event.length)).map(|at| scratch.message.octet(at) as u8).collect();
        self.answers.borrow_mut().push((event, message));
    }

    fn report_segment(self, scratch: &Scratch) -> bool {
        // SAFETY: as in `report_answer`.
        let event = unsafe { *scratch.segment_event() };
        let data = (0..u64::from(event.length)).map(|at| scratch.message.octet(at) as u8).collect();
        self.segments.borrow_mut().push((event, data));
        true
    }
}
