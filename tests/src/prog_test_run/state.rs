//! Contents of the maps that the programs write, read at once and compared.

use std::{collections::BTreeMap, fmt::Debug, net::IpAddr};

use anyhow::Result;
use aya::{
    Pod,
    maps::{Array, HashMap, MapData},
};
use intune_filter_ebpf::abi::{
    AnswerEvent, COUNT_ALL, COUNTER_ELEMENTS, Counted, Counter, DeniedEvent, EventKind, Flow,
    FlowEvent, FlowKey, FragmentKey, FragmentVerdict, Host, LIMIT_SHARES, LimitSet, Limits,
    Pending, PendingKey, QueryEvent, RULES, Reason, RuleCounter, RuleMask, Stream, StreamRead, V4,
    V6, answer_flags, count_of_client, count_of_rule, host_count,
};

use super::{LoadedFilter, counts};

/// The maps' contents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// By what is counted.
    pub counters: Vec<Counter>,
    /// By rule.
    pub rule_counters: Vec<RuleCounter>,
    /// Everything else: map and key, and the value.
    pub elements: BTreeMap<String, String>,
}

/// A record of the ring buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A denied packet.
    Denied(DeniedEvent),
    /// A denied DNS query.
    Query(QueryEvent),
    /// A DNS answer.
    Answer,
    /// A DNS answer that taught nothing.
    Untaught,
    /// A flow that was opened or has ended.
    Flow(FlowEvent),
    /// A part of an answer over TCP.
    Segment,
}

fn denial(reason: u8, audited: u8) -> String {
    let reason = Reason::from_number(reason).map_or("unknown", Reason::as_str);
    let audited = if audited == 0 { "" } else { ", audited" };
    format!("denied {reason}{audited}")
}

impl Event {
    /// Text of a record in a table; flows, and answers that taught nothing, have tables of their own.
    pub fn told(&self) -> Option<String> {
        match self {
            Self::Answer => Some("answer".to_owned()),
            Self::Denied(denied) => Some(denial(denied.reason, denied.audited)),
            Self::Query(query) => Some(denial(query.head.reason, query.head.audited)),
            Self::Segment => Some("segment".to_owned()),
            Self::Flow(_) | Self::Untaught => None,
        }
    }
}

impl LoadedFilter {
    /// Counters of the programs, without elements.
    pub fn counted(&self) -> Result<State> {
        let all = counts::read::<Counter>(self.pins(), "COUNTERS", COUNTER_ELEMENTS)?;
        let sum = |counted: Counted| {
            all.get(counted.counter() as usize).into_iter().flatten().fold(
                Counter::default(),
                |sum, one| Counter {
                    packets: sum.packets.wrapping_add(one.packets),
                    bytes: sum.bytes.wrapping_add(one.bytes),
                },
            )
        };
        let counters = Counted::all().map(sum).collect();
        let rules = counts::read::<RuleCounter>(self.pins(), "RULE_COUNTERS", RULES)?;
        let sum = |all: Vec<RuleCounter>| {
            all.into_iter().fold(RuleCounter::default(), |sum, one| RuleCounter {
                packets: sum.packets.wrapping_add(one.packets),
                bytes: sum.bytes.wrapping_add(one.bytes),
                flows: sum.flows.wrapping_add(one.flows),
                denied: sum.denied.wrapping_add(one.denied),
                audited: sum.audited.wrapping_add(one.audited),
            })
        };
        let rule_counters = rules.into_iter().map(sum).collect();
        Ok(State { counters, rule_counters, elements: BTreeMap::new() })
    }

    /// Reads the maps that the programs write.
    pub fn state(&self) -> Result<State> {
        let mut elements = BTreeMap::new();
        self.dump::<V4, Host>("HOSTS4", &mut elements)?;
        self.dump::<V6, Host>("HOSTS6", &mut elements)?;
        for name in ["FLOWS4", "NEW_FLOWS4"] {
            self.dump::<FlowKey<V4>, Flow>(name, &mut elements)?;
        }
        for name in ["FLOWS6", "NEW_FLOWS6"] {
            self.dump::<FlowKey<V6>, Flow>(name, &mut elements)?;
        }
        self.dump::<PendingKey, Pending>("DNS_PENDING", &mut elements)?;
        self.dump::<FlowKey<V6>, Stream>("STREAMS", &mut elements)?;
        for (map, key, limits) in self.limits()? {
            elements.insert(format!("{map} {key:#x}"), format!("{limits:?}"));
        }
        self.dump::<FragmentKey, FragmentVerdict>("FRAGMENTS", &mut elements)?;
        Ok(State { elements, ..self.counted()? })
    }

