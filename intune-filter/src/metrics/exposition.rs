//! Formats the kernel's counters and the daemon's state as OpenMetrics text.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use anyhow::{Context as _, Result};
use intune_filter_ebpf::abi::{self, Counted, FIRST_DENIAL, LAYOUT_VERSION};
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, info::Info},
    registry::Registry,
};
use tokio::sync::watch;

use super::{configuration, process};
use crate::{
    kernel::{Pins, named_snapshot},
    names::resolution::Counts,
    system::{clock, netlink::Snapshot},
};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
    verdict: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Occurrence {
    occurrence: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Rule {
    rule: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Group {
    group: String,
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Interface {
    interface: String,
    mode: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct State {
    state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Map {
    map: String,
}

/// Sources of the metrics.
pub(crate) struct Sources {
    /// Pinned maps with the kernel's counters.
    pub pins: Pins,
    /// Number of answered flows that were evicted.
    pub evicted: Arc<AtomicU64>,
    /// Counts of the names that the daemon resolves.
    pub resolution: watch::Receiver<Counts>,
}

impl Sources {
    /// Returns the metrics as they are now. Walks through whole tables.
    ///
    /// # Errors
    /// The kernel's maps or interfaces cannot be read.
    pub(crate) fn text(&self) -> Result<String> {
        let counts = self.resolution.borrow().clone();
        let snapshot = named_snapshot(self.pins.directory(), &[])?;
        text(&self.pins, &snapshot, self.evicted.load(Ordering::Relaxed), &counts)
    }
}

/// Formats the metrics as they are now.
fn text(pins: &Pins, snapshot: &Snapshot, evicted: u64, resolution: &Counts) -> Result<String> {
    let mut whole = Registry::default();
    process::register(&mut whole);
    let registry = whole.sub_registry_with_prefix("intune_filter");
    let (version, layout) = (env!("CARGO_PKG_VERSION"), LAYOUT_VERSION.to_string());
    let build = Info::new(vec![("version", version.to_owned()), ("layout", layout)]);
    registry.register("build", "Version of the daemon, and of the layout of its pins", build);
    let (packets, bytes) = (Family::default(), Family::default());
    let occurrences = Family::default();
    for (counted, counter) in pins.counters()? {
        if let Counted::Occurrences(_) = counted {
            let labels = Occurrence { occurrence: counted.as_str() };
            add(&occurrences, &labels, counter.packets);
            continue;
        }
        let verdict = if counted.denies() { "deny" } else { "allow" };
        let labels = Reason { reason: counted.as_str(), verdict };
        add(&packets, &labels, counter.packets);
        add(&bytes, &labels, counter.bytes);
    }
    registry.register("packets", "Packets by reason of the verdict", packets);
    registry.register("bytes", "Octets of the packets' frames by reason of the verdict", bytes);
    let help = "What happened beside verdicts: answers that taught, tables that were full";
    registry.register("occurrences", help, occurrences);

    let rules: [Family<Rule, Counter>; 5] = Default::default();
    for (rule, counter) in pins.rules()?.into_iter().zip(pins.rule_counters()?) {
        let Some(rule) = rule else { continue };
        let labels = Rule { rule };
        let values =
            [counter.packets, counter.bytes, counter.flows, counter.denied, counter.audited];
        for (family, value) in rules.iter().zip(values) {
            add(family, &labels, value);
        }
    }
    let [packets, bytes, flows, denied, audited] = rules;
    registry.register("rule_packets", "Packets of a rule's flows", packets);
    registry.register("rule_bytes", "Octets of a rule's flows", bytes);
    registry.register("rule_flows", "Flows that a rule has opened", flows);
    let help = "Denied packets to a rule's destinations";
    registry.register("rule_denied_packets", help, denied);
    let help = "Packets to a rule's destinations that passed only by audit or warm-up";
    registry.register("rule_audited_packets", help, audited);
    add_groups(registry, pins)?;

    let (entries, capacity) = (Family::<Map, Gauge>::default(), Family::<Map, Gauge>::default());
    for (map, usage) in pins.usage()? {
        let labels = Map { map };
        entries.get_or_create(&labels).set(i64::try_from(usage.entries)?);
        capacity.get_or_create(&labels).set(i64::try_from(usage.capacity)?);
    }
    registry.register("map_entries", "Entries of a map", entries);
    registry.register("map_capacity", "Entries that a map has room for", capacity);

    let enforced = Family::<Interface, Gauge>::default();
    for name in pins.directory().linked_interfaces()? {
        let Some(interface) = snapshot.interface(&name) else { continue };
        if let Some(mode) = pins.enforced(interface)? {
            let labels = Interface { interface: name, mode: mode.as_str() };
            enforced.get_or_create(&labels).set(1);
        }
    }
    registry.register("enforced", "Interfaces that are enforced, and in which mode", enforced);
    let flows_evicted = Counter::<u64>::default();
    flows_evicted.inc_by(evicted);
    let help = "Answered flows that had to make room before their time, since the daemon's start";
    registry.register("flows_evicted", help, flows_evicted);
    add_resolution(registry, resolution);
    configuration::register(registry);
    let warm_up = Gauge::<i64>::default();
    let left = pins.warm_up_left(clock::boot_time())?.map_or(0, |left| left.as_secs());
    warm_up.set(i64::try_from(left)?);
    registry.register("warm_up_left_seconds", "How long the warm-up goes on", warm_up);

    let generation = Gauge::<i64>::default();
    generation.set(i64::from(pins.active()?.generation));
    registry.register("policy_generation", "Policies put into force so far", generation);

    let mut text = String::new();
    encode(&mut text, &whole).context("cannot encode the metrics")?;
    Ok(text)
}

/// Adds what each group was denied, by reason; a reason that a group has not met has no series.
fn add_groups(registry: &mut Registry, pins: &Pins) -> Result<()> {
    let groups: [Family<Group, Counter>; 2] = Default::default();
    for (group, counter) in pins.group_counters()? {
        for (family, counts) in groups.iter().zip([counter.denied, counter.audited]) {
            for (number, count) in (FIRST_DENIAL..).zip(counts) {
                let Some(reason) = abi::Reason::from_number(number) else { continue };
                if count != 0 {
                    let labels = Group { group: group.clone(), reason: reason.as_str() };
                    add(family, &labels, count);
                }
            }
        }
    }
    let [denied, audited] = groups;
    let help = "Denied packets of a group's clients, by reason";
    registry.register("group_denied_packets", help, denied);
    let help = "Packets of a group's clients that passed only by audit or warm-up, by reason";
    registry.register("group_audited_packets", help, audited);
    Ok(())
}

/// Adds the metrics about names that the daemon resolves.
fn add_resolution(registry: &mut Registry, counts: &Counts) {
    let names = Family::<State, Gauge>::default();
    for (state, count) in [
        ("resolved", counts.resolved),
        ("absent", counts.absent),
        ("failing", counts.failing),
        ("waiting", counts.waiting),
        ("left_out", counts.left_out),
    ] {
        names.get_or_create(&State { state }).set(count as i64);
    }
    registry.register("exact_names", "Exact names of the policy, by how they are", names);
    let questions = Family::<State, Counter>::default();
    let states =
        [("answered", counts.answered), ("empty", counts.empty), ("failed", counts.failed)];
    for (state, count) in states {
        add(&questions, &State { state }, count);
    }
    let help = "Questions for exact names, by what came of them, since the daemon's start";
    registry.register("exact_name_questions", help, questions);
}

fn add<L: Clone + std::hash::Hash + Eq>(family: &Family<L, Counter>, labels: &L, value: u64) {
    family.get_or_create(labels).inc_by(value);
}
