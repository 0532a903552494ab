//! Implementation of [`crate::datapath`] over the tables of the host.

use std::vec::Vec;

use super::Tables;
use crate::{
    abi::{
        Active, AnswerEvent, DEVICE_LAYER3, DeniedEvent, EdgeKey, Ending, FIRST_DENIAL, Flow,
        FlowEvent, FlowKey, Glob, KEPT_CAPACITY, KeptOctets, LIMIT_PROVEN, LIMIT_ROUTED, Limit,
        Limits, MacKey, NameNode, OwnKey, PROVEN_FOR, QueryEvent, QueryHead, Reason, Settings,
        Standing, Stream, Taking, V6, ZoneKey, group_counter,
    },
    datapath::{
        Clock, Counters, FarEnd, GatewayMaps, GlobalFns, Location, NANOS_PER_SEC, PolicyMaps,
        RateDecision, RateLimits, Reports, Route, Routes, RuleEvent, RuleMatch, StreamMaps,
        WorkingMemory,
    },
    dns,
    memory::RuleCell,
    packet::Direction,
    scratch::{AllowanceKind, Scratch},
    verdict,
};

impl Clock for &Tables {
    fn now(self) -> u64 {
        self.now.get()
    }

    fn tick(self) -> u64 {
        self.now()
    }
}

impl WorkingMemory for &Tables {
    fn is_read_only(self) -> bool {
        false
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
}

impl PolicyMaps for &Tables {
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

    fn port(self, set: u32, index: u32, rules: &RuleCell) {
        let policy = self.policy(set);
        let class = policy.ports.get(index as usize).copied().unwrap_or_default();
        rules.set(&policy.port_classes.get(usize::from(class)).copied().unwrap_or_default());
    }

    fn server(self, set: u32, address: &V6) -> u32 {
        self.policy(set).servers.get(address).copied().unwrap_or_default()
    }

    fn edge<R>(self, set: u32, key: &EdgeKey, visit: impl FnOnce(&NameNode) -> R) -> Option<R> {
        self.policy(set).edges.get(key).map(visit)
    }

    fn glob<R>(self, set: u32, index: u32, visit: impl FnOnce(&Glob) -> R) -> Option<R> {
        self.policy(set).globs.get(index as usize).map(visit)
    }
}

impl GatewayMaps for &Tables {
    fn is_own(self, address: &V6) -> bool {
        self.own_addresses.contains(address)
    }

    fn is_own_on(self, _: &Scratch, device: u32, address: &V6) -> bool {
        self.own_on_device.contains(&OwnKey { device, address: *address })
    }

    fn device(self, zone: u16) -> u32 {
        self.devices.get(&zone).copied().unwrap_or_default() & !DEVICE_LAYER3
    }

    fn is_layer3(self, zone: u16) -> bool {
        self.devices.get(&zone).is_some_and(|device| device & DEVICE_LAYER3 != 0)
    }

    fn has_mac(self, scratch: &Scratch, set: u32, group: u32) -> bool {
        let [a, b, c, d, e, f, ..] = scratch.ctx.client_mac.get().to_ne_bytes();
        let key = MacKey { mac: [a, b, c, d, e, f], group: group as u16 };
        self.policy(set).group_macs.contains(&key)
    }

    fn source_check(self, set: u32, zone: u16) -> u32 {
        self.policy(set).source_checks.get(&zone).copied().unwrap_or_default()
    }

    fn is_gateway_port(self, set: u32, index: u32) -> bool {
        self.policy(set).gateway_ports.contains(&index)
    }