    fn dump<K: Pod + Debug, V: Pod + Debug>(
        &self,
        name: &str,
        into: &mut BTreeMap<String, String>,
    ) -> Result<()> {
        for (key, value) in self.pins().elements::<K, V>(name)? {
            into.insert(format!("{name} {key:?}"), format!("{value:?}"));
        }
        Ok(())
    }

    /// Forgets addresses, and takes them off the counts.
    pub fn forget_addresses(&self) -> Result<()> {
        self.forget_hosts::<V4>("HOSTS4", 0)?;
        self.forget_hosts::<V6>("HOSTS6", 1)
    }

    fn forget_hosts<K: Pod>(&self, name: &str, table: u64) -> Result<()> {
        let hosts = self.pins().elements::<K, Host>(name)?;
        self.empty::<K, Host>(name)?;
        let mut counts: Array<MapData, u64> = self.pins().map("HOST_COUNTS")?;
        for (_, Host { owner, .. }) in hosts {
            for element in [COUNT_ALL, count_of_rule(owner), count_of_client(owner)] {
                let index = host_count(table, element);
                counts.set(index, counts.get(&index, 0)?.saturating_sub(1), 0)?;
            }
        }
        Ok(())
    }

    /// Forgets flows.
    pub fn forget_flows(&self) -> Result<()> {
        for name in ["FLOWS4", "NEW_FLOWS4"] {
            self.empty::<FlowKey<V4>, Flow>(name)?;
        }
        for name in ["FLOWS6", "NEW_FLOWS6"] {
            self.empty::<FlowKey<V6>, Flow>(name)?;
        }
        Ok(())
    }

    /// Forgets connections to resolvers.
    pub fn forget_streams(&self) -> Result<()> {
        self.empty::<FlowKey<V6>, Stream>("STREAMS")?;
        self.empty::<FlowKey<V6>, StreamRead>("STREAMS_READ")
    }

    /// Forgets addresses, flows, queries and events. Counters stay.
    pub fn clear(&mut self) -> Result<()> {
        self.forget_addresses()?;
        self.forget_flows()?;
        self.empty::<PendingKey, Pending>("DNS_PENDING")?;
        self.forget_streams()?;
        self.change_limits(|limits| *limits = Limits::default())?;
        self.empty::<FragmentKey, FragmentVerdict>("FRAGMENTS")?;
        self.events();
        Ok(())
    }

    fn empty<K: Pod, V: Pod>(&self, name: &str) -> Result<()> {
        let mut map: HashMap<MapData, K, V> = self.pins().map(name)?;
        for (key, _) in self.pins().elements::<K, V>(name)? {
            map.remove(&key)?;
        }
        Ok(())
    }

    /// Makes an address one that names of a rule have led to, for some seconds from now on; less
    /// than none is as long ago.
    pub fn learn(&self, address: IpAddr, rule: &str, seconds: i64) -> Result<()> {
        let expires = now()?.saturating_add_signed(seconds * 1_000_000_000);
        let host = Host::new(RuleMask::of(self.rule(rule)), expires, now()?, 0);
        match address {
            IpAddr::V4(v4) => {
                self.pins().map::<HashMap<_, V4, Host>>("HOSTS4")?.insert(V4::from(v4), host, 0)?;
            }
            IpAddr::V6(v6) => {
                self.pins().map::<HashMap<_, V6, Host>>("HOSTS6")?.insert(V6::from(v6), host, 0)?;
            }
        }
        Ok(())
    }

    /// Changes every value of a map.
    pub fn change<K: Pod, V: Pod>(&self, name: &str, change: impl Fn(&mut V)) -> Result<()> {
        let mut map: HashMap<MapData, K, V> = self.pins().map(name)?;
        for (key, mut value) in self.pins().elements::<K, V>(name)? {
            change(&mut value);
            map.insert(key, value, 0)?;
        }
        Ok(())
    }

    /// Begun flows and queries of clients and zones: the map, the owner, and the limits.
    fn limits(&self) -> Result<Vec<(&'static str, u64, Limits)>> {
        let mut all = Vec::new();
        for (_, LimitSet { owners, limits }) in self.pins().array_elements("CLIENT_LIMITS")? {
            let both = owners.into_iter().zip(limits);
            all.extend(both.map(|(owner, limits)| ("CLIENT_LIMITS", owner, limits)));
        }
        let zones = self.pins().array_elements("ZONE_LIMITS")?.into_iter();
        all.extend(zones.map(|(zone, limits)| ("ZONE_LIMITS", zone.into(), limits)));
        all.retain(|(_, _, limits)| *limits != Limits::default());
        Ok(all)
    }