    fn route(self, scratch: &Scratch, ifindex: u32, routes: Routes) -> Route {
        if self.gone.contains(&ifindex) {
            return Route::UNTOLD;
        }
        // SAFETY: tables are not shared between threads.
        let to = unsafe { *scratch.ctx.route_to.get() };
        let next = self.next_hops.get(&to).copied().unwrap_or(to);
        scratch.ctx.routed.set(u64::from(next != to));
        scratch.ctx.neighbour.set(self.neighbours.get(&next).copied().unwrap_or_default());
        if self.rejected_routes.contains(&to) {
            return Route::REJECTED;
        }
        if routes == Routes::Out && self.other_routes.contains(&(to, ifindex)) {
            return Route::to(ifindex);
        }
        match (self.local_routes.get(&to), routes) {
            (Some(_), Routes::All) => Route::NOT_FORWARDED,
            (Some(device), Routes::Main) => Route::to(*device),
            (Some(_), _) => Route::UNTOLD,
            (None, _) => {
                let key: Vec<u8> = to.0.iter().flat_map(|word| word.to_ne_bytes()).collect();
                self.routes.get(&key).map_or(Route::NOT_FORWARDED, Route::to)
            }
        }
    }
}

impl StreamMaps for &Tables {
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
}

impl RateLimits for &Tables {
    fn conform(self, request: &Taking) -> RateDecision {
        let mut limits = self.limits.borrow_mut();
        let limits = limits.entry(request.key).or_default();
        let limit = Limit { interval: request.interval, window: request.window };
        match limit.next_due(limits.due[request.kind as usize], request.now) {
            0 => RateDecision::EXCEEDED,
            due => {
                limits.due[request.kind as usize] = due;
                RateDecision::CONFORMING
            }
        }
    }

    fn noted_proof(self, request: &Taking) -> usize {
        let limits = self.limits.borrow();
        let proof =
            |bucket: &Limits| request.proof(bucket.due[LIMIT_PROVEN], bucket.due[LIMIT_ROUTED]);
        limits.get(&request.key).map_or(0, proof)
    }

    fn note_proof(self, request: &Taking) {
        let mut limits = self.limits.borrow_mut();
        let bucket = limits.entry(request.key).or_default();
        bucket.due[request.kind as usize] = request.now + PROVEN_FOR;
    }

    fn may_reply(self, _: u64) -> bool {
        true
    }
}

impl Counters for &Tables {
    fn count_at(self, counter: u32, packets: u32, bytes: u32) {
        let mut counters = self.counters.borrow_mut();
        let counter = counters.entry(counter).or_default();
        counter.packets += u64::from(packets);
        counter.bytes += u64::from(bytes);
    }

    fn count_group(self, set: u32, group: u8, reason: Reason, audited: bool, packets: u64) {
        let mut counters = self.group_counters.borrow_mut();
        let counter = counters.entry(group_counter(set, group)).or_default();
        let of = if audited { &mut counter.audited } else { &mut counter.denied };
        of[usize::from(reason as u8 - FIRST_DENIAL)] += packets;
    }

    fn count_rule(self, rule: u8, event: RuleEvent, packets: u32, bytes: u32) {
        let mut counters = self.rule_counters.borrow_mut();
        let counter = counters.entry(rule).or_default();
        if event == RuleEvent::Denied {
            counter.denied += u64::from(packets);
            return;
        }
        if event == RuleEvent::Audited {
            counter.audited += u64::from(packets);
            return;
        }
        counter.packets += u64::from(packets);
        counter.bytes += u64::from(bytes);
        if event == RuleEvent::Opened {
            counter.flows += 1;
        }
    }
}

impl Reports for &Tables {
    fn allowance(self, kind: AllowanceKind, _: u64) -> u64 {
        self.allowances.borrow().get(&(kind as u32)).copied().unwrap_or(u64::MAX)
    }

    fn is_crowded(self) -> bool {
        false
    }

    fn spend(self, kind: AllowanceKind) {
        if let Some(left) = self.allowances.borrow_mut().get_mut(&(kind as u32)) {
            *left -= 1;
        }
    }

    fn was_told(self, what: u64, now: u64) -> bool {
        let told = self.told.borrow().get(&what).copied();
        told.is_some_and(|told| now - told < NANOS_PER_SEC)
    }

    fn note_told(self, what: u64, now: u64) {
        self.told.borrow_mut().insert(what, now);
    }

    fn report_denied(self, event: impl FnOnce() -> DeniedEvent) {
        self.denied.borrow_mut().push(event());
    }

    fn report_query(self, scratch: &Scratch, at: u64, head: impl FnOnce() -> QueryHead) {
        let question = core::array::from_fn(|octet| scratch.message.octet(at + octet as u64) as u8);
        self.queries.borrow_mut().push(QueryEvent { head: head(), question });
    }

    fn report_untaught(self, scratch: &Scratch) {
        self.untaught.borrow_mut().push(answer(scratch));
    }

    fn report_flow(self, _: u64, event: impl FnOnce() -> FlowEvent) {
        self.flow_events.borrow_mut().push(event());
    }