    /// Changes what clients and zones have begun.
    pub fn change_limits(&self, change: impl Fn(&mut Limits)) -> Result<()> {
        let mut sets: Array<MapData, LimitSet> = self.pins().map("CLIENT_LIMITS")?;
        for (index, before) in self.pins().array_elements::<LimitSet>("CLIENT_LIMITS")? {
            let mut set = before;
            set.limits.iter_mut().for_each(&change);
            if set != before {
                sets.set(index, set, 0)?;
            }
        }
        let mut zones: Array<MapData, Limits> = self.pins().map("ZONE_LIMITS")?;
        // Zones are numbered from 1 on, and each has a few buckets.
        let last = self.policy().zones.iter().map(|zone| zone.number).max().unwrap_or_default();
        for index in 0..zones.len().min((last + 1) * LIMIT_SHARES) {
            let before = zones.get(&index, 0)?;
            let mut limits = before;
            change(&mut limits);
            if limits != before {
                zones.set(index, limits, 0)?;
            }
        }
        Ok(())
    }

    /// Takes the events that wait.
    pub fn events(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        for ring in [&mut self.events, &mut self.dns_events] {
            while let Some(record) = ring.next() {
                events.push(event(&record));
            }
        }
        events
    }
}

fn event(record: &[u8]) -> Event {
    let kind = record.first_chunk().map(|kind| u32::from_ne_bytes(*kind));
    let is = |wanted: EventKind| kind == Some(wanted as u32);
    if is(EventKind::Denied) {
        return Event::Denied(value_of(record));
    }
    if is(EventKind::Query) {
        return Event::Query(value_of(record));
    }
    if is(EventKind::Opened) || is(EventKind::Closed) {
        return Event::Flow(value_of(record));
    }
    if is(EventKind::Segment) {
        return Event::Segment;
    }
    assert!(is(EventKind::Answer), "a record of an unknown kind: {kind:?}");
    let head: AnswerEvent = value_of(&record[..size_of::<AnswerEvent>()]);
    if head.flags & answer_flags::UNTAUGHT == 0 { Event::Answer } else { Event::Untaught }
}

impl State {
    /// Counts since `before`, as "reason packets/octets" and "rule" with its numbers.
    pub fn counted_since(&self, before: &Self, rules: impl Fn(u8) -> String) -> Vec<String> {
        let mut counted = Vec::new();
        for ((what, now), then) in Counted::all().zip(&self.counters).zip(&before.counters) {
            let more =
                Counter { packets: now.packets - then.packets, bytes: now.bytes - then.bytes };
            counted.extend(count_text(what, more));
        }
        for ((rule, now), then) in (0..).zip(&self.rule_counters).zip(&before.rule_counters) {
            let more = RuleCounter {
                packets: now.packets - then.packets,
                bytes: now.bytes - then.bytes,
                flows: now.flows - then.flows,
                denied: now.denied - then.denied,
                audited: now.audited - then.audited,
            };
            counted.extend(rule_text(&rules(rule), more));
        }
        counted
    }

    /// The elements that differ from `before`.
    pub fn changed_since(&self, before: &Self) -> Vec<String> {
        let mut changed = Vec::new();
        for (key, value) in &self.elements {
            if before.elements.get(key) != Some(value) {
                changed.push(format!("{key}: {value}"));
            }
        }
        let gone = before.elements.keys().filter(|key| !self.elements.contains_key(*key));
        changed.extend(gone.map(|key| format!("{key}: gone")));
        changed
    }
}

fn value_of<T: Pod>(record: &[u8]) -> T {
    assert_eq!(record.len(), size_of::<T>(), "a record of another size");
    // SAFETY: the record has the type's size, and any octets are one.
    unsafe { record.as_ptr().cast::<T>().read_unaligned() }
}

/// The programs' clock.
pub fn now() -> Result<u64> {
    let time = nix::time::clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME)?;
    Ok(std::time::Duration::from(time).as_nanos() as u64)
}

/// Text of a counter's change.
pub fn count_text(counted: Counted, more: Counter) -> Option<String> {
    (more != Counter::default())
        .then(|| format!("{} {}/{}", counted.as_str(), more.packets, more.bytes))
}

/// Text of a change of a rule's counters.
pub fn rule_text(rule: &str, more: RuleCounter) -> Option<String> {
    let RuleCounter { packets, bytes, flows, denied, audited } = more;
    let audited = if audited == 0 { String::new() } else { format!(", audited {audited}") };
    (more != RuleCounter::default())
        .then(|| format!("{rule} {packets}/{bytes}, flows {flows}, denied {denied}{audited}"))
}