    fn report_answer(self, scratch: &Scratch) {
        self.answers.borrow_mut().push(answer(scratch));
    }

    fn report_segment(self, scratch: &Scratch) -> bool {
        // SAFETY: as in `answer`.
        let event = unsafe { *scratch.segment_event() };
        let data = (0..u64::from(event.length)).map(|at| scratch.message.octet(at) as u8).collect();
        self.segments.borrow_mut().push((event, data));
        true
    }
}

/// Returns the record of an answer, and its message.
fn answer(scratch: &Scratch) -> (AnswerEvent, Vec<u8>) {
    // SAFETY: the logic has written the record, and the scratch memory is this run's alone.
    let event = unsafe { *scratch.answer_event() };
    let octets = 0..u64::from(event.length);
    (event, octets.map(|at| scratch.message.octet(at) as u8).collect())
}

impl GlobalFns for &Tables {
    fn note_segment(
        self,
        flow: &mut Flow,
        scratch: &Scratch,
        flags: u8,
        direction: Direction,
    ) -> u16 {
        verdict::note_segment(flow, scratch, flags, direction)
    }

    fn keep_octets(self, scratch: &Scratch) {
        verdict::keep_octets(scratch, self);
    }

    fn compare_octets(self, scratch: &Scratch) {
        verdict::compare_octets(scratch, self);
    }

    fn has_token(self, scratch: &Scratch, kind: u64, who: u64) -> bool {
        verdict::has_token(scratch, self, kind, who)
    }

    fn tell_denial(self, scratch: &Scratch, ends: u64, from_client: bool) {
        verdict::tell_denial(scratch, self, ends, from_client);
    }

    fn tell_untaught(self, scratch: &Scratch) {
        verdict::tell_untaught(scratch, self);
    }

    fn is_believed(self, scratch: &Scratch, who: u64) -> bool {
        verdict::is_believed(scratch, self, who)
    }

    fn is_on_link(self, scratch: &Scratch) -> bool {
        verdict::is_on_link(scratch, self)
    }

    fn end_flow(self, flow: &mut Flow, scratch: &Scratch, ending: Ending) -> u8 {
        verdict::end_flow(flow, scratch, ending as u8)
    }

    fn match_rules(self, scratch: &Scratch, v6: bool, port: u64) -> RuleMatch {
        verdict::match_rules(scratch, self, v6, port)
    }

    fn match_sender(self, scratch: &Scratch, v6: bool, port: u64) -> RuleMatch {
        verdict::match_sender(scratch, self, v6, port)
    }

    fn allows_rule(self, scratch: &Scratch, rule: u8, port: u64) -> bool {
        verdict::allows_rule(scratch, self, rule, port)
    }

    fn is_sent(self, scratch: &Scratch, v6: bool) -> bool {
        verdict::is_sent(scratch, self, v6)
    }

    fn sending_zone(self, scratch: &Scratch, v6: bool) -> u16 {
        verdict::sending_zone(scratch, self, v6)
    }

    fn far_end(self, scratch: &Scratch, zone: u16, opened_by_client: bool) -> FarEnd {
        verdict::far_end(scratch, self, zone, opened_by_client)
    }

    fn own_location(self, scratch: &Scratch) -> Location {
        verdict::own_location(scratch, self)
    }

    fn routed_location(self, scratch: &Scratch) -> Location {
        verdict::routed_location(scratch, self)
    }

    fn is_forged(self, scratch: &Scratch) -> bool {
        verdict::is_forged(scratch, self)
    }

    fn note_query(self, scratch: &Scratch, question: u64) {
        verdict::note_query(scratch, self, question);
    }

    fn note_answer(self, scratch: &Scratch, question: u64) -> Standing {
        verdict::note_answer(scratch, self, question)
    }

    fn is_astray(self, scratch: &Scratch) -> bool {
        verdict::is_astray(scratch, self)
    }

    fn walk_patterns(self, scratch: &Scratch) {
        dns::walk_patterns(scratch, self);
    }

    fn read_answer(self, scratch: &Scratch, start: u64) -> bool {
        dns::read_answer(scratch, self, start)
    }

    fn learn_addresses(self, scratch: &Scratch) {
        dns::learn_addresses(scratch, self);
    }
}
